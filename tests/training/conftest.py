from collections.abc import Iterator

import pytest
from accelerate.state import AcceleratorState


@pytest.fixture(autouse=True)
def each_run_has_its_own_precision() -> Iterator[None]:
    """accelerate keeps the precision of a process's first run: the order of tests would matter."""
    yield
    AcceleratorState._reset_state()
