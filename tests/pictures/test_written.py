"""Every mode and option that Pillow, libvips and tifffile write: read rightly, or refused."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.support.readers import distance, readings, rgba
from tests.support.watched import Watched, watched
from tests.support.written import LOSSY, Written
from tests.support.written_pillow import PILLOW_FORMATS, PILLOW_MODES, written_by_pillow
from tests.support.written_tifffile import TIFF_KINDS, TIFF_TYPES, written_by_tifffile
from tests.support.written_vips import VIPS_IMAGES, VIPS_SAVERS, written_by_vips

# Faults that wait for their repair: the names of the files, and why.


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watched]:
    with watched(tmp_path / "temporary") as each:
        yield each


def fault(watch: Watched, each: Written) -> str:
    """What is wrong with srgan's reading of a file, or ""."""
    try:
        reading = watch.read(each.file)
    except Exception as error:  # a traceback, for the user
        return repr(error)
    if reading.pixels is None:
        return "" if re.search(r": .{20}", reading.refusal) else f"no reason: {reading.refusal!r}"
    picture = rgba(reading.pixels)
    far = distance(picture, each.pixels)
    if far <= each.close:
        return ""
    if each.close == LOSSY and any(distance(picture, other) < 2 for other in readings(each.file)):
        return ""  # the file itself is as far from what was to be written
    return f"{far:.0f} levels away"


def check(watch: Watched, files: Iterable[Written], at_least: int) -> None:
    """Raise AssertionError for faults, all at once, unless they are known."""
    found = {each.name: fault(watch, each) for each in files}
    assert len(found) >= at_least
    faults = {name: text for name, text in found.items() if text}
    lines = [f"{name}: {text}" for name, text in faults.items()]
    assert not lines, "\n".join([f"{len(lines)} of {len(found)} files:", *lines])


@pytest.mark.parametrize("format", PILLOW_FORMATS)
def test_what_pillow_writes(watch: Watched, format: str) -> None:
    files = (each for mode in PILLOW_MODES for each in written_by_pillow(format, mode))
    check(watch, files, at_least=10)


@pytest.mark.parametrize("saver", VIPS_SAVERS)
def test_what_libvips_writes(watch: Watched, saver: str) -> None:
    files = (each for kind in VIPS_IMAGES for each in written_by_vips(saver, kind))
    check(watch, files, at_least=30)


@pytest.mark.parametrize("kind", TIFF_KINDS)
def test_what_tifffile_writes(watch: Watched, kind: str) -> None:
    files = (each for dtype in TIFF_TYPES for each in written_by_tifffile(dtype, kind))
    check(watch, files, at_least=30)
