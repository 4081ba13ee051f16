"""Damaged picture files of every format, made up by Hypothesis: refused, or read as others do.

With `--fuzz-hours 2` all tests together run for two hours, with other files in each run.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings

from srgan.pictures.images import open_picture
from tests.fuzz.seeds import SEEDS, mutated
from tests.support.readers import distance, readings, rgba
from tests.support.watched import Watched, watched

EXAMPLES = 150  # per file in CI: 20 s in all
CLOSE = 2  # levels, on average: other decoders round and interpolate otherwise
HARMLESS = 5  # levels, on average, from the undamaged picture


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watched]:
    with watched(tmp_path / "temporary") as each:
        yield each


def check(watch: Watched, file: bytes, whole: np.ndarray) -> None:
    """Raise AssertionError unless srgan refuses a file, or reads it as some other reader does.

    Where all others refuse it, it must look as it did before the damage: not each kind of damage
    reaches the pixels.
    """
    pixels = watch.read(file).pixels
    if pixels is None:
        return
    picture = rgba(pixels)
    distances = []
    for other in readings(file):
        distances.append(distance(picture, other))
        if distances[-1] <= CLOSE:
            return
    assert not distances, f"other readers differ by {distances} levels"
    lost = distance(picture, whole)
    assert lost <= HARMLESS, f"only srgan reads it, and {lost:.1f} levels are lost"


def search(check_one: Callable[[bytes], None], file: bytes, number: int, first: int) -> None:
    """Run `check_one` on `number` mutations of a file, with the shortest counterexample raised."""

    @seed(first)
    @settings(
        max_examples=number,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(mutated(file))
    def run(changed: bytes) -> None:
        check_one(changed)

    run()


@pytest.mark.timeout(0)  # `watched` has a deadline for each file
@pytest.mark.parametrize("name", SEEDS)
def test_a_damaged_file_is_refused_or_read_as_others_read_it(
    name: str, watch: Watched, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    file = SEEDS[name]()
    whole = rgba(open_picture(file)[:, :])
    hours: float = pytestconfig.getoption("--fuzz-hours", default=0.0) or 0.0
    kept = (Path("fuzz-found") if hours else tmp_path) / name  # pytest removes old folders
    kept.parent.mkdir(exist_ok=True)

    def check_one(changed: bytes) -> None:
        kept.write_bytes(changed)  # after a failure, the shortest file; after a crash, its file
        try:
            check(watch, changed, whole)
        except Exception as error:
            error.add_note(f"the file: {kept}")
            raise

    if not hours:
        search(check_one, file, EXAMPLES, first=1)
    end = time.monotonic() + hours * 3600 / len(SEEDS)
    while time.monotonic() < end:
        search(check_one, file, 1000, first=time.time_ns())


@pytest.mark.parametrize("name", SEEDS)
def test_the_undamaged_file_passes(name: str, watch: Watched) -> None:
    file = SEEDS[name]()
    pixels = watch.read(file).pixels
    assert pixels is not None
    check(watch, file, rgba(pixels))
