"""A run folder belongs to one process at a time: an OS lock, which ends with its process."""

import errno
import os
from pathlib import Path

from srgan.training.run.logbook import RunError

LOCK = ".srgan-run.lock"
# File systems without locks: the run continues without one, as on some network disks.
_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class RunLock:
    """Holds a folder's lock file until `release`; the OS releases it when the process dies.

    The file stays in the folder of a run.

    Raises:
        FolderInUseError: another process holds the lock.
        RunError: the lock file cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._file = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR, 0o666)
        except OSError as error:
            raise RunError(f"{folder}: cannot be written: {error.strerror}") from error
        try:
            _lock(self._file)
            # A start that failed meanwhile may have removed the file that was opened here.
            if not os.path.samestat(os.fstat(self._file), (folder / LOCK).stat()):
                raise BlockingIOError
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                return
            os.close(self._file)
            raise FolderInUseError(
                f"{folder}: another srgan train is running in it: wait for its end, stop it, or "
                "choose another --run-folder"
            ) from error

    def release(self) -> None:
        """Let other processes use the folder."""
        os.close(self._file)


class FolderInUseError(RunError):
    """Another process trains in the folder."""


if os.name == "nt":
    import msvcrt

    def _lock(file: int) -> None:
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)  # pyright: ignore - Windows only
else:
    import fcntl

    def _lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
