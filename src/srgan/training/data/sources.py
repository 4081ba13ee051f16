"""The sources of training pictures: a folder, a bucket, shards, the Hugging Face hub.

Every source except a stream is a sequence: a picture is read by its index, so the crops of a run
are a pure function of its seed.
"""

import hashlib
import logging
import os
import re
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from srgan.errors import need, reason_of
from srgan.pictures.folders import file_names
from srgan.pictures.stores import Store, StoreError, open_store
from srgan.training.data.stored import (
    DataError,
    Digests,
    Pictures,
    StoredPicture,
    StoredPictures,
    as_paths,
    digest_of,
    pictures_among,
    raise_unreadable,
)
from srgan.training.data.versions import digests_of_files, digests_of_folder

log = logging.getLogger("srgan")

SHARD_KINDS = {".parquet": "parquet", ".tar": "webdataset"}
HUB = "hf:"  # before OWNER/NAME of a dataset, as before that of a model
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def find_source(name: str, without: Collection[Path] = ()) -> Pictures:
    """The pictures of a data folder; none is opened.

    Args:
        name: a folder of pictures or of shards (parquet, webdataset), a shard, an fsspec URL of
            any of these, or hf:OWNER/NAME of a dataset of the hub.
        without: folders inside a folder to leave out.

    Raises:
        DataError: there are no pictures.
    """
    found = shards(name, without)
    if not isinstance(found, Shards):
        return found
    return ShardPictures(name, _load(found, name, streaming=False), found)


def open_stream(name: str, without: Collection[Path] = ()) -> "ShardStream":
    """The shards of a data folder, to be read as they arrive over the network. See `find_source`.

    Raises:
        DataError: there are no shards.
    """
    found = shards(name, without)
    if not isinstance(found, Shards):
        raise DataError(f"{name}: holds pictures, not shards: --stream is for shards")
    return ShardStream(name, _load(found, name, streaming=True), found)


@dataclass(frozen=True)
class Shards:
    """Arguments for `datasets`: a kind of file and the files, or a dataset of the hub."""

    kind: str  # "parquet", "webdataset" or OWNER/NAME
    files: tuple[str, ...] = ()


def shards(name: str, without: Collection[Path] = ()) -> Shards | Pictures:
    """The pictures of a data folder or, if it has none, its shards. See `find_source`."""
    path = Path(name)
    if _is_shard(name) and not path.is_dir():
        return Shards(SHARD_KINDS[_suffix(name)], (name,))
    if "://" in name:
        return _in_bucket(name, without)
    if name.startswith(HUB):
        return _in_hub(name)
    try:
        found = list(file_names(path, unreadable=raise_unreadable, without=without))
    except DataError as error:
        if os.path.exists(path):  # noqa: PTH110 - False where a Path raises PermissionError
            raise
        raise DataError(f"{error}{_hub_hint(name)}") from error
    pictures = pictures_among(found, os.path.exists)
    files = sorted(filter(_is_shard, found), key=lambda file: Path(file).parts)
    if files and not pictures:
        return _shards(files)
    _warn_of_shards(name, len(pictures), len(files))
    return as_paths(path, pictures)


def _is_shard(name: str) -> bool:
    return _suffix(name) in SHARD_KINDS


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - a Path each is slower


def _warn_of_shards(name: str, pictures: int, shards: int) -> None:
    """Say that a folder's shards are left out, since it also holds pictures."""
    if shards:
        what = "only the pictures are used: move them elsewhere to use the shards"
        log.warning("%s: holds %d pictures and %d shards; %s", name, pictures, shards, what)


def _in_hub(name: str) -> Shards:
    dataset = name.removeprefix(HUB)
    if not _HUB_NAME.fullmatch(dataset):
        raise DataError(f"{name}: use hf:OWNER/NAME")
    return Shards(dataset)


def _hub_hint(name: str) -> str:
    if not _HUB_NAME.fullmatch(name):
        return ": check the name"
    return f": check the name, or write {HUB}{name} for a dataset of the Hugging Face hub"


def with_hub_prefix(name: str) -> str:
    """The data folder of a run of srgan 0.1.0, which named datasets of the hub by OWNER/NAME."""
    is_dataset = _HUB_NAME.fullmatch(name) and not Path(name).exists()
    return HUB + name if is_dataset else name


def _lies_in(file: Path, folders: Collection[Path]) -> bool:
    return any(file.is_relative_to(folder) for folder in folders)


def _in_bucket(url: str, without: Collection[Path]) -> Shards | Pictures:
    try:
        store = open_store(url)
        names = store.names()
    except StoreError as error:
        raise DataError(str(error)) from error
    names = [name for name in names if not _lies_in(Path(store.full_name(name)), without)]
    pictures = pictures_among(names, frozenset(names).__contains__)
    files = [store.full_name(name) for name in names if _is_shard(name)]
    if pictures:
        _warn_of_shards(url, len(pictures), len(files))
        return BucketPictures(store, pictures)
    if not files:
        raise DataError(f"{url}: no pictures and no shards there: give another URL")
    return _shards(files)


