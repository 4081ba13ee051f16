"""The facts in a TIFF's first directory: EXIF, GPS, IPTC and texts. libvips loses most of them.

EXIF in other formats is a small TIFF, so one reader and one writer serve both. The types and bytes
of all values stay. (tifftools could do this, but follows a file's links in circles, for ever.)
Sources: TIFF 6.0, section 2; EXIF 3.0, section 4.6; Adobe's Photoshop TIFF notes; BigTIFF.
"""

import io
import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

_FIRST, _EXIF, _GPS, _INTEROPERABILITY = 0, 34665, 34853, 40965
_BELOW = {_FIRST: {_EXIF, _GPS}, _EXIF: {_INTEROPERABILITY}}  # the directories of each directory
_HEIGHT, _WIDTH = 40963, 40962  # of the picture, in EXIF
_IPTC, _PHOTOSHOP = 33723, 34377  # records of IPTC; resources of Photoshop, one of which is IPTC
_MODEL, _HOST = 272, 316
# libexif, by which libvips writes EXIF into other formats, leaves these out.
_UNKNOWN = {285: "PageName", _HOST: "HostComputer", 18246: "Rating", 18249: "RatingPercent"}
# DocumentName, ImageDescription, Make, Software, DateTime, Artist, Copyright, Windows' texts.
_TEXTS = {269, 270, 271, _MODEL, 305, 306, 315, 33432, *range(40091, 40096), *_UNKNOWN}
_FACTS = {*_TEXTS, *_BELOW[_FIRST], _IPTC, _PHOTOSHOP}
# The bytes of a value of each type of TIFF 6, and those of the numbers in it.
_TYPES = {
    **dict.fromkeys((1, 2, 6, 7), (1, 1)),
    **dict.fromkeys((3, 8), (2, 2)),
    **dict.fromkeys((4, 9, 11, 13), (4, 4)),
    **dict.fromkeys((5, 10), (8, 4)),
    12: (8, 8),
}
_BYTE, _LONG, _LONG8 = 1, 4, 16
_MOST_BYTES = 16_000_000
_EXIF_START, _PHOTOSHOP_START, _RESOURCE = b"Exif\0\0", b"Photoshop 3.0\0", b"8BIM"
_IPTC_RESOURCE = 0x0404
_HEADER = b"II*\0\x08\0\0\0"  # of a little-endian TIFF whose directory follows


@dataclass(frozen=True)
class _Tag:
    """A tag of a directory: TIFF's code of its type, and its values, little-endian.

    `tags` are those of the directory that it leads to, if it does.
    """

    type: int
    data: bytes
    tags: "dict[int, _Tag] | None" = None


_Tags = dict[int, _Tag]


def read_facts(file: BinaryIO) -> tuple[bytes | None, bytes | None]:
    """The EXIF block and the IPTC of a TIFF, as JPEG holds them; None for what it lacks.

    Raises:
        ValueError, struct.error: they are damaged, or of more than 16 MB.
    """
    facts = _read(file)
    none = _Tag(_BYTE, b"")
    own, resources = (facts.pop(tag, none).data for tag in (_IPTC, _PHOTOSHOP))
    others, records = _split(resources)
    if records := own or records:
        head = _RESOURCE + struct.pack(">HHI", _IPTC_RESOURCE, 0, len(records))
        others = head + records + bytes(len(records) % 2) + others
    exif = _EXIF_START + _HEADER + _packed(facts, len(_HEADER)) if facts else None
    return exif, _PHOTOSHOP_START + others if others else None


def add_facts(
    file: BinaryIO, exif: bytes | None, iptc: bytes | None, size: tuple[int, int]
) -> None:
    """Add facts to a little-endian TIFF, such as libvips writes.

    Its pixels stay where they are; a new directory with its tags and the facts follows them.

    Args:
        exif: an EXIF block.
        iptc: as JPEG holds it.
        size: (height, width) of the picture, for EXIF.

    Raises:
        ValueError, struct.error: a block is damaged, or the file too large. It is as it was.
    """
    facts = _read(io.BytesIO(exif.removeprefix(_EXIF_START))) if exif else {}
    if own := facts.get(_EXIF):
        for tag, side in zip((_HEIGHT, _WIDTH), size, strict=True):
            if own.tags and tag in own.tags:
                own.tags[tag] = _Tag(_LONG, struct.pack("<I", side))
    others, records = _split((iptc or b"").removeprefix(_PHOTOSHOP_START))
    if others:
        facts[_PHOTOSHOP] = _Tag(_BYTE, others)
    if records:
        facts[_IPTC] = _Tag(_LONG, records + bytes(-len(records) % 4))
    file.seek(0)
    big = file.read(4) == b"II+\0"
    link, word, length = (8, "Q", 20) if big else (4, "I", 12)
    file.seek(link)
    file.seek(_number(file, word))
    entries = [file.read(length) for _ in range(_number(file, "Q" if big else "H"))]
    kept = {struct.unpack("<H", entry[:2])[0]: entry for entry in entries}
    rest = file.read(struct.calcsize(f"<{word}"))  # the link to the next directory
    end = file.seek(0, os.SEEK_END)
    even = b"\0" * (end % 2)
    directory = _packed(facts, end + len(even), kept=kept, rest=rest, big=big)
    file.write(even + directory)
    file.seek(link)
    file.write(struct.pack(f"<{word}", end + len(even)))


