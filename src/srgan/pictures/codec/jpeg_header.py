"""Reads the header of a JPEG. Mends faults for which libjpeg warns as it does for damage."""

import os
import re
import struct
from dataclasses import dataclass
from typing import BinaryIO

from srgan.pictures.codec.xmp import has_gain_map

_MARKER = re.compile(rb"\xff[^\0\xff]")
_STANDALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a segment
_APP0, _APP1, _APP2, _APP14, _COMMENT, _SCAN, _END = 0xE0, 0xE1, 0xE2, 0xEE, 0xFE, 0xDA, 0xD9
_SOF2 = 0xC2  # of a progressive JPEG
_LONGEST_GAP, _MOST_SEGMENTS = 1 << 16, 10_000  # files may be made to be slow to read
_EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_PICTURES = b"MPF\0"  # Multi-Picture Format (CIPA DC-007)
_PICTURE_LIST, _THUMBNAIL = 0xB002, 1  # a tag of it, and a kind of picture
_GAIN_MAP = b"urn:iso:std:iso:ts:21496"  # ISO 21496-1


@dataclass(frozen=True)
class JpegHeader:
    """The header of a JPEG.

    Attributes:
        mended: the bytes of the file without stray bytes before its scan, and with a known JFIF
            version; None if nothing is to be mended.
        comment: it has a comment.
        gain_map: it has a gain map.
        extended_xmp: its XMP goes on in further segments.
        pictures: how many it has, thumbnails left out.
        padded: it is progressive, and zeros lie before its end. libjpeg warns of them.
    """

    mended: bytes | None = None
    comment: bool = False
    gain_map: bool = False
    extended_xmp: bool = False
    pictures: int = 1
    padded: bool = False


def read_header(file: BinaryIO) -> JpegHeader:
    """Read the header of a JPEG. libjpeg judges one that is cut short or has no end."""
    comment = gain_map = extended_xmp = progressive = False
    pictures = 1
    gaps: list[tuple[int, int]] = []
    patches: dict[int, int] = {}
    position = 2
    for _ in range(_MOST_SEGMENTS):
        file.seek(position)
        head = file.read(20)
        if len(head) < 4:
            return JpegHeader()
        if not _MARKER.match(head):
            following = _next_marker(file, position)
            if following is None:
                return JpegHeader()
            if head[0] != 0xFF or head[1] == 0:  # else these are fill bytes
                gaps.append((position, following))
            position = following
            continue
        marker = head[1]
        if marker in (_SCAN, _END):
            break
        size = int.from_bytes(head[2:4], "big")  # its own two bytes included
        if size < 2 and marker not in _STANDALONE:
            return JpegHeader()
        comment |= marker == _COMMENT
        progressive |= marker == _SOF2
        if marker in (_APP1, _APP2):
            file.seek(position + 4)
            segment = file.read(size - 2)
            extended_xmp |= segment.startswith(_EXTENDED_XMP)
            if segment.startswith(_PICTURES):
                pictures = _count_pictures(segment[len(_PICTURES) :])
            gain_map |= segment.startswith(_GAIN_MAP) or has_gain_map(segment)
        if marker == _APP0 and head[4:9] == b"JFIF\0" and head[9:10] not in (b"\1", b""):
            patches[position + 9] = 1
        if marker == _APP14 and head[4:9] == b"Adobe" and len(head) > 15 and head[15] > 2:
            patches[position + 15] = 1  # libjpeg takes an unknown transform for YCbCr
        position += 2 if marker in _STANDALONE else 2 + size
    else:
        return JpegHeader()
    content = _apply(file, gaps, patches) if gaps or patches else None
    padded = progressive and _is_padded(file)
    return JpegHeader(content, comment, gain_map, extended_xmp, pictures, padded)


def _count_pictures(index: bytes) -> int:
    """How many pictures an index of several lists, thumbnails left out; 1 if it is damaged."""
    order = "<" if index[:2] == b"II" else ">"
    try:
        (start,) = struct.unpack_from(order + "I", index, 4)
        (count,) = struct.unpack_from(order + "H", index, start)
        for entry in range(count):
            tag, _, size, at = struct.unpack_from(order + "HHII", index, start + 2 + 12 * entry)
            if tag == _PICTURE_LIST:
                kinds = [
                    struct.unpack_from(order + "I", index, position)[0] >> 16 & 0xFF
                    for position in range(at, at + size, 16)
                ]
                return max(len(kinds) - kinds.count(_THUMBNAIL), 1)
    except struct.error:
        pass
    return 1


def _is_padded(file: BinaryIO) -> bool:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - (1 << 16), 0))
    tail = file.read()
    end = tail.rfind(b"\xff\xd9")
    return tail[max(end - 2, 0) : max(end, 0)] == bytes(2)


def _next_marker(file: BinaryIO, position: int) -> int | None:
    file.seek(position)
    found = _MARKER.search(file.read(_LONGEST_GAP))
    return position + found.start() if found else None


def _apply(file: BinaryIO, gaps: list[tuple[int, int]], patches: dict[int, int]) -> bytes:
    file.seek(0)
    content = bytearray(file.read())
    for position, value in patches.items():
        content[position] = value
    for first, last in reversed(gaps):
        del content[first:last]
    return bytes(content)
