"""Plans a bulk job: finds the pictures of the source that have no result in the destination."""

import itertools
import logging
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import NamedTuple

from srgan.errors import OptionError, UserError
from srgan.pictures.folders import is_picture_name
from srgan.pictures.images import PictureError, output_format
from srgan.pictures.jobs import result_name, same_result
from srgan.pictures.options import ResultOptions
from srgan.pictures.shards import ParquetPictures, ShardError
from srgan.pictures.stores import Store, StoreError

log = logging.getLogger("srgan")

PARQUET = ".parquet"
OPENERS = 16  # files of a destination that are opened at the same time: stores answer late
ERRORS = "_errors.jsonl"  # readers of parquet folders ignore names that start with _


class SourcePicture(NamedTuple):
    """A picture of the source, and the name of its result."""

    file: str  # name in the source
    group: int  # row group of a parquet file; -1 for a picture file
    row: int  # row in the group; -1 for a picture file
    target: str  # name of the result

    @property
    def name(self) -> str:
        """Name for messages, relative to the source."""
        return self.file if self.row < 0 else f"{self.file}:{self.group}:{self.row}"


class Refused(NamedTuple):
    """A picture, or a parquet file of pictures, that cannot be upscaled."""

    name: str  # in the source
    target: str  # name of the result, or of the folder of the file's results
    reason: str  # one line for the user


@dataclass(frozen=True)
class BulkPlan:
    """The work of a job.

    Attributes:
        todo: pictures to upscale, in the order of their names.
        kept: number of results that exist already.
        refused: pictures and parquet files that cannot be upscaled.
    """

    todo: list[SourcePicture]
    kept: int
    refused: list[Refused]


def plan(
    source: Store, destination: Store, options: ResultOptions, column: str | None = None
) -> BulkPlan:
    """Compare the source with the destination.

    Args:
        column: column of the pictures in parquet files; by default the only one.

    Raises:
        OptionError: source and destination are the same folder, or the format is unknown.
        StoreError: one of them cannot be listed, or the source has no pictures.
    """
    _check_format(options)
    if destination.name_in(source) == "":
        raise OptionError("source and destination are the same folder: choose another destination")
    files = source.names(without=destination)
    sources = _sources_in(destination, source, files, options)
    done: set[str] = set() if options.overwrite else results(destination, source)
    taken: dict[str, str] = {}
    todo: list[SourcePicture] = []
    refused: list[Refused] = []
    kept = 0
    for picture in _pictures(source, files, options, column):
        if isinstance(picture, Refused):
            refused.append(picture)
            continue
        first = taken.setdefault(picture.target, picture.name)
        if problem := _problem(picture, first, destination, sources):
            reason = f"{source.full_name(picture.name)}: {problem}"
            refused.append(Refused(picture.name, picture.target, reason))
        elif picture.target in done:
            kept += 1
        else:
            todo.append(picture)
    if not taken:
        nothing = f"{source.url}: no pictures and no parquet files there"
        raise StoreError(refused[0].reason if refused else nothing)
    return BulkPlan(todo, kept, refused)


def _sources_in(
    destination: Store, source: Store, files: Sequence[str], options: ResultOptions
) -> set[str]:
    """Names in the destination that are files of the source, by its place or through links."""
    if is_parquet(destination):
        return set()
    if not options.overwrite and source.name_in(destination) is None:
        return set()  # what a link leads to exists, so it is kept
    places = {source.place(name) for name in files}
    return {name for name in destination.names() if destination.place(name) in places}


def _problem(
    picture: SourcePicture, first: str, destination: Store, sources: Collection[str]
) -> str | None:
    """Why a picture cannot have its result.

    Args:
        first: the first picture with this result.
        sources: names in the destination that are files of the source.
    """
    if picture.target in sources:
        target = destination.full_name(picture.target)
        return f"its result {target} would replace a picture of the source; choose another place"
    return same_result(picture.target, first) if first != picture.name else None


def is_parquet(destination: Store) -> bool:
    """Whether results go into parquet files: the destination's name ends in .parquet."""
    return is_shard(destination.root)


