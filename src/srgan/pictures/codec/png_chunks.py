"""Reads the chunks of a PNG that libvips does not pass on.

libvips reads EXIF and XMP before the pixels only. Other programs write them after the pixels, too.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

_LABELS = (b"cICP", b"gAMA", b"cHRM", b"sRGB", b"mDCV", b"cLLI")
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_XMP = b"XML:com.adobe.xmp\0"  # of a text chunk that is XMP
_MOST_BYTES = 16_000_000  # of a chunk that is kept, and of XMP that is unpacked


@dataclass(frozen=True)
class PngChunks:
    """What a PNG's chunks say, beside the pixels.

    Attributes:
        kept: name and content of the colour labels and texts, for another PNG.
        text: it has text beside EXIF and XMP.
        frames: of an animation; 1 for a still picture.
        exif: its EXIF, wherever it lies; None if it has none, or only damaged one.
        xmp: its XMP, in the same way.
    """

    kept: tuple[tuple[bytes, bytes], ...]
    text: bool
    frames: int
    exif: bytes | None
    xmp: bytes | None


def read_chunks(file: BinaryIO) -> PngChunks:
    """Read the chunks of a PNG. Larger ones than 16 MB are left out.

    Raises:
        struct.error: the file ends within a chunk.
    """
    kept: list[tuple[bytes, bytes]] = []
    frames, exif, xmp = 1, None, None
    for name, size in _chunks(file):
        if size > _MOST_BYTES:
            continue
        if name == b"acTL" and size == 8:
            frames = struct.unpack(">II", file.read(8))[0]
        elif name == b"eXIf" and exif is None:
            content = _checked(name, file.read(size), file.read(4))
            exif = content if content[:2] in (b"II", b"MM") else None
        elif name in _LABELS + _TEXTS:
            content = file.read(size)
            if not (name in _TEXTS and content.startswith(_XMP)):
                kept.append((name, content))
            elif xmp is None:
                xmp = _xmp_of(name, _checked(name, content, file.read(4)))
    text = any(name in _TEXTS for name, _ in kept)
    return PngChunks(tuple(kept), text, max(frames, 1), exif, xmp)


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Yield name and size in bytes of a PNG's chunks; the file is at the content then."""
    position = 8
    while True:
        file.seek(position)
        head = file.read(8)
        if len(head) < 8 or head[4:] == b"IEND":
            return
        size = int.from_bytes(head[:4], "big")
        yield head[4:], size
        position += 12 + size


def _checked(name: bytes, content: bytes, checksum: bytes) -> bytes:
    """The content of a chunk; empty if its checksum is wrong, as libvips has it."""
    return content if checksum == struct.pack(">I", zlib.crc32(name + content)) else b""


def _xmp_of(name: bytes, content: bytes) -> bytes | None:
    """The XMP in a text chunk; None if it is damaged, or unpacks to more than 16 MB."""
    text, packed = content[len(_XMP) :], name == b"zTXt"
    if name == b"iTXt":
        packed = text[:1] == b"\1"
        text = text[2:].split(b"\0", 2)[-1]  # after the language and the translated keyword
    elif packed:
        text = text[1:]
    if packed:
        unpacker = zlib.decompressobj()
        try:
            text = unpacker.decompress(text, _MOST_BYTES)
        except zlib.error:
            return None
        if not unpacker.eof:
            return None
    return text or None
