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

from srgan.errors import OptionError
from srgan.pictures.files import remove_parts
from srgan.training.data.sub_images import SMALLEST, Group, Task, cut_group
from srgan.training.data.workers import signals_blocked, start_worker
from srgan.training.options import PreparedFormat

PICTURES_PER_GROUP = 4
SHARD_SOURCE_BYTES = 16_000_000  # of the pictures of a shard, which is 5 to 20 times as large
SHARD_SUFFIXES = {"parquet": ".parquet", "webdataset": ".tar"}


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


def prepare(
    folder: Path,
    out: Path,
    *,
    size: int = 480,
    step: int = 240,
    format: PreparedFormat = "png",
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda _done, _pictures: None,
) -> PrepareReport:
    """Cut the pictures of a folder into PNGs of `size` x `size` pixels, in `out` or shards there.

    The tree of folders is kept; name.jpg becomes name_s001.png and so on. A picture with a side
    shorter than `size` becomes one PNG, whole; below 96 pixels it is left out, as are pictures
    that cannot be read and all but the first of files with the same content. A run that was
    interrupted goes on when it is started again with the same arguments.

    Args:
        step: pixels from one sub-image to the next.
        format: png for files, or the kind of shards. What an earlier run left out of a shard is
            not told again.
        workers: processes; by default as many as there are cores.
        progress: called with the number of pictures that are done, and of all.

    Raises:
        OptionError: `size` is below 96 or `step` below 1.
        DataError: there are no pictures, `out` is in `folder` or has shards of other pictures.
        PictureError: a sub-image cannot be written, for instance since the disk is full.
    """
    # Here, since it imports torch, which the processes that import this module need not.
    from srgan.training.data.stored import DataError, find_pictures

    if size < SMALLEST or step < 1:
        raise OptionError(f"--size must be at least {SMALLEST} and --step at least 1")
    if out.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{out}: it is in {folder} itself: write to a folder outside")
    pictures = find_pictures(folder)
    for written in (out, *(path for path in out.rglob("*") if path.is_dir())):
        remove_parts(written)
    report = PrepareReport(len(pictures))
    pool = ProcessPoolExecutor(
        min(workers or os.cpu_count() or 1, len(pictures)),
        multiprocessing.get_context("spawn"),
        initializer=_start_worker,
    )
    try:
        with signals_blocked():
            candidates = _same_size(pictures)
            digests = pool.map(_digest, candidates, chunksize=PICTURES_PER_GROUP)
        originals = _originals(candidates, list(digests))
        report.skipped += [(path, f"the same as {first}") for path, first in originals.items()]
        tasks = _tasks([path for path in pictures if path not in originals], folder, out)
        groups = _groups(tasks) if format == "png" else _shards(tasks, out, format, (size, step))
        with signals_blocked():
            results = pool.map(functools.partial(cut_group, size=size, step=step), groups)
        finished = len(pictures) - len(tasks)
        for group, outcomes in zip(groups, results, strict=True):
            for task, done in zip(group.tasks, outcomes, strict=True):
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


def _tasks(pictures: Sequence[Path], folder: Path, out: Path) -> list[Task]:
    """Where each picture's sub-images go; photo.jpg and photo.png must not share theirs."""
    taken: set[str] = set()
    tasks = []
    for path in pictures:
        parent = out / path.parent.relative_to(folder)
        target = parent / path.stem
        if str(target).lower() in taken:
            target = parent / path.name
        taken.add(str(target).lower())
        tasks.append(Task(path, target))
    return tasks


def _groups(tasks: Sequence[Task]) -> list[Group]:
    step = PICTURES_PER_GROUP
    return [Group(list(tasks[first : first + step])) for first in range(0, len(tasks), step)]


def _shards(tasks: Sequence[Task], out: Path, format: str, sides: tuple[int, int]) -> list[Group]:
    """Groups of some megabytes; a shard's name tells what is in it, so that it can be kept.

    Raises:
        DataError: there are other shards in `out`, which training would read too.
    """
    from srgan.training.data.stored import DataError

    groups: list[Group] = []
    together: list[Task] = []
    size = 0
    for task in tasks:
        together.append(task)
        size += task.picture.stat().st_size
        if size >= SHARD_SOURCE_BYTES or task is tasks[-1]:
            content = [(str(t.target.relative_to(out)), t.picture.stat().st_size) for t in together]
            digest = hashlib.sha256(repr((content, sides)).encode()).hexdigest()[:8]
            name = f"shard-{len(groups):05d}-{digest}{SHARD_SUFFIXES[format]}"
            groups.append(Group(together, out / name))
            together, size = [], 0
    others = {path for path in out.glob("shard-*") if path.suffix in SHARD_SUFFIXES.values()}
    others -= {group.shard for group in groups if group.shard}
    if others:
        raise DataError(f"{min(others)}: a shard of other pictures or sizes: write to a new folder")
    return groups
