"""What libvips lacks of TIFF: a header for raw pixels, and a look at the first directory."""

import struct
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

_STRIP_BYTES = 1 << 18
_TYPE_CODES = {"H": 3, "I": 4, "Q": 16}  # struct's letter -> TIFF's SHORT, LONG, LONG8
_LETTERS = {code: letter for letter, code in _TYPE_CODES.items()}
_TYPES = range(1, 19)  # of TIFF 6, its supplements and BigTIFF
_PRIVATE = 32768  # from here on, tags are other programs' own
_OFFSETS, _SIZES = (273, 324), (279, 325)  # of strips, of tiles
_ALPHA_KINDS = (1, 2)  # of ExtraSamples: associated (premultiplied) and unassociated alpha


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


@dataclass(frozen=True)
class Directory:
    """The first directory of a TIFF.

    Attributes:
        tags: the numbers of all its tags.
        values: of the tags with whole numbers that srgan needs, by number.
        old_lzw: its first strip has the LZW of before TIFF 5. Only libtiff's warning says so.
    """

    tags: frozenset[int]
    values: dict[int, tuple[int, ...]]
    old_lzw: bool

    def first(self, tag: int, default: int) -> int:
        return next(iter(self.values.get(tag, ())), default)

    @property
    def samples(self) -> int:
        """Channels per pixel."""
        return self.first(277, 1)

    @property
    def is_thumbnail(self) -> bool:
        """Whether it is a small version of a picture in another directory, as in DNG and NEF."""
        return bool(self.first(254, 0) & 1) and 330 in self.tags

    @property
    def planar_tiles(self) -> bool:
        """Whether it has tiles of one channel each."""
        return self.first(284, 1) == 2 and 324 in self.values

    def is_alpha(self, extra: int) -> bool:
        """Whether a channel beyond the colours is alpha; `extra` counts them from 0."""
        kinds = self.values.get(338, ())
        return extra < len(kinds) and kinds[extra] in _ALPHA_KINDS

    @property
    def pixels_end(self) -> int:
        """The offset of the end of the last strip or tile; 0 if it is not stated."""
        for offsets, sizes in zip(_OFFSETS, _SIZES, strict=True):
            if offsets in self.values and sizes in self.values:
                stated = self.values[sizes]
                needed = [min(pair) for pair in zip(stated, self._raw_sizes(offsets), strict=False)]
                ends = zip(self.values[offsets], needed or stated, strict=False)
                return max(map(sum, ends), default=0)
        return 0

    def _raw_sizes(self, offsets: int) -> list[int]:
        """The bytes that each strip or tile needs without compression; empty if compressed.

        Some writers state more than that, and more than the file has.
        """
        if self.first(259, 1) != 1:
            return []
        width, height, samples = self.first(256, 0), self.first(257, 0), self.samples
        count, planar = len(self.values[offsets]), self.first(284, 1) == 2
        bits = max(self.values.get(258, (1,))) * (1 if planar else samples)
        if offsets == 324:
            return [(self.first(322, 0) * bits + 7) // 8 * self.first(323, 0)] * count
        rows = min(self.first(278, height), height)
        per_plane = -(-height // max(rows, 1))
        tops = [index % max(per_plane, 1) * rows for index in range(count)]
        return [(width * bits + 7) // 8 * min(rows, height - top) for top in tops]


_WANTED = {*_OFFSETS, *_SIZES, 254, 256, 257, 258, 259, 262, 277, 278, 284, 322, 323, 338, 339, 530}


def read_directory(file: BinaryIO) -> Directory:
    """Read the first directory of a TIFF.

    Raises:
        struct.error, OverflowError, MemoryError, ValueError: the header itself is damaged. libtiff
            ignores a tag that it does not understand, and then reads other pixels.
    """
    order = "<" if file.read(2) == b"II" else ">"

    def read(letters: str) -> tuple[int, ...]:
        return struct.unpack(order + letters, file.read(struct.calcsize(order + letters)))

    big = read("H") == (43,)
    file.seek(8 if big else 4)
    file.seek(read("Q" if big else "I")[0])
    (entries,) = read("Q" if big else "H")
    start, length = file.tell(), 20 if big else 12
    tags: set[int] = set()
    values: dict[int, tuple[int, ...]] = {}
    for entry in range(entries):
        file.seek(start + entry * length)
        tag, code = read("HH")
        (count,) = read("Q" if big else "I")
        if tag < _PRIVATE and (code not in _TYPES or (tag in _WANTED and not count)):
            raise ValueError(f"tag {tag} has type {code} and {count} values")
        tags.add(tag)
        letter = _LETTERS.get(code)
        if tag in _WANTED and tag not in values and letter is not None:
            if struct.calcsize(order + letter) * count > (8 if big else 4):
                file.seek(read("Q" if big else "I")[0])
            values[tag] = read(f"{count}{letter}")
    strips = next((values[tag] for tag in _OFFSETS if values.get(tag)), (0,))
    file.seek(strips[0])
    begin = file.read(2)
    old_lzw = values.get(259) == (5,) and begin[:1] == b"\0" and bool(begin[1:] and begin[1] & 1)
    return Directory(frozenset(tags), values, old_lzw)
