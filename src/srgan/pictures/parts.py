"""Temporary files beside the files that they become: their names, locks and removal."""

import contextlib
import functools
import os
import secrets
import stat
import time
from collections.abc import Generator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

# Names of temporary files start and end so. No other files do.
_PREFIX, _SUFFIX = ".srgan-", ".part"
_OLD = 24 * 60 * 60  # seconds


def is_part(name: str) -> bool:
    """Whether a file of this name is a temporary file of srgan."""
    return name.startswith(_PREFIX) and name.endswith(_SUFFIX)


@contextlib.contextmanager
def temporary_beside(path: Path) -> Generator[Path, None, None]:
    """A free name in the folder of `path`. At the end a file of that name is removed."""
    _remove_old_parts(path.parent)
    temporary = path.parent / f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}"
    try:
        yield temporary
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@functools.lru_cache(1024)
def _remove_old_parts(folder: Path) -> None:
    """Remove temporary files that killed processes left in `folder`; once for each folder.

    A file goes if it is older than a day and no process holds its lock: a writer may have been
    suspended for longer. Where locks do not work, the files stay.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if is_part(entry.name):
                _remove_old_part(Path(entry.path))


def _remove_old_part(path: Path) -> None:
    if fcntl is None:
        return
    with contextlib.suppress(OSError):
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or time.time() - status.st_mtime < _OLD:
            return
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        finally:
            os.close(handle)


def create(path: Path) -> contextlib.AbstractContextManager[None]:
    """Create an empty file with the user's default mode. mkstemp would make it private.

    Returns:
        A context in which the file is locked, where the system can: it is in use.
    """
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    if fcntl is None:  # Windows refuses to rename an open file
        os.close(handle)
        return contextlib.nullcontext()
    with contextlib.suppress(OSError):  # a file system without locks
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return _closing(handle)


@contextlib.contextmanager
def _closing(handle: int) -> Generator[None, None, None]:
    try:
        yield
    finally:
        os.close(handle)
