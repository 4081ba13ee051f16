"""`srgan prepare`: cut large pictures into sub-images, so that training decodes fewer pixels.

The convention is that of BasicSR's extract_subimages.py: squares that overlap; the last of a row
or column is flush with the edge.
"""

import contextlib
import functools
import hashlib
import itertools
import multiprocessing
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

from srgan.engines.processor import usable_cores
from srgan.errors import OptionError
from srgan.pictures.parts import remove_parts
from srgan.training.data.stored import DataError, find_pictures
from srgan.training.data.sub_images import SMALLEST, Done, Group, Task, cut_group, name_in_shard
from srgan.training.data.workers import signals_blocked, start_worker
from srgan.training.options import PreparedFormat

PICTURES_PER_GROUP = 4
SHARD_SOURCE_BYTES = 16_000_000  # of a shard's pictures; the shard is 5 to 20 times as large
SHARD_SUFFIXES = {"parquet": ".parquet", "webdataset": ".tar"}


@dataclass
class PrepareReport:
    """The result of `prepare`.

    Attributes:
        pictures: number of pictures found.
        written: number of new sub-images.
        kept: number of sub-images that an earlier run wrote.
        skipped: pictures that were left out, and why.
    """

    pictures: int
    written: int = 0
    kept: int = 0
    skipped: list[tuple[Path, str]] = field(default_factory=list[tuple[Path, str]])

    def add(self, picture: Path, done: Done) -> None:
        """Count the sub-images of a picture, or note why it has none."""
        self.written += done.written
        self.kept += done.kept
        if done.problem is not None:
            self.skipped.append((picture, done.problem))


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
    shorter than `size` becomes one PNG, whole. Left out are pictures below 96 pixels, pictures
    that cannot be read, and all but the first of files with the same content. Start an
    interrupted run again with the same arguments to resume it.

    Args:
        step: pixels from one sub-image to the next.
        format: png for files, or the kind of shards. The report does not repeat which pictures an
            earlier run left out of a shard.
        workers: processes; by default as many as there are cores.
        progress: called with the number of pictures that are done, and of all.

    Raises:
        OptionError: `size` is below 96 or `step` below 1.
        DataError: there are no pictures, `out` is in `folder` or has shards of other pictures.
        PictureError: a sub-image cannot be written, for instance because the disk is full.
    """
    if size < SMALLEST or step < 1:
        raise OptionError(f"--size must be at least {SMALLEST} and --step at least 1")
    if out.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{out}: it is in {folder} itself: write to a folder outside")
    pictures = find_pictures(folder)
    for written in (out, *(path for path in out.rglob("*") if path.is_dir())):
        remove_parts(written)
    report = PrepareReport(len(pictures))
    with _worker_pool(min(workers or usable_cores(), len(pictures))) as pool:
        originals = _originals(pool, pictures)
        report.skipped += [(path, f"the same as {first}") for path, first in originals.items()]
        chosen = [path for path in pictures if path not in originals]
        tasks = _tasks(chosen, folder, out, in_shards=format != "png")
        groups = _groups(tasks) if format == "png" else _shards(tasks, out, format, (size, step))
        finished = len(pictures) - len(tasks)
        for task, done in _cut(pool, groups, size, step):
            report.add(task.picture, done)
            finished += 1
            progress(finished, len(pictures))
    return report


@contextlib.contextmanager
def _worker_pool(workers: int) -> Generator[ProcessPoolExecutor]:
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_start_worker)
    try:
        yield pool
    except BrokenProcessPool as error:
        raise DataError("a worker ran out of memory or was killed: use fewer workers") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _cut(
    pool: ProcessPoolExecutor, groups: Sequence[Group], size: int, step: int
) -> Iterator[tuple[Task, Done]]:
    with signals_blocked():
        results = pool.map(functools.partial(cut_group, size=size, step=step), groups)
    for group, outcomes in zip(groups, results, strict=True):
        yield from zip(group.tasks, outcomes, strict=True)


def _start_worker() -> None:
    """A pool's workers would wait for work forever after the main process was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    start_worker(parent.join)


def _same_size(pictures: Sequence[Path]) -> list[Path]:
    """The pictures whose files have the size of another one, in bytes."""
    by_size: dict[int, list[Path]] = defaultdict(list)
    for path in pictures:
        if (size := _size_of(path)) is not None:
            by_size[size].append(path)
    return [path for group in by_size.values() if len(group) > 1 for path in group]


def _size_of(path: Path) -> int | None:
    """The size of a file in bytes; None for what cannot be read, as its reader will report."""
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None


def _digest(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _originals(pool: ProcessPoolExecutor, pictures: Sequence[Path]) -> dict[Path, Path]:
    """For each file that is the same as an earlier one: that one."""
    candidates = _same_size(pictures)
    with signals_blocked():
        digests = pool.map(_digest, candidates, chunksize=PICTURES_PER_GROUP)
    first: dict[str, Path] = {}
    return {
        path: first[digest]
        for path, digest in zip(candidates, digests, strict=True)
        if digest is not None and first.setdefault(digest, path) is not path
    }


def _tasks(pictures: Sequence[Path], folder: Path, out: Path, *, in_shards: bool) -> list[Task]:
    """The target of each picture; photo.jpg and photo.png must not share theirs.

    Args:
        in_shards: the targets' names in a shard must differ, too.
    """

    def key(target: Path) -> str:
        return (name_in_shard(out, target) if in_shards else str(target)).lower()

    taken: set[str] = set()
    tasks: list[Task] = []
    for path in pictures:
        parent = out / path.parent.relative_to(folder)
        numbered = (f"{path.name}_{number}" for number in itertools.count(2))
        targets = (parent / name for name in itertools.chain((path.stem, path.name), numbered))
        target = next(each for each in targets if key(each) not in taken)
        taken.add(key(target))
        tasks.append(Task(path, target))
    return tasks


def _groups(tasks: Sequence[Task]) -> list[Group]:
    step = PICTURES_PER_GROUP
    return [Group(list(tasks[first : first + step])) for first in range(0, len(tasks), step)]


def _shards(tasks: Sequence[Task], out: Path, format: str, sides: tuple[int, int]) -> list[Group]:
    """Groups of some megabytes. A shard's name has a digest of its content, so it can be kept.

    Raises:
        DataError: there are other shards in `out`, which training would read too.
    """
    groups: list[Group] = []
    together: list[Task] = []
    size = 0
    for task in tasks:
        together.append(task)
        size += _size_of(task.picture) or 0
        if size >= SHARD_SOURCE_BYTES or task is tasks[-1]:
            content = [(str(t.target.relative_to(out)), _size_of(t.picture) or 0) for t in together]
            digest = hashlib.sha256(repr((content, sides)).encode()).hexdigest()[:8]
            name = f"shard-{len(groups):05d}-{digest}{SHARD_SUFFIXES[format]}"
            groups.append(Group(together, out / name))
            together, size = [], 0
    others = {path for path in out.glob("shard-*") if path.suffix in SHARD_SUFFIXES.values()}
    others -= {group.shard for group in groups if group.shard}
    if others:
        raise DataError(f"{min(others)}: a shard of other pictures or sizes: write to a new folder")
    return groups
