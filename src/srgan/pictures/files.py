"""Writes files that appear whole or not at all, and explains errors of files in plain words."""

import contextlib
import errno
import os
import stat
from collections.abc import Generator
from pathlib import Path

from srgan.errors import UserError
from srgan.pictures.parts import create, temporary_beside


class PictureError(UserError):
    """A picture cannot be read or written: one line with the file, the reason, what to do."""


class UnknownFormatError(PictureError):
    """The file is not a picture, or has a format that srgan does not read."""


class SizeError(PictureError):
    """The result cannot have the size that was asked for; the picture is in order."""


class TooManyPixelsError(PictureError):
    """The picture has more pixels than the limit.

    Attributes:
        reason: the error without the advice, which is only for those who can give --max-pixels.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.reason}: raise it with --max-pixels"


class StorageError(PictureError):
    """A file cannot be written, or there is no room to decode one: the picture is not at fault."""


_DISK_FULL = "the disk is full: free some space or write to another folder with -o"
_NO_PERMISSION = "no permission to write there: choose another folder with -o"
_WRITE_REASONS = {
    errno.ENOENT: "its folder does not exist: make the folder or choose another with -o",
    errno.ENOTDIR: "its folder is a file: choose another folder with -o",
    errno.EISDIR: "that is a folder: give a file name",
    errno.EEXIST: "it already exists: pass --overwrite or choose another name",
    errno.ENAMETOOLONG: "the name is too long: choose a shorter one",
    errno.EACCES: _NO_PERMISSION,
    errno.EPERM: _NO_PERMISSION,
    errno.EROFS: "the folder is read-only: choose another with -o",
    errno.ENOSPC: _DISK_FULL,
    errno.EDQUOT: "the disk quota is used up: free some space or choose another folder with -o",
    errno.EFBIG: "the file is too large for this disk: choose another folder with -o",
}
_READ_REASONS = {
    errno.ENOENT: "there is no such file: check the name",
    errno.ENOTDIR: "there is no such file: check the name",
    errno.EISDIR: "that is a folder: give a picture file",
    errno.EACCES: "no permission to read it: check its permissions",
    errno.EPERM: "no permission to read it: check its permissions",
    errno.ELOOP: "it is a link that leads back to itself: check the link",
}

_PERMISSIONS, _OWNER = 0o777, stat.S_IRUSR | stat.S_IWUSR

_CUT_SHORT = (
    "premature end",
    "unexpected end",
    "png read error",
    "file size too small",
    "truncated",
    "requires a buffer",
)


def read_error(name: str, error: OSError) -> PictureError:
    """The error for a file that cannot be opened or read."""
    if error.errno == errno.ENOENT and os.path.islink(name):  # noqa: PTH114
        return PictureError(f"{name}: it is a broken link: there is no {os.path.realpath(name)}")
    reason = _READ_REASONS.get(error.errno or 0, f"it cannot be read ({error.strerror})")
    return PictureError(f"{name}: {reason}")


def write_error(path: Path, error: OSError) -> PictureError:
    """The error for a file that cannot be written."""
    reason = _WRITE_REASONS.get(error.errno or 0, f"it cannot be written ({error.strerror})")
    return StorageError(f"{path}: {reason}")


def encode_error(name: Path | str, text: str) -> PictureError:
    """The error for libvips' message while writing, most often about a full disk."""
    for code, reason in _WRITE_REASONS.items():
        if os.strerror(code) in text:
            return StorageError(f"{name}: {reason}")
    return StorageError(f"{name}: it cannot be written{_phrase(text)}: try --format png")


def decode_error(name: str, text: str) -> PictureError:
    """The error for libvips' message while reading."""
    if os.strerror(errno.ENOSPC) in text:
        return StorageError(
            f"{name}: there is no room to decode it: free some space in the TMPDIR folder"
        )
    if "bad labq" in text:
        reason = "LAB with 8 bits cannot be read: save it as RGB"
    elif any(sign in text.lower() for sign in _CUT_SHORT):
        reason = "the file is cut short: get a fresh copy"
    else:
        reason = f"it cannot be decoded{_phrase(text)}: get a fresh copy or convert it to PNG"
    return PictureError(f"{name}: {reason}")