def _shards(files: Sequence[str]) -> Shards:
    kind = _suffix(files[0])
    same = tuple(file for file in files if _suffix(file) == kind)
    if len(same) < len(files):
        log.warning("%d shards that are not %s are left out", len(files) - len(same), kind)
    return Shards(SHARD_KINDS[kind], same)


def _load(shards: Shards, name: str, *, streaming: bool) -> Any:
    """A dataset with columns of pictures only, each as {bytes, path}."""
    need("train", "training on shards or a dataset", also="datasets")
    import datasets

    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    files = list(shards.files) or None
    try:
        data: Any = datasets.load_dataset(
            shards.kind, data_files=files, split="train", streaming=streaming
        )
        features = data.features or data._resolve_features().features
    except Exception as error:  # the hub's, a store's, or a file is not a shard
        reason = reason_of(error)[:200]
        where = "no dataset of the hub that can be loaded"
        reason = f"{where} ({reason})" if not shards.files else f"cannot be loaded ({reason})"
        raise DataError(f"{name}: {reason}") from error
    columns = [key for key, feature in features.items() if _is_picture(feature)]
    if not columns:
        raise DataError(f"{name}: has no column of pictures, only {', '.join(features)}")
    data = data.select_columns(columns)
    for column in columns:
        if isinstance(features[column], datasets.Image):
            data = data.cast_column(column, datasets.Image(decode=False))
    return data


def _is_picture(feature: Any) -> bool:
    import datasets

    binary = isinstance(feature, datasets.Value) and feature.dtype in ("binary", "large_binary")
    return binary or isinstance(feature, datasets.Image)


def _stored(source: str, index: int | str, row: dict[str, Any]) -> StoredPicture:
    """The picture of a row: that of the first column that has one."""
    cell: Any = next((value for value in row.values() if value is not None), b"")
    content: bytes | None = cell if isinstance(cell, bytes) else cell["bytes"]
    path: str | None = None if isinstance(cell, bytes) else cell["path"]
    # The hub gives folders of pictures as rows of paths in its cache.
    data = Path(path or "").read_bytes() if content is None else content
    name = PurePosixPath(path or "").name or str(index)
    return StoredPicture(f"{source}/{name}", lambda: data)


class BucketPictures(StoredPictures):
    """Picture files behind an fsspec URL, each read when it is needed."""

    def __init__(self, store: Store, names: list[str]) -> None:
        self._store, self._names = store, names

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: Any) -> Any:
        name = self._names[int(index)]
        return StoredPicture(self._store.full_name(name), partial(self._store.read, name))

    def names(self) -> list[str]:
        return self._names

    def digests(self) -> Digests:
        names = {"names": digest_of("\0".join(self._names))}
        return names | digests_of_folder(self._store.url, self._names)


class ShardPictures(StoredPictures):
    """The rows of a dataset in Arrow files, which are mapped into memory, not read into it."""

    def __init__(self, name: str, dataset: Any, shards: Shards) -> None:
        self._name, self._dataset, self.shards = name, dataset, shards

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: Any) -> Any:
        return _stored(self._name, index, self._dataset[int(index)])

    def names(self) -> list[str]:
        names = [""] * len(self)
        for column in self._paths():
            names = [name or path or "" for name, path in zip(names, chain(*column), strict=True)]
        return names

    def digests(self) -> Digests:
        """Digests of the pictures' names and number, and of the shards' sizes and times."""
        digest = hashlib.sha256(str(len(self)).encode())
        for chunk in chain(*self._paths()):
            digest.update("\0".join(map(str, chunk)).encode())
        return {"names": digest.hexdigest()} | digests_of_files(self.shards.files)

    def _paths(self) -> list[list[list[str | None]]]:
        """The paths in each column that has them, in its chunks."""
        return [
            [chunk.field("path").to_pylist() for chunk in column.chunks]
            for column in self._dataset.data.columns
            if pa.types.is_struct(column.type)
        ]


class ShardStream:
    """Shards that `datasets` streams: they can only be read from start to end."""

    def __init__(self, name: str, dataset: Any, shards: Shards) -> None:
        self._name, self._dataset, self.shards = name, dataset, shards
        self.count: int = dataset.num_shards

    def pictures(self, shard: int) -> Iterator[StoredPicture]:
        """The pictures of a shard, in order. Raises StoreError if it cannot be read."""
        try:
            rows = self._dataset.shard(num_shards=self.count, index=shard)
            for number, row in enumerate(rows):
                yield _stored(self._name, f"shard {shard}, row {number}", row)
        except Exception as error:
            reason = reason_of(error)
            raise StoreError(f"{self._name}: shard {shard} cannot be read ({reason})") from error

    def digests(self) -> Digests:
        """Digests of the shards' number, sizes and times, known without reading them."""
        return {"names": digest_of(f"{self.count} shards")} | digests_of_files(self.shards.files)
