"""Rows of pixels pushed block by block into a libvips saver that runs beside the caller.

libvips reads pixels from a source it pulls; an upscaler produces them at its own pace. So the
saver runs in a thread of its own and pulls an uncompressed TIFF made of a header computed here
and the caller's rows (this libvips build has no PPM loader, and TIFF holds 1 to 4 bands of 8 or
16 bits alike). The rows are produced in the caller's thread: an exception raised there, Ctrl-C
included, is an ordinary exception there, and encoding overlaps with computing.
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


class EncodeError(Exception):
    """libvips could not encode the rows; the text is libvips' own."""


@functools.cache
def load_vips() -> Any:
    """Import pyvips (70 ms, so only where pixels are needed) with libvips' caches switched off:
    memory stays flat and a file that was overwritten is never served from a cache.

    libvips' log goes nowhere instead of through pyvips' Python callback: an exception that
    Ctrl-C raises while libvips runs that callback would be lost."""
    os.environ.setdefault("VIPS_WARNING", "1")  # read by libvips as it starts: no warnings
    import pyvips

    pyvips._remove_log_handler()

    pyvips.cache_set_max(0)
    return pyvips


class _RowFile:
    """The file libvips believes it reads: the header, then the rows in order, each once."""

    def __init__(self, shape: tuple[int, int, int], dtype: np.dtype) -> None:
        self.stopped = threading.Event()
        self._blocks: queue.Queue[memoryview] = queue.Queue(maxsize=1)
        self._header = tiff_header(shape, dtype)
        self._length = len(self._header) + shape[0] * shape[1] * shape[2] * dtype.itemsize
        self._position = 0
        self._served = len(self._header)
        self._rest = memoryview(b"")

    def put(self, block: memoryview) -> bool:
        """Hand over the next rows; False when nobody reads any more."""
        while not self.stopped.is_set():
            try:
                self._blocks.put(block, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False

    def read(self, size: int) -> bytes | memoryview | None:
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
            self.failure = str(error.detail)  # not the exception, which would keep the file open
        except BaseException as error:  # raised again in the caller's thread
            self.error = error
        finally:
            self._file.stopped.set()

    def wait(self) -> None:
        while self.is_alive():
            self.join(_POLL_SECONDS)  # with a timeout Ctrl-C is heard on every platform


def save_rows(
    rows: Iterable[np.ndarray],
    shape: tuple[int, int, int],
    dtype: np.dtype,
    save: Callable[[Any], None],
) -> None:
    """Feed `rows` to `save`, which is called in another thread with a sequential pyvips.Image.

    rows: blocks (h_i, W, C) of `dtype` (uint8 or uint16), top to bottom, their heights summing
    to H of `shape` (H, W, C). At most three blocks are held at a time. Whatever `rows` raises
    is what propagates, after the saver has stopped; otherwise whatever `save` raised
    (EncodeError for libvips' own errors).
    """
    # The first block before the saver starts: errors of libvips are global to the process, and
    # most of those in reading come with it.
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
            return  # the saver failed and says why
    if done != shape[0]:
        raise ValueError(f"{done} rows for a picture of {shape[0]}")
