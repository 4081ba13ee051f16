"""The work of one process of `srgan prepare`: pictures to sub-images, as files or in a shard."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from srgan.pictures.files import new_file, write_error
from srgan.pictures.images import (
    Picture,
    PictureError,
    encode_picture,
    make_folder,
    open_picture,
    write_picture,
)

SMALLEST = 96  # pixels a side: the usual crop


@dataclass(frozen=True)
class Task:
    """A picture to cut."""

    picture: Path
    target: Path  # path of its sub-images without "_s", number and suffix


@dataclass(frozen=True)
class Group:
    """Pictures that one process cuts: into a shard, or each into files."""

    tasks: list[Task]
    shard: Path | None = None


@dataclass(frozen=True)
class Done:
    """The result for a picture: sub-images written and kept, or the problem."""

    written: int = 0
    kept: int = 0
    problem: str | None = None


def cut_group(group: Group, size: int, step: int) -> list[Done]:
    """Cut the pictures of a group; returns a result for each.

    Raises:
        PictureError: a sub-image or the shard cannot be written.
    """
    if group.shard is None:
        return [_cut(task, size, step) for task in group.tasks]
    return _write_shard(group.tasks, group.shard, size, step)


def _write_shard(tasks: Sequence[Task], shard: Path, size: int, step: int) -> list[Done]:
    """Write the sub-images of some pictures as one shard, unless it exists."""
    from srgan.pictures.shards import Member, parquet_bytes, shard_names, tar_bytes

    if shard.exists():
        names = Counter(name.rsplit("_s", 1)[0] for name in shard_names(shard))
        return [Done(kept=names[name_in_shard(shard.parent, task.target)]) for task in tasks]
    members: list[Member] = []
    outcomes: list[Done] = []
    for task in tasks:
        try:
            picture = open_picture(task.picture)
            windows = _windows_of(picture, size, step)
            tiles = _read(picture, windows)
        except PictureError as error:
            outcomes.append(Done(problem=str(error).removeprefix(f"{task.picture}: ")))
            continue
        for number, tile in enumerate(tiles, 1):
            name = f"{name_in_shard(shard.parent, task.target)}_s{number:03d}.png"
            data, _ = encode_picture(name, [tile], tile.shape, tile.dtype, format="png")
            members.append(Member(name, data))
        outcomes.append(Done(written=len(tiles)))
    make_folder(shard.parent)
    data = parquet_bytes(members) if shard.suffix == ".parquet" else tar_bytes(members)
    try:
        with new_file(shard, overwrite=True) as part:
            part.write_bytes(data)
    except OSError as error:
        raise write_error(shard, error) from error
    return outcomes


def name_in_shard(out: Path, target: Path) -> str:
    """A target's name in a shard of `out`; no dots: they end the key of a webdataset sample."""
    return target.relative_to(out).as_posix().replace(".", "_")


def _cut(task: Task, size: int, step: int) -> Done:
    """Write those of a picture's sub-images that do not exist yet."""
    try:
        picture = open_picture(task.picture)
        windows = _windows_of(picture, size, step)
        names = [f"{task.target.name}_s{number:03d}.png" for number in range(1, len(windows) + 1)]
        files = [task.target.with_name(name) for name in names]
        missing: list[int] = []
        for index, (file, window) in enumerate(zip(files, windows, strict=True)):
            if file.exists():
                _check_size(file, *window)
            else:
                missing.append(index)
        tiles = _read(picture, [windows[index] for index in missing])
    except PictureError as error:
        return Done(problem=str(error).removeprefix(f"{task.picture}: "))
    make_folder(task.target.parent)
    for index, tile in zip(missing, tiles, strict=True):
        write_picture(files[index], [tile], tile.shape, tile.dtype, format="png")
    return Done(len(missing), len(files) - len(missing))


def _check_size(file: Path, rows: slice, columns: slice) -> None:
    """Raises PictureError for a sub-image of an earlier run with another --size or --step."""
    height, width, _ = open_picture(file).shape
    if (height, width) != (rows.stop - rows.start, columns.stop - columns.start):
        raise PictureError(f"{file} has another size: write to a new folder")


def _windows_of(picture: Picture, size: int, step: int) -> list[tuple[slice, slice]]:
    """Raises PictureError for a picture that is too small."""
    height, width, _ = picture.shape
    if min(height, width) < SMALLEST:
        raise PictureError(f"{width} x {height} pixels, smaller than {SMALLEST}")
    return _windows(height, width, size, step)


def _read(picture: Picture, windows: Sequence[tuple[slice, slice]]) -> list[np.ndarray]:
    """Windows of a picture. It is read whole, so damage is found before any file is written."""
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
    """The first pixels of the windows along a side; the last window ends at the edge."""
    starts = list(range(0, length - size + 1, step))
    return starts if starts[-1] == length - size else [*starts, length - size]