def _phrase(text: str) -> str:
    """The last informative line of libvips' error text, without prefix, in parentheses."""
    lines = [line.strip().split(": ", 1)[-1] for line in text.splitlines()]
    lines = [line.removeprefix("source input: ") for line in lines if "unable to" not in line]
    lines = [line[:100] for line in lines if len(line.split()) > 1]
    return f" ({lines[-1]})" if lines else ""


@contextlib.contextmanager
def new_file(path: Path, overwrite: bool) -> Generator[Path, None, None]:
    """Give the body a temporary file beside `path` to fill; it becomes `path` when the body ends.

    With `overwrite`, a link is written through: the file that it leads to is replaced, and the
    link stays. Anything else that is not an ordinary file is refused.

    After an error, no part of the file stays behind, and an existing `path` is untouched. Without
    `overwrite` an existing `path` is never replaced, not even one that appeared meanwhile.

    Raises:
        PictureError: `path` exists or cannot be written. Errors of the body pass unchanged.
    """
    with _as_write_errors(path):
        _refuse(path, overwrite)
    end = _end_of_links(path)
    with temporary_beside(end) as temporary:
        with _as_write_errors(path):
            lock = create(temporary)
        with lock:
            if overwrite:
                _copy_mode(end, temporary, also=_OWNER)  # a private file is so from its first byte
            yield temporary
            with _as_write_errors(path):
                _sync(temporary)
        with _as_write_errors(path):
            _publish(temporary, end, overwrite)


def replace_file(path: Path, content: bytes | memoryview) -> None:
    """Write a file that srgan owns, such as a model or a state; replace an older one.

    A link is written through, as in `new_file`.
    A killed process, a full disk or a power cut leaves either the old file or the new one.

    Raises:
        OSError: the file could not be written; an older file is untouched.
    """
    path = _end_of_links(path)
    with temporary_beside(path) as temporary:
        with create(temporary):
            temporary.write_bytes(content)
            _sync(temporary)
        temporary.replace(path)
    if os.name == "posix":  # so that a power cut cannot undo the rename
        _sync(path.parent, os.O_RDONLY)


def make_folder(path: Path) -> None:
    """Make a folder and its parents, if they do not exist.

    Raises:
        PictureError: the folder cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise PictureError(
            f"{path}: a file has the folder's name: choose another with -o"
        ) from error
    except OSError as error:
        raise write_error(path, error) from error


@contextlib.contextmanager
def _as_write_errors(path: Path) -> Generator[None, None, None]:
    """Turn the body's OSErrors into PictureErrors."""
    try:
        yield
    except OSError as error:
        raise write_error(path, error) from error


def _end_of_links(path: Path) -> Path:
    """The path itself, or the end of the links that it starts, which need not exist."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _refuse(path: Path, overwrite: bool) -> None:
    """Raise OSError if `path` must not be written."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "")
    if not overwrite and os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, "")
    if path.exists() and not path.is_file():
        raise OSError(errno.ENOTSUP, "it is not an ordinary file")
    if path.is_symlink():
        end = _end_of_links(path)
        if end.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _sync(path: Path, flags: int = os.O_RDWR) -> None:
    """Wait until the disk has the file or folder."""
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _copy_mode(path: Path, temporary: Path, *, also: int = 0) -> None:
    """Give the temporary file the permissions of the file that it replaces, if there is one.

    Args:
        also: permissions that it gets besides.
    """
    if os.name == "posix":
        with contextlib.suppress(OSError):  # no such file, or a file system without permissions
            temporary.chmod(path.stat().st_mode & _PERMISSIONS | also)


def _publish(temporary: Path, path: Path, overwrite: bool) -> None:
    """Give the temporary file its name, in one step where the file system can."""
    if overwrite:
        _copy_mode(path, temporary)
        temporary.replace(path)
        return
    try:
        os.link(temporary, path)  # fails if the name is taken, in one step
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: take the name first
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        try:
            temporary.replace(path)
        except OSError:
            path.unlink()
            raise
