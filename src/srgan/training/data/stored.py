"""Training pictures, alike for files on this machine and for pictures stored elsewhere."""

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, runtime_checkable

import numpy as np

from srgan.errors import UserError
from srgan.pictures.folders import picture_names
from srgan.pictures.images import Picture, open_picture


class DataError(UserError):
    """Pictures that cannot be trained on: one line for the user."""


def find_pictures(folder: Path, without: Collection[Path] = ()) -> list[Path]:
    """The pictures in a folder and the folders in it, by their names, sorted; none is opened.

    Hidden files and folders are left out. Links to folders are followed, see `picture_names`.

    Args:
        without: folders in it that are left out.

    Raises:
        DataError: the folder or a part of it cannot be read, or it has no pictures.
    """
    names = sorted(picture_names(folder, unreadable=_raise_unreadable, without=without))
    if not names:
        raise DataError(f"{folder}: no pictures in this folder: give another one")
    return [Path(name) for name in names]


def _raise_unreadable(error: OSError) -> None:
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


@runtime_checkable
class HasDigest(Protocol):
    def digest(self) -> str:
        """Identify the source, independently of its location."""
        ...


class StoredPictures(Sequence[StoredPicture], ABC):
    """Pictures of a source, each made on demand. The sequence is sent to worker processes."""

    @abstractmethod
    def digest(self) -> str: ...


class Selected(StoredPictures):
    """Some pictures of a source, by their indices."""

    def __init__(self, pictures: StoredPictures, indices: np.ndarray) -> None:
        self._pictures, self._indices = pictures, indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: Any) -> Any:
        return self._pictures[int(self._indices[index])]

    def digest(self) -> str:
        whole = self._pictures.digest()
        return hashlib.sha256(whole.encode() + self._indices.tobytes()).hexdigest()


def digest(pictures: Pictures | HasDigest) -> str:
    """Identify a list of pictures by their names, independently of their location."""
    if isinstance(pictures, HasDigest):
        return pictures.digest()
    paths = [Path(str(picture)) for picture in pictures]
    root = os.path.commonpath([path.parent for path in paths])
    names = "\0".join(str(path.relative_to(root)) for path in paths)
    return hashlib.sha256(names.encode(errors="surrogateescape")).hexdigest()


def open_training_picture(picture: Path | StoredPicture) -> Picture:
    """Open a file or a stored picture.

    Raises:
        PictureError: it is damaged.
        StoreError: its store cannot be read.
    """
    if isinstance(picture, Path):
        return open_picture(picture)
    return open_picture(picture.read(), name=str(picture))
