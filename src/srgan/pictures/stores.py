"""Folders on a disk or in an object store, behind one interface: a path or an fsspec URL."""

import errno
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from srgan.errors import UserError, reason_of
from srgan.pictures.files import new_file
from srgan.pictures.folders import file_names
from srgan.pictures.images import PictureError, make_folder, read_error

LOCAL = ("file", "local")


class StoreError(UserError):
    """A folder or file cannot be listed, read or written: one line for the user."""


@dataclass(frozen=True)
class Store:
    """A folder and its files. Names are relative to it, with forward slashes.

    A store can be sent to other processes, which open their own connections.

    Attributes:
        url: as the user wrote it.
        root: the path of the folder in its file system.
    """

    url: str
    root: str
    _fs: Any  # the fsspec file system

    @property
    def local(self) -> bool:
        """Whether the folder is on this machine."""
        return _protocol(self._fs) in LOCAL

    @property
    def in_this_process(self) -> bool:
        """Whether the folder is in this process's memory, so that no other process sees it."""
        return _protocol(self._fs) == "memory"

    def name_in(self, other: "Store") -> str | None:
        """The name of this folder in `other`, "" if it is that folder; None if it is elsewhere."""
        outer, inner = f"{other.root}/", f"{self.root}/"
        if _protocol(self._fs) != _protocol(other._fs) or not inner.startswith(outer):
            return None
        return inner.removeprefix(outer).rstrip("/")

    def names(self) -> list[str]:
        """The names of all files in the folder and its subfolders, sorted.

        Hidden files and files in hidden folders are left out. A missing folder has no files. On a
        disk, links to folders are followed, see `file_names`.

        Raises:
            StoreError: the folder, or one in it, cannot be listed.
        """
        try:
            if self._fs.isfile(self.root):
                raise StoreError(f"{self.url}: that is a file: give a folder")
            if self.local:  # fsspec does not follow links, and skips what cannot be read
                paths = file_names(Path(self.root), unreadable=_raise_unless_gone)
                found = [path.replace(os.sep, "/") for path in paths]
            else:
                found = self._fs.find(self.root)
        except FileNotFoundError:
            return []
        except StoreError:
            raise
        except Exception as error:  # each store's library has its own errors
            raise StoreError(f"{self.url}: cannot be listed ({_text(error)})") from error
        names = [path[len(self.root) :].lstrip("/") for path in found]
        return sorted(name for name in names if not _hidden(name))

    def full_name(self, name: str) -> str:
        """The URL of a file, for messages."""
        return f"{self.url.rstrip('/')}/{name}"

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            PictureError: there is no such file.
            StoreError: the file cannot be read.
        """
        try:
            return self._fs.cat_file(f"{self.root}/{name}")
        except FileNotFoundError as error:
            missing = OSError(errno.ENOENT, "")
            raise read_error(self.full_name(name), missing) from error
        except Exception as error:
            reason = f"cannot be read ({_text(error)})"
            raise StoreError(f"{self.full_name(name)}: {reason}") from error

    def open(self, name: str) -> Any:
        """Open a file for reading; it is binary and can seek."""
        return self._fs.open(f"{self.root}/{name}", "rb")

    def exists(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return self._fs.exists(f"{self.root}/{name}")

    def write(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all; replace an existing one.

        Raises:
            StoreError: the file cannot be written.
        """
        path = f"{self.root}/{name}"
        try:
            if self.local:
                make_folder(Path(path).parent)
                with new_file(Path(path), overwrite=True) as part:
                    part.write_bytes(data)
            else:  # an object store shows an object only when it is complete
                self._fs.pipe_file(path, data)
        except PictureError as error:
            raise StoreError(str(error)) from error
        except Exception as error:
            reason = f"cannot be written ({_text(error)})"
            raise StoreError(f"{self.full_name(name)}: {reason}") from error

    def remove(self, name: str) -> None:
        """Remove a file if it exists."""
        if self.exists(name):
            self._fs.rm_file(f"{self.root}/{name}")


def open_store(url: str) -> Store:
    """The store of a folder by its path or URL. The folder need not exist.

    Raises:
        StoreError: the scheme of the URL is unknown, or its library is not installed.
    """
    from fsspec.core import url_to_fs

    try:
        # A cached listing would miss files that other processes write.
        fs, root = url_to_fs(str(url), use_listings_cache=False)
    except (ImportError, ValueError) as error:
        raise StoreError(f"{url}: {_text(error)}") from error
    return Store(str(url), root.rstrip("/"), fs)


def _raise_unless_gone(error: OSError) -> None:
    """A folder that is missing, or has gone meanwhile, has no files."""
    if not isinstance(error, FileNotFoundError):
        raise error


def _protocol(fs: Any) -> str:
    return fs.protocol if isinstance(fs.protocol, str) else fs.protocol[0]


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in PurePosixPath(name).parts)


def _text(error: Exception) -> str:
    return reason_of(error) or type(error).__name__
