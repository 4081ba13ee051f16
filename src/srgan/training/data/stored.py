"""Training pictures, alike for files on this machine and for pictures stored elsewhere."""

import functools
import hashlib
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, runtime_checkable

import numpy as np

from srgan.errors import UserError
from srgan.pictures.folders import file_names, is_picture_name
from srgan.pictures.images import Picture, open_picture
from srgan.training.run.files import CURVES, METRICS, SAMPLES, WANDB

_SUB_IMAGE = re.compile(r"_s\d{3,}\.png$")  # the end of a sub-image's name


class DataError(UserError):
    """Pictures that cannot be trained on: one line for the user."""


def find_pictures(folder: Path, without: Collection[Path] = ()) -> list[Path]:
    """The pictures in a folder and the folders in it, by their names, sorted; none is opened.

    Hidden files and folders are left out, and the pictures that training runs in the folder have
    drawn. Links to folders are followed, see `file_names`.

    Args:
        without: folders in it that are left out.

    Raises:
        DataError: the folder or a part of it cannot be read, or it has no pictures.
    """
    found = file_names(folder, unreadable=raise_unreadable, without=without)
    return as_paths(folder, pictures_among(found, os.path.exists))


def as_paths(folder: Path, pictures: Sequence[str]) -> list[Path]:
    """The paths of the pictures found in a folder, sorted. Raises DataError if there are none."""
    if not pictures:
        raise DataError(f"{folder}: no pictures in this folder: give another one")
    return [Path(name) for name in sorted(pictures)]


def pictures_among(names: Iterable[str], exists: Callable[[str], bool]) -> list[str]:
    """The pictures among files, by suffix.

    The sample grids and curves of training runs are left out: they are no photographs.

    Args:
        names: of files, with forward slashes or those of the system.
        exists: whether there is a file of a name.
    """

    @functools.cache
    def is_run(folder: str) -> bool:
        return exists(os.path.join(folder, METRICS))  # noqa: PTH118 - names in a store as well

    def is_drawn(name: str) -> bool:
        folder, file = os.path.split(name)
        above, own = os.path.split(folder)
        drawn = (file == CURVES and is_run(folder)) or (own == SAMPLES and is_run(above))
        if WANDB in folder:
            above, *inside = re.split(rf"[/\\]{WANDB}[/\\]", name)
            drawn = drawn or (bool(inside) and is_run(above))
        return drawn

    return [name for name in names if is_picture_name(name) and not is_drawn(name)]


def raise_unreadable(error: OSError) -> None:
    """What a search for training pictures does with a folder that it cannot read."""
    if isinstance(error, NotADirectoryError):
        raise DataError(f"{error.filename}: that is a file: give a folder") from error
    raise DataError(f"{error.filename}: this folder cannot be read ({error.strerror})") from error


@dataclass(frozen=True)
class StoredPicture:
    """A picture that is not a file on this machine.

    Attributes:
        full_name: for messages; also the result of str().
        read: returns the bytes of its file, as `Store.read` does.
    """

    full_name: str
    read: Callable[[], bytes]

    @property
    def name(self) -> str:
        return PurePosixPath(self.full_name).name

    def __str__(self) -> str:
        return self.full_name


Pictures = Sequence[Path | StoredPicture]
Digests = dict[str, str]  # of the names, of the sizes and of the times, where a source has them


@runtime_checkable
class HasDigests(Protocol):
    def digests(self) -> Digests:
        """Identify the source, independently of its location."""
        ...


class StoredPictures(Sequence[StoredPicture], ABC):
    """Pictures of a source, each made on demand. The sequence is sent to worker processes."""

    @abstractmethod
    def names(self) -> list[str]:
        """The names of all pictures, in their order; "" where one has none. None is read."""

    @abstractmethod
    def digests(self) -> Digests: ...


class Selected(StoredPictures):
    """Some pictures of a source, by their indices."""

    def __init__(self, pictures: StoredPictures, indices: np.ndarray) -> None:
        self._pictures, self._indices = pictures, indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: Any) -> Any:
        return self._pictures[int(self._indices[index])]

    def names(self) -> list[str]:
        names = self._pictures.names()
        return [names[int(index)] for index in self._indices]

    def digests(self) -> Digests:
        chosen = self._indices.tobytes()
        return {
            kind: hashlib.sha256(whole.encode() + chosen).hexdigest()
            for kind, whole in self._pictures.digests().items()
        }


def photographs(pictures: Pictures) -> list[str]:
    """Identify the photograph that each picture shows a part of; no picture is read.

    Sub-images of `srgan prepare`, NAME_s001.png and so on, are parts of NAME and overlap. Any
    other picture is a photograph of its own.
    """
    if isinstance(pictures, StoredPictures):
        names = pictures.names()
    else:
        names = [str(picture) for picture in pictures]
    return [photograph(name) or f"\0{number}" for number, name in enumerate(names)]


def photograph(name: str) -> str | None:
    """NAME of a sub-image's NAME_s001.png; None if the name is none of a sub-image."""
    match = _SUB_IMAGE.search(name)
    return name[: match.start()] if match else None


def digests(pictures: Pictures | HasDigests) -> Digests:
    """Identify pictures by their names, sizes and times, independently of their location.

    Files are not opened. For many files on a slow disk this takes a while: compute it once.
    """
    if isinstance(pictures, HasDigests):
        return pictures.digests()
    paths = [str(picture) for picture in pictures]
    root = os.path.commonpath({os.path.dirname(path) for path in paths})  # noqa: PTH120 - speed
    names = "\0".join(path[len(root) :].lstrip(os.sep) for path in paths)
    found = [_size_and_time(path) for path in paths]
    return {"names": digest_of(names)} | {
        kind: digest_of(",".join(values))
        for kind, values in zip(("sizes", "times"), zip(*found, strict=True), strict=True)
    }


def digest_of(text: str) -> str:
    """A digest of names, which need not be UTF-8, or of numbers."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def _size_and_time(path: str) -> tuple[str, str]:
    try:
        found = os.stat(path)  # noqa: PTH116 - a Path each takes longer
    except OSError:  # it has just disappeared
        return "", ""
    return str(found.st_size), str(found.st_mtime_ns)


def changes(saved: Digests | str, now: Digests) -> str | None:
    """A warning if pictures have changed since their digests were saved.

    Args:
        saved: of a training state; srgan 0.1.0 saved the digest of the names only.
    """
    saved = {"names": saved} if isinstance(saved, str) else saved
    changed = {kind for kind in saved.keys() & now.keys() if saved[kind] != now[kind]}
    if "names" in changed:
        return "the training pictures have changed: the run continues with other crops"
    if "sizes" in changed:
        return "training pictures were replaced: the run continues with the new ones"
    if "times" in changed:
        return (
            "training pictures have other times than before: if they were replaced, the run "
            "continues with the new ones"
        )
    return None


def open_training_picture(picture: Path | StoredPicture) -> Picture:
    """Open a file or a stored picture.

    Raises:
        PictureError: it is damaged.
        StoreError: its store cannot be read.
    """
    if isinstance(picture, Path):
        return open_picture(picture)
    return open_picture(picture.read(), name=str(picture))
