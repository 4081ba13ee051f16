"""Plans a bulk job: finds the pictures of the source that have no result in the destination."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple

from srgan.errors import OptionError
from srgan.pictures.images import PICTURE_SUFFIXES, PictureError, output_format
from srgan.pictures.jobs import result_name, same_result
from srgan.pictures.options import ResultOptions
from srgan.pictures.shards import ParquetPictures, ShardError
from srgan.pictures.stores import Store, StoreError

PARQUET = ".parquet"
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


@dataclass(frozen=True)
class BulkPlan:
    """The work of a job.

    Attributes:
        todo: pictures to upscale, in the order of their names.
        kept: number of results that exist already.
        refused: pictures that cannot be upscaled, each with the reason.
    """

    todo: list[SourcePicture]
    kept: int
    refused: list[tuple[str, str]]


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
    done: set[str] = set() if options.overwrite else results(destination)
    taken: dict[str, str] = {}
    todo: list[SourcePicture] = []
    refused: list[tuple[str, str]] = []
    kept = 0
    for picture in _pictures(source, destination, options, column):
        first = taken.setdefault(picture.target, picture.name)
        if first != picture.name:
            refused.append((picture.name, same_result(picture.target, first)))
        elif picture.target in done:
            kept += 1
        else:
            todo.append(picture)
    if not taken:
        raise StoreError(f"{source.url}: no pictures and no parquet files there")
    return BulkPlan(todo, kept, refused)


def is_parquet(destination: Store) -> bool:
    """Whether results go into parquet files: the destination's name ends in .parquet."""
    return destination.root.endswith(PARQUET)


def results(destination: Store) -> set[str]:
    """Names of the results in the destination."""
    names = destination.names()
    if not is_parquet(destination):
        return set(names)
    return {
        path for name in names if name.endswith(PARQUET) for path in names_in(destination, name)
    }


def names_in(store: Store, file: str) -> set[str]:
    """Names of the pictures in a parquet file."""
    pictures = _open(store, file, None)
    names = [pictures.names(group) for group in range(pictures.groups)]
    return {name for group in names for name in group if name}


def tasks(pictures: Sequence[SourcePicture], size: int) -> Iterator[list[SourcePicture]]:
    """Split pictures into tasks of at most `size`; a task reads from one row group at most."""
    for _, group in itertools.groupby(pictures, lambda each: each.row >= 0 and each[:2]):
        while part := list(itertools.islice(group, size)):
            yield part


def _pictures(
    source: Store, destination: Store, options: ResultOptions, column: str | None
) -> Iterator[SourcePicture]:
    names = _without(source.names(), source, destination)
    pictures = [name for name in names if PurePosixPath(name).suffix.lower() in PICTURE_SUFFIXES]
    for name in pictures:
        yield SourcePicture(name, -1, -1, _target(PurePosixPath(name), options))
    if pictures:
        return
    for name in names:
        if name.endswith(PARQUET):
            yield from _rows(source, name, options, column)


def _without(names: list[str], source: Store, destination: Store) -> list[str]:
    """Leave out the results of a destination that lies inside the source."""
    inner = destination.name_in(source)
    return [name for name in names if inner is None or not name.startswith(f"{inner}/")]


def _rows(
    source: Store, file: str, options: ResultOptions, column: str | None
) -> Iterator[SourcePicture]:
    """The pictures of a parquet file.

    Their results are named FILE/NAME, or FILE/ROW if the names are not unique.
    """
    pictures = _open(source, file, column)
    names = [pictures.names(group) for group in range(pictures.groups)]
    plain = [PurePosixPath(name or "").name for group in names for name in group]
    unique = len(set(plain)) == len(plain) and all(plain)
    folder = PurePosixPath(file).with_suffix("")
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


def _open(store: Store, name: str, column: str | None) -> ParquetPictures:
    try:
        return ParquetPictures(store.open(name), column)
    except ShardError as error:
        raise StoreError(f"{store.full_name(name)}: {error}") from error
