"""Large pictures cut into sub-images, so that training decodes few pixels that it does not use.

The convention is BasicSR's extract_subimages.py: squares that overlap, the last of a row or
column flush with the edge.
"""

import functools
import hashlib
import multiprocessing
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from srgan.config import OptionError
from srgan.images import Picture, PictureError, make_folder, open_picture, write_picture
from srgan.workers import signals_blocked, start_worker

SMALLEST = 96  # pixels a side: the usual crop
PICTURES_PER_TASK = 4


@dataclass
class PrepareReport:
    """What `prepare` did.

    Attributes:
        pictures: that were found.
        written: sub-images that are new.
        kept: sub-images that an earlier run had written.
        skipped: pictures that were left out, and why.
    """

    pictures: int
    written: int = 0
    kept: int = 0
    skipped: list[tuple[Path, str]] = field(default_factory=list)


@dataclass(frozen=True)
class _Task:
    picture: Path
    target: Path  # without the number and suffix of a sub-image


@dataclass(frozen=True)
class _Done:
    written: int = 0
    kept: int = 0
    problem: str | None = None


def prepare(
    folder: Path,
    out: Path,
    *,
    size: int = 480,
    step: int = 240,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda _done, _pictures: None,
) -> PrepareReport:
    """Cut the pictures of a folder into PNGs of `size` x `size` pixels in `out`.

    The tree of folders is kept; name.jpg becomes name_s001.png and so on. A picture with a side
    shorter than `size` becomes one PNG, whole; below 96 pixels it is left out, as are pictures
    that cannot be read and all but the first of files with the same content. A run that was
    interrupted goes on when it is started again with the same arguments.

    Args:
        step: pixels from one sub-image to the next.
        workers: processes; by default as many as there are cores.
        progress: called with the number of pictures that are done, and of all.

    Raises:
        OptionError: `size` is below 96 or `step` below 1.
        DataError: there are no pictures, or `out` is in `folder`.
        PictureError: a sub-image cannot be written, for instance since the disk is full.
    """
    # Here, since it imports torch, which the processes that import this module need not.
    from srgan.data import DataError, find_pictures

    if size < SMALLEST or step < 1:
        raise OptionError(f"--size must be at least {SMALLEST} and --step at least 1")
    if out.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{out}: it is in {folder} itself: write to a folder outside")
    pictures = find_pictures(folder)
    _remove_parts(out)
    report = PrepareReport(len(pictures))
    pool = ProcessPoolExecutor(
        min(workers or os.cpu_count() or 1, len(pictures)),
        multiprocessing.get_context("spawn"),
        initializer=_start_worker,
    )
    try:
        with signals_blocked():
            candidates = _same_size(pictures)
            digests = pool.map(_digest, candidates, chunksize=PICTURES_PER_TASK)
        originals = _originals(candidates, list(digests))
        report.skipped += [(path, f"the same as {first}") for path, first in originals.items()]
        tasks = _tasks([path for path in pictures if path not in originals], folder, out)
        cut = functools.partial(_cut, size=size, step=step)
        with signals_blocked():
            results = pool.map(cut, tasks, chunksize=PICTURES_PER_TASK)
        finished = len(pictures) - len(tasks)
        for task, done in zip(tasks, results, strict=True):
            report.written += done.written
            report.kept += done.kept
            if done.problem is not None:
                report.skipped.append((task.picture, done.problem))
            finished += 1
            progress(finished, len(pictures))
    except BrokenProcessPool as error:
        raise DataError("a worker ran out of memory or was killed: use fewer workers") from error
    finally:
        pool.shutdown(cancel_futures=True)
    return report


def _start_worker() -> None:
    """Workers of a pool wait for work for ever when the main process was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    start_worker(parent.join)


def _remove_parts(out: Path) -> None:
    """Remove what a run that was killed left behind."""
    for part in out.rglob(".srgan-*.part"):
        part.unlink(missing_ok=True)


def _same_size(pictures: Sequence[Path]) -> list[Path]:
    """Those that are as long as another file, in bytes."""
    by_size: dict[int, list[Path]] = defaultdict(list)
    for path in pictures:
        try:
            by_size[path.stat().st_size].append(path)
        except OSError:
            continue  # said when it is read
    return [path for group in by_size.values() if len(group) > 1 for path in group]


def _digest(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _originals(paths: Sequence[Path], digests: Sequence[str | None]) -> dict[Path, Path]:
    """The files that are the same as an earlier one, and that one."""
    first: dict[str, Path] = {}
    return {
        path: first[digest]
        for path, digest in zip(paths, digests, strict=True)
        if digest is not None and first.setdefault(digest, path) is not path
    }


def _tasks(pictures: Sequence[Path], folder: Path, out: Path) -> list[_Task]:
    """Where each picture's sub-images go; photo.jpg and photo.png must not share theirs."""
    taken: set[str] = set()
    tasks = []
    for path in pictures:
        parent = out / path.parent.relative_to(folder)
        target = parent / path.stem
        if str(target).lower() in taken:
            target = parent / path.name
        taken.add(str(target).lower())
        tasks.append(_Task(path, target))
    return tasks


def _cut(task: _Task, size: int, step: int) -> _Done:
    """Write a picture's sub-images, as far as they are not there."""
    try:
        picture = open_picture(task.picture)
        height, width, bands = picture.shape
        if min(height, width) < SMALLEST:
            return _Done(problem=f"{width} x {height} pixels, smaller than {SMALLEST}")
        windows = _windows(height, width, size, step)
        names = [f"{task.target.name}_s{number:03d}.png" for number in range(1, len(windows) + 1)]
        files = [task.target.with_name(name) for name in names]
        missing = [index for index, file in enumerate(files) if not file.exists()]
        tiles = _read(picture, [windows[index] for index in missing])
    except PictureError as error:
        return _Done(problem=str(error).removeprefix(f"{task.picture}: "))
    make_folder(task.target.parent)
    for index, tile in zip(missing, tiles, strict=True):
        shape = (tile.shape[0], tile.shape[1], bands)
        write_picture(files[index], [tile], shape, tile.dtype, format="png")
    return _Done(len(missing), len(files) - len(missing))


def _read(picture: Picture, windows: Sequence[tuple[slice, slice]]) -> list[np.ndarray]:
    """Windows of a picture, read whole: no damage is found only when a part is written."""
    if not windows:
        return []
    pixels = picture[:, :]
    return [pixels[window] for window in windows]


def _windows(height: int, width: int, size: int, step: int) -> list[tuple[slice, slice]]:
    """Rows and columns of a picture's sub-images, row by row."""
    if min(height, width) < size:
        return [(slice(0, height), slice(0, width))]
    return [
        (slice(top, top + size), slice(left, left + size))
        for top in _starts(height, size, step)
        for left in _starts(width, size, step)
    ]


def _starts(length: int, size: int, step: int) -> list[int]:
    starts = list(range(0, length - size + 1, step))
    return starts if starts[-1] == length - size else [*starts, length - size]
