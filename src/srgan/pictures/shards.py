"""Reads and writes shards, files of many pictures: parquet and webdataset.

A parquet shard has a column `image` of {bytes, path}, the layout of pictures in Hugging Face's
`datasets`. A webdataset shard is a tar file of picture files.
"""

import contextlib
import io
import json
import tarfile
from collections.abc import Collection, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

IMAGE = "image"
GROUP_ROWS = 64  # rows of a row group, the smallest part that can be read alone
_FIELDS = [("bytes", pa.binary()), ("path", pa.string())]
_FEATURES = {"info": {"features": {IMAGE: {"_type": "Image"}}}}
_SCHEMA = pa.schema([(IMAGE, pa.struct(_FIELDS))], {"huggingface": json.dumps(_FEATURES)})


class ShardError(Exception):
    """A file is not a shard of pictures: one line for the user, without the file's name."""


class Member(NamedTuple):
    """A picture file in a shard: its name and its bytes."""

    name: str
    data: bytes


def parquet_bytes(members: Sequence[Member]) -> bytes:
    """The bytes of a parquet shard of these pictures."""
    columns = [[m.data for m in members], [m.name for m in members]]
    arrays = [pa.array(column, type) for column, (_, type) in zip(columns, _FIELDS, strict=True)]
    images = pa.StructArray.from_arrays(arrays, [name for name, _ in _FIELDS])
    file = io.BytesIO()
    table = pa.Table.from_arrays([images], schema=_SCHEMA)
    # Pictures are compressed already.
    pq.write_table(table, file, row_group_size=GROUP_ROWS, compression="none")
    return file.getvalue()


def tar_bytes(members: Sequence[Member]) -> bytes:
    """The bytes of a webdataset shard. Each picture is one sample, so names must have one dot."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, data in members:
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
    return file.getvalue()


def shard_names(path: Path) -> list[str]:
    """The names of the pictures in a shard made by `parquet_bytes` or `tar_bytes`."""
    if path.suffix == ".tar":
        with tarfile.open(path) as tar:
            return tar.getnames()
    with path.open("rb") as file:
        pictures = ParquetPictures(file)
        return [name or "" for group in range(pictures.groups) for name in pictures.names(group)]


class ParquetPictures:
    """The pictures of an open parquet file.

    Args:
        file: a binary file that can seek.
        column: the name of the column of pictures, bytes or {bytes, path}. By default the only
            column of this kind.

    Raises:
        ShardError: the file is not a parquet file, or it is unclear which column has pictures.
    """

    def __init__(self, file: Any, column: str | None = None) -> None:
        with _as_shard_errors("it is not a parquet file"):
            self._file = pq.ParquetFile(file)
            schema = self._file.schema_arrow
        self._column = _image_column(schema, column)
        self._nested = pa.types.is_struct(schema.field(self._column).type)

    @property
    def groups(self) -> int:
        """The number of row groups, the parts that can be read alone."""
        return self._file.num_row_groups

    def names(self, group: int) -> list[str | None]:
        """The file names of a group's pictures, None for a missing one. Reads no picture.

        Raises:
            ShardError: the names are damaged.
        """
        rows = self._file.metadata.row_group(group).num_rows
        if not self._nested or "path" not in self._fields():
            return [None] * rows
        with _as_shard_errors("its names cannot be read"):
            column = self._file.read_row_group(group, columns=[f"{self._column}.path"])
            return column.column(0).combine_chunks().field("path").to_pylist()

    def read(self, group: int, rows: Sequence[int]) -> Iterator[bytes]:
        """Yield the pictures in these rows of a group; b"" for a null.

        Args:
            rows: indices in the group, ascending.
        """
        wanted = f"{self._column}.bytes" if self._nested else self._column
        first = 0
        left = list(rows)
        for batch in self._file.iter_batches(8, row_groups=[group], columns=[wanted]):
            data = batch.column(0).field("bytes") if self._nested else batch.column(0)
            while left and left[0] < first + len(batch):
                yield data[left.pop(0) - first].as_py() or b""
            if not left:
                return
            first += len(batch)

    def without(self, names: Collection[str]) -> bytes:
        """The bytes of this shard without the pictures of these names.

        Raises:
            ShardError: the shard is damaged.
        """
        file = io.BytesIO()
        with _as_shard_errors("it cannot be read"):
            writer = pq.ParquetWriter(file, self._file.schema_arrow, compression="none")
            for group in range(self.groups):
                left = pa.array([name not in names for name in self.names(group)], pa.bool_())
                writer.write_table(self._file.read_row_group(group).filter(left))
            writer.close()
        return file.getvalue()

    def _fields(self) -> list[str]:
        return [field.name for field in self._file.schema_arrow.field(self._column).type]


@contextlib.contextmanager
def _as_shard_errors(problem: str) -> Generator[None]:
    """Turn the body's errors of pyarrow, and of the file that it reads, into ShardErrors."""
    try:
        yield
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ShardError(f"{problem} ({reason})") from error


def _image_column(schema: pa.Schema, column: str | None) -> str:
    """The name of the column of pictures; see `ParquetPictures`."""
    if column is not None:
        if column not in schema.names:
            raise ShardError(f"it has no column {column}, only {', '.join(schema.names)}")
        if not _holds_bytes(schema.field(column).type):
            raise ShardError(f"its column {column} holds no pictures")
        return column
    found = [field.name for field in schema if _holds_bytes(field.type)]
    if len(found) != 1:
        count = "no column" if not found else f"several columns ({', '.join(found)})"
        raise ShardError(f"it has {count} of pictures: name one with --image-column")
    return found[0]


def _holds_bytes(type: pa.DataType) -> bool:
    if pa.types.is_struct(type):
        return any(field.name == "bytes" and _holds_bytes(field.type) for field in type)
    return pa.types.is_binary(type) or pa.types.is_large_binary(type)
