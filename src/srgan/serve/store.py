"""The queue on disk: an SQLite database of the jobs, and a folder of files for each job.

Every change of a job is in the database before its client hears of it. So a server that is killed
continues at its next start. On a full disk, changes wait in memory for the next one; jobs that
cannot be written are not admitted. The database is locked as long as its server lives.
"""

import contextlib
import logging
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Generator
from pathlib import Path

from srgan.errors import UserError

VERSION = 1  # of the table
YOUNG_SECONDS = 60  # a folder so young may belong to a server that starts
_PREFIX = "srgan-serve-"

log = logging.getLogger("srgan")


class JobStoreError(UserError):
    """The folder of the queue cannot be used: one line with the reason and what to do."""


class JobStore:
    """The database, and the folders of the jobs. All methods can be called from any thread."""

    def __init__(self, folder: Path) -> None:
        """Open the folder; make it if it does not exist, for the server's user alone.

        Raises:
            JobStoreError: another server uses it, or it cannot be read or written.
        """
        self.jobs = folder / "jobs"
        self._lock = threading.Lock()
        self._unwritten: dict[str, tuple[float, str] | None] = {}  # None: to be removed
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.jobs.mkdir(mode=0o700, exist_ok=True)
            self._database = _open(folder / "queue.sqlite")
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                reason = "another server uses this folder: choose another with --data"
            else:
                reason = f"{error}: choose another folder with --data"
            raise JobStoreError(f"{folder}: {reason}") from error
        except sqlite3.DatabaseError as error:
            raise JobStoreError(f"{folder}: the queue is damaged: remove the folder") from error
        except OSError as error:
            raise JobStoreError(
                f"{folder}: {error.strerror}: choose another with --data"
            ) from error

    def load(self) -> list[str]:
        """All jobs, in the order of their creation; removes the files of all others."""
        with self._lock:
            rows = self._database.execute("SELECT id, job FROM jobs ORDER BY created").fetchall()
        known = {identifier for identifier, _ in rows}
        for path in self.jobs.iterdir():
            if path.name not in known:
                shutil.rmtree(path, ignore_errors=True)
        return [job for _, job in rows]

    def save(self, identifier: str, created: float, job: str) -> bool:
        """Insert or update a job. Returns whether it is on disk; if not, the log says why."""
        return self._write(identifier, (created, job))

    def forget(self, identifier: str) -> bool:
        """Remove a job from the database. Returns whether this is on disk, like `save`."""
        return self._write(identifier, None)

    def close(self) -> None:
        """Free the folder for another server."""
        with self._lock:
            self._database.close()

    def _write(self, identifier: str, row: tuple[float, str] | None) -> bool:
        """Write a change, and those before it that could not be written."""
        with self._lock:
            self._unwritten[identifier] = row
            try:
                with self._database:
                    for each, kept in self._unwritten.items():
                        self._database.execute("DELETE FROM jobs WHERE id = ?", (each,))
                        if kept:
                            values = (each, *kept)
                            self._database.execute("INSERT INTO jobs VALUES (?, ?, ?)", values)
            except sqlite3.Error as error:
                log.error("the queue cannot be written: %s", error)
                return False
            self._unwritten.clear()
            return True


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=0, check_same_thread=False)
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.execute("PRAGMA wal_autocheckpoint = 64")  # pages of 4 KiB: the journal stays small
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version not in (0, VERSION):
        raise sqlite3.OperationalError("its queue is of another version of srgan")
    with database:  # a write, so that the lock is taken
        database.execute("CREATE TABLE IF NOT EXISTS jobs (id PRIMARY KEY, created, job)")
        database.execute(f"PRAGMA user_version = {VERSION}")
    return database


@contextlib.contextmanager
def temporary_store_folder() -> Generator[Path]:
    """A folder for a server that keeps nothing; removes those that killed servers left."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError, JobStoreError):
            if time.time() - path.stat().st_mtime > YOUNG_SECONDS:
                JobStore(path).close()  # fails while its server lives
                shutil.rmtree(path, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as name:
        yield Path(name)
