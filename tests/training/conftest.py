from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState

from tests.support.command import Command
from tests.support.forked import run_forked


@pytest.fixture
def srgan(tmp_path: Path) -> Command:
    """Run `srgan ARGUMENTS...` in a process of its own, in `tmp_path`."""
    return partial(run_forked, tmp_path)


@pytest.fixture(autouse=True)
def each_run_has_its_own_precision() -> Iterator[None]:
    """accelerate keeps the precision of a process's first run: the order of tests would matter."""
    yield
    AcceleratorState._reset_state()
