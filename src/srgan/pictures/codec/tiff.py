"""Two parts of TIFF that libvips lacks: a header for raw pixels, and a check for a cut file."""

import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

_STRIP_BYTES = 1 << 18
_TYPE_CODES = {"H": 3, "I": 4, "Q": 16}  # struct's letter -> TIFF's SHORT, LONG, LONG8
_LETTERS = {code: letter for letter, code in _TYPE_CODES.items()}
_OFFSETS, _SIZES = (273, 324), (279, 325)  # of strips, of tiles


def tiff_header(shape: tuple[int, int, int], dtype: np.dtype) -> bytes:
    """The header of an uncompressed little-endian BigTIFF; the pixels follow it.

    Args:
        shape: (H, W, C) with C from 1 to 4: gray, gray and alpha, RGB, RGBA.
        dtype: uint8 or uint16.
    """
    height, width, bands = shape
    row = width * bands * dtype.itemsize
    strip_rows = min(height, max(1, _STRIP_BYTES // row))
    tops = range(0, height, strip_rows)
    sizes = [row * min(strip_rows, height - top) for top in tops]
    tags: list[tuple[int, str, list[int]]] = [  # TIFF requires ascending order
        (256, "I", [width]),
        (257, "I", [height]),
        (258, "H", [8 * dtype.itemsize] * bands),
        (259, "H", [1]),  # not compressed
        (262, "H", [2 if bands >= 3 else 1]),  # RGB, or black is zero
        (
            273,
            "Q",
            [row * top for top in tops],
        ),  # the header's length is added below
        (277, "H", [bands]),
        (278, "I", [strip_rows]),
        (279, "Q", sizes),
    ]
    if bands in (2, 4):
        tags.append((338, "H", [2]))  # straight alpha
    long_values = sum(_size(code, values) for _, code, values in tags if _size(code, values) > 8)
    values_at = 16 + 8 + 20 * len(tags) + 8
    pixels_at = values_at + long_values
    entries, extra = b"", b""
    for tag, code, values in tags:
        shift = pixels_at if tag == 273 else 0
        data = struct.pack(f"<{len(values)}{code}", *(value + shift for value in values))
        if len(data) > 8:
            data, extra = struct.pack("<Q", values_at + len(extra)), extra + data
        entries += struct.pack("<HHQ8s", tag, _TYPE_CODES[code], len(values), data)
    start = struct.pack("<2sHHHQQ", b"II", 43, 8, 0, 16, len(tags))
    return start + entries + struct.pack("<Q", 0) + extra


def _size(code: str, values: list[int]) -> int:
    return struct.calcsize(f"<{len(values)}{code}")


def pixels_end(file: BinaryIO) -> int:
    """The offset of the end of the last strip or tile of the first page; 0 if it is not stated.

    Raises:
        struct.error: the header itself is cut short.
    """
    tags = dict(_read_tags(file))
    for offsets, sizes in zip(_OFFSETS, _SIZES, strict=True):
        if offsets in tags and sizes in tags:
            return max(map(sum, zip(tags[offsets], tags[sizes], strict=False)), default=0)
    return 0


def _read_tags(file: BinaryIO) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield the tags of the first directory that hold offsets and sizes of strips or tiles."""
    order = "<" if file.read(2) == b"II" else ">"

    def read(letters: str) -> tuple[int, ...]:
        return struct.unpack(order + letters, file.read(struct.calcsize(order + letters)))

    big = read("H") == (43,)
    file.seek(8 if big else 4)
    file.seek(read("Q" if big else "I")[0])
    (entries,) = read("Q" if big else "H")
    start, length = file.tell(), 20 if big else 12
    for entry in range(entries):
        file.seek(start + entry * length)
        tag, code = read("HH")
        (count,) = read("Q" if big else "I")
        letter = _LETTERS.get(code)
        if tag in _OFFSETS + _SIZES and letter is not None:
            if struct.calcsize(order + letter) * count > (8 if big else 4):
                file.seek(read("Q" if big else "I")[0])
            yield tag, read(f"{count}{letter}")
