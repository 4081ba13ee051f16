"""Temporary files beside the files that they become: their names, locks and removal."""

import contextlib
import functools
import os
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


@contextlib.contextmanager
def temporary_beside(path: Path) -> Generator[Path, None, None]:
    """A free name in the folder of `path`. At the end a file of that name is removed."""
    _remove_old_parts(path.parent)
    temporary = path.parent / f"{_PREFIX}{os.urandom(8).hex()}{_SUFFIX}"
    try:
        yield temporary
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@functools.lru_cache(1024)
def _remove_old_parts(folder: Path) -> None:
    """Remove what killed processes left in `folder`, a day later; once for each folder.

    A writer may have been suspended for longer than a day: without locks, the files stay.
    """
    if fcntl is not None:
        remove_parts(folder, older_than=_OLD)


def remove_parts(folder: Path, *, older_than: float = 0) -> None:
    """Remove the temporary files that killed processes left in `folder`, not in its subfolders.

    Files that a process still writes stay: it holds their locks.

    Args:
        older_than: seconds since a file was last written.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIX) and entry.name.endswith(_SUFFIX):
                _remove_part(Path(entry.path), older_than)


def _remove_part(path: Path, older_than: float) -> None:
    with contextlib.suppress(OSError):
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or time.time() - status.st_mtime < older_than:
            return
        if fcntl is None:  # Windows refuses to remove an open file
            path.unlink()
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
