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


# Why one name cannot be written where others can; see `Store.write`.
_NAME_ERRORS = (errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR)


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
        outer, inner = f"{other.place()}/", f"{self.place()}/"
        return inner.removeprefix(outer).rstrip("/") if inner.startswith(outer) else None

    def place(self, name: str = "") -> str:
        """Where a file of the folder is, or the folder: the same by all paths and links to it."""
        path = f"{self.root}/{name}"
        if self.local:
            path = os.path.realpath(path).replace(os.sep, "/")
        return f"{_protocol(self._fs)}://{path.rstrip('/')}"

    def names(self, without: "Store | None" = None) -> list[str]:
        """The names of all files in the folder and its subfolders, sorted.

        Hidden files and files in hidden folders are left out. A missing folder has no files. On a
        disk, links to folders are followed, see `file_names`.

        Args:
            without: a folder in this one to leave out; one elsewhere changes nothing.

        Raises:
            StoreError: the folder, or one in it, cannot be listed.
        """
        try:
            if self._fs.isfile(self.root):
                raise StoreError(f"{self.url}: that is a file: give a folder")
            if self.local:  # fsspec does not follow links, and skips what cannot be read
                paths = file_names(
                    Path(self.root),
                    unreadable=_raise_unless_gone,
                    without=[Path(without.root)] if without and without.local else (),
                )
                found = [path.replace(os.sep, "/") for path in paths]
            else:
                found = _outside(self._fs.find(self.root), self, without)
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
            PictureError: there is no such file, or it is not an ordinary one.
            StoreError: the file cannot be read.
        """
        self._check_is_file(name)
        try:
            return self._fs.cat_file(f"{self.root}/{name}")
        except FileNotFoundError as error:
            missing = OSError(errno.ENOENT, "")
            raise read_error(self.full_name(name), missing) from error
        except Exception as error:
            reason = f"cannot be read ({_text(error)})"
            raise StoreError(f"{self.full_name(name)}: {reason}") from error

    def open(self, name: str) -> Any:
        """Open a file for reading; it is binary and can seek.

        Raises:
            PictureError: it is not an ordinary file.
            StoreError: the file cannot be opened.
        """
        self._check_is_file(name)
        try:
            return self._fs.open(f"{self.root}/{name}", "rb")
        except Exception as error:
            reason = f"cannot be opened ({_text(error)})"
            raise StoreError(f"{self.full_name(name)}: {reason}") from error

    def exists(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return self._fs.exists(f"{self.root}/{name}")

    def write(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all; replace an existing one.

        Raises:
            PictureError: the folder cannot hold a file of this name, but can hold others.
            StoreError: the file cannot be written.
        """
        path = f"{self.root}/{name}"
        try:
            if self.local:
                self._make_root()
                make_folder(Path(path).parent)
                with new_file(Path(path), overwrite=True) as part:
                    part.write_bytes(data)
            else:  # an object store shows an object only when it is complete
                self._fs.pipe_file(path, data)
        except PictureError as error:
            if _is_about_the_name(error.__cause__):
                raise
            raise StoreError(str(error)) from error
        except StoreError:
            raise
        except Exception as error:
            reason = f"{self.full_name(name)}: cannot be written ({_text(error)})"
            kind = PictureError if _is_about_the_name(error) else StoreError
            raise kind(reason) from error

    def remove(self, name: str) -> None:
        """Remove a file if it exists."""
        if self.exists(name):
            self._fs.rm_file(f"{self.root}/{name}")

    def _check_is_file(self, name: str) -> None:
        """Raises PictureError for what is not a file: opening a pipe would wait forever."""
        path = f"{self.root}/{name}"
        if self.local and os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113
            reason = "it is not an ordinary file: give a picture file"
            raise PictureError(f"{self.full_name(name)}: {reason}")

    def _make_root(self) -> None:
        """Make the folder, so that later errors are not about it."""
        try:
            make_folder(Path(self.root))
        except PictureError as error:
            raise StoreError(str(error)) from error


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
    if _protocol(fs) in LOCAL:  # listing it gives paths without "." in them
        return Store(str(url), Path(root).as_posix(), fs)
    return Store(str(url), root.rstrip("/"), fs)


def _raise_unless_gone(error: OSError) -> None:
    """A folder that is missing, or has gone meanwhile, has no files."""
    if not isinstance(error, FileNotFoundError):
        raise error


def _outside(paths: list[str], store: Store, folder: Store | None) -> list[str]:
    """The paths in a store that are not in a folder in it."""
    inner = folder.name_in(store) if folder else None
    return [path for path in paths if not (inner and path.startswith(f"{store.root}/{inner}/"))]


def _is_about_the_name(error: BaseException | None) -> bool:
    """Whether the error of a write would not have come under another name."""
    # ValueError: a null character
    return isinstance(error, ValueError) or (
        isinstance(error, OSError) and error.errno in _NAME_ERRORS
    )


def _protocol(fs: Any) -> str:
    return fs.protocol if isinstance(fs.protocol, str) else fs.protocol[0]


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in PurePosixPath(name).parts)


def _text(error: Exception) -> str:
    return reason_of(error) or type(error).__name__
