"""Mends harmless faults in the header of a JPEG, for which libjpeg warns as it does for damage."""

import re
from typing import BinaryIO

_MARKER = re.compile(rb"\xff[^\0\xff]")
_STANDALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a segment
_APP0, _APP14, _SCAN, _END = 0xE0, 0xEE, 0xDA, 0xD9


def mended(file: BinaryIO) -> bytes | None:
    """The bytes of a JPEG without stray bytes before its scan, and with a known JFIF version.

    Returns:
        None if nothing is to be mended, or if the header is cut short.
    """
    gaps: list[tuple[int, int]] = []
    patches: dict[int, int] = {}
    position = 2
    while True:
        file.seek(position)
        head = file.read(20)
        if len(head) < 4:
            return None
        if not _MARKER.match(head):
            following = _next_marker(file, position)
            if following is None:
                return None
            if head[0] != 0xFF or head[1] == 0:  # else these are fill bytes
                gaps.append((position, following))
            position = following
            continue
        marker = head[1]
        if marker in (_SCAN, _END):
            break
        if marker == _APP0 and head[4:9] == b"JFIF\0" and head[9:10] not in (b"\1", b""):
            patches[position + 9] = 1
        if marker == _APP14 and head[4:9] == b"Adobe" and len(head) > 15 and head[15] > 2:
            patches[position + 15] = 1  # libjpeg takes an unknown transform for YCbCr
        position += 2 if marker in _STANDALONE else 2 + int.from_bytes(head[2:4], "big")
    return _apply(file, gaps, patches) if gaps or patches else None


def _next_marker(file: BinaryIO, position: int) -> int | None:
    file.seek(position)
    found = _MARKER.search(file.read(1 << 20))
    return position + found.start() if found else None


def _apply(file: BinaryIO, gaps: list[tuple[int, int]], patches: dict[int, int]) -> bytes:
    file.seek(0)
    content = bytearray(file.read())
    for position, value in patches.items():
        content[position] = value
    for first, last in reversed(gaps):
        del content[first:last]
    return bytes(content)