def unknown_to_libvips(exif: bytes) -> list[str]:
    """Names of the facts in an EXIF block that libvips does not write into any format.

    iPhones repeat the model as HostComputer, which is no loss.
    """
    try:
        facts = _read(io.BytesIO(exif.removeprefix(_EXIF_START)))
    except (ValueError, struct.error):
        return []
    if _MODEL in facts and _HOST in facts and facts[_MODEL] == facts[_HOST]:
        del facts[_HOST]
    return [name for tag, name in _UNKNOWN.items() if tag in facts]


def _split(resources: bytes) -> tuple[bytes, bytes]:
    """The other resources of Photoshop, and the records of IPTC among them."""
    position = 0
    while resources[position : position + 4] == _RESOURCE:
        start = position
        kind, name = struct.unpack_from(">HB", resources, position + 4)
        position += 6 + (name + 2) // 2 * 2
        (size,) = struct.unpack_from(">I", resources, position)
        position += 4
        records = resources[position : position + size]
        position += size + size % 2
        if kind == _IPTC_RESOURCE:
            return resources[:start] + resources[position:], records
    return resources, b""


def _read(file: BinaryIO) -> _Tags:
    """The facts in a TIFF's first directory."""
    order = {b"II": "<", b"MM": ">"}.get(file.read(2))
    if order is None:
        raise ValueError("neither II nor MM")
    big = _number(file, "H", order) == 43
    file.seek(8 if big else 4)
    return _Reader(file, order, big=big).directory(_FIRST)


class _Reader:
    """Reads directories, in all at most 16 MB of values."""

    def __init__(self, file: BinaryIO, order: str, *, big: bool) -> None:
        self._file = file
        self._order = order
        self._big = big
        self._word = "Q" if big else "I"
        self._left = _MOST_BYTES

    def directory(self, kind: int) -> _Tags:
        """The directory to which the next bytes lead, without tags of types that TIFF 6 lacks.

        Args:
            kind: the tag that leads to it; of the first one only the facts are read.
        """
        self._file.seek(self._next(self._word))
        count = self._next("Q" if self._big else "H")
        start, length = self._file.tell(), 20 if self._big else 12
        tags: _Tags = {}
        for entry in range(count):
            self._file.seek(start + entry * length)
            tag, code = self._next("H"), self._next("H")
            values = self._next(self._word)
            if kind == _FIRST and tag not in _FACTS:
                continue
            if tag in _BELOW.get(kind, ()):
                if found := self.directory(tag):
                    tags[tag] = _Tag(_LONG, b"", found)
            elif code in _TYPES:
                tags[tag] = _Tag(code, self._values(tag, code, values))
        return tags

    def _values(self, tag: int, code: int, values: int) -> bytes:
        size, unit = _TYPES[code]
        size *= values
        self._left -= size
        if self._left < 0:
            raise ValueError(f"more than {_MOST_BYTES:,} bytes")
        if size > (8 if self._big else 4):
            self._file.seek(self._next(self._word))
        data = self._file.read(size)
        if len(data) < size:
            raise ValueError("cut short")
        if tag in (_IPTC, _PHOTOSHOP):  # bytes, whatever type the tag has
            return data
        return np.frombuffer(data, f"{self._order}u{unit}").astype(f"<u{unit}").tobytes()

    def _next(self, letter: str) -> int:
        return _number(self._file, letter, self._order)


def _number(file: BinaryIO, letter: str, order: str = "<") -> int:
    return struct.unpack(order + letter, file.read(struct.calcsize(order + letter)))[0]


def _packed(
    tags: _Tags,
    at: int,
    *,
    kept: dict[int, bytes] | None = None,
    rest: bytes | None = None,
    big: bool = False,
) -> bytes:
    """A little-endian directory and its values, for the offset `at`.

    Args:
        kept: entries of tags that go before those of `tags`, as they are.
        rest: the link to the next directory; None if there is none.
    """
    word, slot, length = ("Q", 8, 20) if big else ("I", 4, 12)
    entries = dict(kept or {})
    added = {tag: value for tag, value in tags.items() if tag not in entries}
    count = len(entries) + len(added)
    head = struct.pack("<Q" if big else "<H", count)
    values_at, values = at + len(head) + count * length + slot, b""
    for tag, value in added.items():
        code, data = value.type, value.data
        position = values_at + len(values)
        number = len(data) // _TYPES[code][0]
        if value.tags is not None:
            code, number = _LONG8 if big else _LONG, 1
            values += _packed(value.tags, position, big=big)
        elif len(data) > slot:
            values += data + b"\0" * (len(data) % 2)
        if value.tags is not None or len(data) > slot:
            data = struct.pack(f"<{word}", position)
        entries[tag] = struct.pack(f"<HH{word}", tag, code, number) + data.ljust(slot, b"\0")
    ordered = b"".join(entries[tag] for tag in sorted(entries))
    return head + ordered + (rest or bytes(slot)) + values
