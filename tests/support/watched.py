"""Reads a picture file as srgan does, and watches that nothing is left behind and nothing hangs."""

import contextlib
import os
import queue
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from srgan.pictures.images import PictureError, open_picture

DEADLINE = 60  # seconds; a file of a few KB takes milliseconds


@dataclass(frozen=True)
class Reading:
    """What srgan makes of a file.

    Attributes:
        pixels: (H, W, bands), or None if the file was refused.
        notes: for the user.
        refusal: the error's text, or "".
    """

    pixels: np.ndarray | None
    notes: tuple[str, ...]
    refusal: str


class Watched:
    """Reads files in a thread of its own, so that a hang is seen. Make one by `watched`.

    Attributes:
        folder: the folder for temporary files, empty unless srgan leaves one behind.
    """

    def __init__(self, folder: Path, said: Callable[[], str]) -> None:
        self.folder = folder
        self._said = said
        self._jobs: queue.Queue[Callable[[], Any] | None] = queue.Queue()
        self._results: queue.Queue[Any] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="watched", daemon=True)
        self._thread.start()

    def read(self, file: bytes | Path, max_pixels: int = 1 << 20) -> Reading:
        """Read a whole picture.

        Raises:
            AssertionError: it took too long, printed something, left something open or behind,
                or the refusal is not one line.
            Exception: any other error of srgan's, which is a bug.
        """
        before = _held()
        result = self._once(file, max_pixels)
        if any(now > count for count, now in zip(before, _held(), strict=True)):
            # Another thread, or a library at its first use, may have opened something for good.
            # What srgan leaves open, it leaves open each time.
            before = _held()
            result = self._once(file, max_pixels)
        for what, count, now in zip(("files", "threads"), before, _held(), strict=True):
            assert now <= count, f"{now - count} {what} are left open"
        assert not list(self.folder.iterdir()), "a temporary file is left"
        assert "\n" not in result.refusal
        return result

    def _once(self, file: bytes | Path, max_pixels: int) -> Reading:
        self._said()  # what other readers have printed
        self._jobs.put(lambda: _read(file, max_pixels))
        try:
            result = self._results.get(timeout=DEADLINE)
        except queue.Empty:
            raise AssertionError(f"no answer after {DEADLINE} s") from None
        if isinstance(result, BaseException):
            raise result
        printed = self._said()
        assert not printed, f"it prints {printed!r}"
        return result

    def close(self) -> None:
        """End the thread."""
        self._jobs.put(None)
        self._thread.join(1)  # after a hang, it stays

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                self._results.put(job())
            except BaseException as error:
                self._results.put(error)


def _read(file: bytes | Path, max_pixels: int) -> Reading:
    try:
        picture = open_picture(file, max_pixels)
        return Reading(picture[:, :], picture.notes, "")
    except PictureError as error:
        return Reading(None, (), str(error))


def _held() -> tuple[int, int]:
    """The numbers of open files and of Python's threads."""
    process = psutil.Process()
    files = process.num_fds() if os.name == "posix" else process.num_handles()
    return files, threading.active_count()


@contextlib.contextmanager
def watched(folder: Path) -> Iterator[Watched]:
    """Give a `Watched` that owns stderr and the folder for temporary files meanwhile.

    Args:
        folder: a folder to make.
    """
    folder.mkdir()
    with tempfile.TemporaryFile() as said, _environment("TMPDIR", str(folder)):
        saved = os.dup(2)
        os.dup2(said.fileno(), 2)
        place = 0

        def new_text() -> str:
            nonlocal place
            end = os.fstat(said.fileno()).st_size
            text = os.pread(said.fileno(), end - place, place).decode(errors="replace")
            place = end
            return text

        watch = Watched(folder, new_text)
        try:
            yield watch
        finally:
            watch.close()
            os.dup2(saved, 2)
            os.close(saved)


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before
