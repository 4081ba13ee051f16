"""Adds chunks to a PNG while libvips writes it."""

import struct
import zlib
from collections.abc import Sequence
from typing import Any, BinaryIO

from srgan.pictures.codec.rowstream import load_vips

_HEADER_BYTES = 33  # the signature and IHDR


class ChunkWriter:
    """Passes on what libvips writes, with the chunks after the header."""

    def __init__(self, file: BinaryIO, chunks: Sequence[tuple[bytes, bytes]]) -> None:
        """Make a writer.

        Args:
            file: to write into.
            chunks: name and content of each.
        """
        self._file = file
        self._chunks: bytes | None = b"".join(_chunk(*chunk) for chunk in chunks)
        self._head = b""
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        """libvips' callback: write all of `data`; return the number of its bytes, or -1."""
        content = bytes(data)
        try:
            if self._chunks is None:
                self._file.write(content)
                return len(content)
            self._head += content
            if len(self._head) >= _HEADER_BYTES:
                head, rest = self._head[:_HEADER_BYTES], self._head[_HEADER_BYTES:]
                self._file.write(head + self._chunks + rest)
                self._chunks = None
        except OSError as error:
            self.error = error
            return -1
        return len(content)


def _chunk(name: bytes, content: bytes) -> bytes:
    check = zlib.crc32(name + content)
    return struct.pack(">I4s", len(content), name) + content + struct.pack(">I", check)


def png_target(writer: ChunkWriter) -> Any:
    """The pyvips.Target that writes a PNG through `writer`."""
    target = load_vips().TargetCustom()
    target.on_write(writer.write)
    return target