def is_shard(name: str) -> bool:
    """Whether a file is a parquet file, by its name."""
    return name.lower().endswith(PARQUET)


def results(destination: Store, source: Store) -> set[str]:
    """Names of the results in the destination; the source may lie in it."""
    files = destination.names(without=source)
    if not is_parquet(destination):
        return set(files)
    found: set[str] = set()
    twice: set[str] = set()
    with ThreadPoolExecutor(OPENERS) as openers:
        for _, groups in openers.map(partial(_shard, destination), filter(is_shard, files)):
            names = {name for group in groups for name in group if name}
            twice |= names & found
            found |= names
    if twice:
        log.warning(
            "%s: %d results are there twice, as a run with --overwrite was stopped: "
            "run it again with --overwrite",
            destination.url,
            len(twice),
        )
    return found


def without_results(destination: Store, file: str, names: Collection[str]) -> bytes | None:
    """The bytes of a parquet file without the results of these names.

    Returns:
        None if it has none of them, b"" if it has no others.

    Raises:
        StoreError: the file cannot be read.
    """
    pictures, groups = _shard(destination, file)
    found = [name for group in groups for name in group]
    left = sum(name not in names for name in found)
    if left == len(found):
        return None
    return pictures.without(names) if left else b""


def tasks(pictures: Sequence[SourcePicture], size: int) -> Iterator[list[SourcePicture]]:
    """Split pictures into tasks of at most `size`; a task reads from one row group at most."""
    for _, group in itertools.groupby(pictures, lambda each: each.row >= 0 and each[:2]):
        while part := list(itertools.islice(group, size)):
            yield part


def _pictures(
    source: Store, files: Sequence[str], options: ResultOptions, column: str | None
) -> Iterator[SourcePicture | Refused]:
    pictures = list(filter(is_picture_name, files))
    shards = [name for name in files if is_shard(name)]
    for name in pictures:
        yield SourcePicture(name, -1, -1, _target(PurePosixPath(name), options))
    if pictures and shards:
        log.warning(
            "%s: %d parquet files are left out, because there are picture files: "
            "upscale a folder with the parquet files alone",
            source.url,
            len(shards),
        )
        return
    for name in shards:
        yield from _rows(source, name, options, column)


def _rows(
    source: Store, file: str, options: ResultOptions, column: str | None
) -> Iterator[SourcePicture | Refused]:
    """The pictures of a parquet file.

    Their results are named FILE/NAME, or FILE/ROW if the names are not unique. A result's name
    does not start with a dot: the next run would not see it.
    """
    folder = PurePosixPath(file).with_suffix("")
    try:
        _, names = _shard(source, file, column)
    except UserError as error:
        yield Refused(file, str(folder), str(error))
        return
    plain = [PurePosixPath(name or "").name.lstrip(".") for group in names for name in group]
    unique = len(set(plain)) == len(plain) and all(plain)
    number = 0
    for group, members in enumerate(names):
        for row in range(len(members)):
            name = plain[number] if unique else f"{number:06d}"
            yield SourcePicture(file, group, row, _target(folder / name, options))
            number += 1


def _check_format(options: ResultOptions) -> None:
    if options.format is not None:
        try:
            output_format(options.format)
        except PictureError as error:
            raise OptionError(str(error)) from error


def _target(name: PurePosixPath, options: ResultOptions) -> str:
    keep = options.keep_extension
    new = result_name(name, options.suffix or "", options.format, keep_extension=keep)
    return str(name.with_name(new))


def _shard(
    store: Store, file: str, column: str | None = None
) -> tuple[ParquetPictures, list[list[str | None]]]:
    """A parquet file, and the names of the pictures in each of its groups.

    Raises:
        PictureError, StoreError: it cannot be read.
    """
    try:
        pictures = ParquetPictures(store.open(file), column)
        return pictures, [pictures.names(group) for group in range(pictures.groups)]
    except ShardError as error:
        raise StoreError(f"{store.full_name(file)}: {error}") from error
