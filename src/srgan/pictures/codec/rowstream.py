"""Passes rows of pixels, block by block, to a libvips saver that runs beside the caller.

libvips pulls pixels from a source; an upscaler produces them at its own pace. So the saver runs in
its own thread and pulls an uncompressed TIFF: a header computed here, then the caller's rows.
(This build of libvips has no PPM loader. TIFF holds 1 to 4 bands of 8 or 16 bits.) The rows are
produced in the caller's thread. So an exception raised there, Ctrl-C included, is an ordinary
exception, and encoding overlaps with computing.
"""

import functools
import itertools
import os
import queue
import threading
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from srgan.pictures.codec.tiff import tiff_header

_POLL_SECONDS = 0.2

# libvips keeps the errors of all threads in one buffer. Whoever opens or reads a picture holds
# this, or a healthy picture would be refused for the damage of another thread's.
reading = threading.RLock()


class EncodeError(Exception):
    """libvips could not encode the rows; the text is libvips' message."""


@functools.cache
def load_vips() -> Any:
    """Import pyvips, and switch off libvips' caches and log.

    The import takes 70 ms, so only code that needs pixels calls this. Without caches memory stays
    flat, and an overwritten file is never served from a cache. Without pyvips' log handler, a
    Python callback, Ctrl-C is never lost: libvips drops an exception raised in its callbacks.
    """
    os.environ.setdefault("VIPS_WARNING", "1")  # libvips reads it at the start: no warnings
    import pyvips

    vips: Any = pyvips
    vips._remove_log_handler()
    vips.cache_set_max(0)
    return vips


class _RowFile:
    """The file that libvips reads: the header, then the rows in order, each once."""

    def __init__(self, shape: tuple[int, int, int], dtype: np.dtype) -> None:
        self.stopped = threading.Event()
        self._blocks: queue.Queue[memoryview] = queue.Queue(maxsize=1)
        self._header = tiff_header(shape, dtype)
        self._length = len(self._header) + shape[0] * shape[1] * shape[2] * dtype.itemsize
        self._position = 0
        self._served = len(self._header)
        self._rest = memoryview(b"")

    def put(self, block: memoryview) -> bool:
        """Hand over the next rows. Returns False if the saver has stopped reading."""
        while not self.stopped.is_set():
            try:
                self._blocks.put(block, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False

    def read(self, size: int) -> bytes | memoryview | None:
        """libvips' callback: up to `size` bytes, or None at the end."""
        if self._position < len(self._header):
            chunk = self._header[self._position : self._position + size]
        else:
            chunk = self._read_rows(size)
        self._position += len(chunk)
        return chunk or None

    def _read_rows(self, size: int) -> memoryview:
        if self._position != self._served:  # cannot happen in a sequential read
            return memoryview(b"")
        while not len(self._rest) and not self.stopped.is_set():
            try:
                block = self._blocks.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue
            self._rest = block
        chunk, self._rest = self._rest[:size], self._rest[size:]
        self._served += len(chunk)
        return chunk

    def seek(self, offset: int, whence: int) -> int:
        """libvips' callback: move as `io.IOBase.seek` does."""
        self._position = offset + (0, self._position, self._length)[whence]
        return self._position


class _Saver(threading.Thread):
    """The thread in which libvips reads the rows and encodes them."""

    def __init__(self, file: _RowFile, save: Callable[[Any], None]) -> None:
        super().__init__(name="srgan-encoder", daemon=True)
        self.error: BaseException | None = None
        self.failure: str | None = None
        self._file = file
        self._save = save

    def run(self) -> None:
        vips = load_vips()
        vips.vips_lib.vips_error_clear()
        try:
            source = vips.SourceCustom()
            source.on_read(self._file.read)
            source.on_seek(self._file.seek)
            self._save(vips.Image.tiffload_source(source, access="sequential", fail_on="error"))
        except vips.Error as error:
            self.failure = str(error.detail)  # keeping the exception would keep the file open
        except BaseException as error:  # save_rows raises it in the caller's thread
            self.error = error
        finally:
            self._file.stopped.set()

    def wait(self) -> None:
        """Wait for the end of the thread, so that Ctrl-C is heard on every platform."""
        while self.is_alive():
            self.join(_POLL_SECONDS)


def save_rows(
    rows: Iterable[np.ndarray],
    shape: tuple[int, int, int],
    dtype: np.dtype,
    save: Callable[[Any], None],
) -> None:
    """Feed `rows` to `save`. At most three blocks are in memory at a time.

    Args:
        rows: blocks (h_i, W, C), from top to bottom; their heights sum to H.
        shape: (H, W, C).
        dtype: uint8 or uint16.
        save: called in another thread with a sequential pyvips.Image of the rows.

    Raises:
        EncodeError: libvips could not encode the rows.
        ValueError: the rows do not fit `shape` and `dtype`.
        BaseException: errors of `rows` pass unchanged, after the saver has stopped. Otherwise
            errors of `save` pass unchanged.
    """
    # Compute the first block before the saver starts. libvips' error texts are global to the
    # process, and most errors in reading a picture come with the first block.
    blocks = iter(rows)
    blocks = itertools.chain(list(itertools.islice(blocks, 1)), blocks)
    file = _RowFile(shape, dtype)
    saver = _Saver(file, save)
    try:
        saver.start()
        _put_rows(file, blocks, shape, dtype)
        saver.wait()
    except BaseException:
        file.stopped.set()
        if saver.ident is not None:
            saver.wait()
        raise
    if saver.failure is not None:
        raise EncodeError(saver.failure)
    if saver.error is not None:
        raise saver.error


def _put_rows(
    file: _RowFile, rows: Iterable[np.ndarray], shape: tuple[int, int, int], dtype: np.dtype
) -> None:
    done = 0
    for block in rows:
        done += block.shape[0]
        if block.dtype != dtype or block.shape[1:] != shape[1:] or done > shape[0]:
            raise ValueError(f"rows {block.shape} {block.dtype} do not fit {shape} {dtype}")
        pixels = np.ascontiguousarray(block, dtype=dtype.newbyteorder("<"))
        if pixels.size and not file.put(pixels.data.cast("B")):
            return  # the saver has failed; its error says why
    if done != shape[0]:
        raise ValueError(f"{done} rows for a picture of {shape[0]}")
