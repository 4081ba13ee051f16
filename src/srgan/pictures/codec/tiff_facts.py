"""The facts in a TIFF's first directory: EXIF, GPS, IPTC and texts. libvips loses most of them.

EXIF in other formats is a small TIFF, so one reader and one writer serve both. The types and bytes
of all values stay. What cannot be read is left out, with a note, and the rest is kept. (tifftools
could do this, but follows a file's links in circles, for ever.)
Sources: TIFF 6.0, section 2; EXIF 3.0, section 4.6; Adobe's Photoshop TIFF notes; BigTIFF.
"""

import io
import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from srgan.pictures.codec import photoshop

_FIRST, _EXIF, _GPS, _INTEROPERABILITY = 0, 34665, 34853, 40965
_BELOW = {_FIRST: {_EXIF, _GPS}, _EXIF: {_INTEROPERABILITY}}  # the directories of each directory
_HEIGHT, _WIDTH = 40963, 40962  # of the picture, in EXIF
_IPTC, _PHOTOSHOP = 33723, 34377  # records of IPTC; resources of Photoshop, one of which is IPTC
_DESCRIPTION, _MODEL, _HOST, _MAKER_NOTE = 270, 272, 316, 37500
# libexif, by which libvips writes EXIF into other formats, leaves these out.
_UNKNOWN = {285: "PageName", _HOST: "HostComputer", 18246: "Rating", 18249: "RatingPercent"}
# DocumentName, ImageDescription, Make, Software, DateTime, Artist, Copyright, Windows' texts, ...
_TEXTS = {11, 269, _DESCRIPTION, 271, _MODEL, 305, 306, 315, 337, 33432, *range(40091, 40096)}
# What TIFF/EP has beside the pixels' tags: exposure, aperture, time, focal length, ...
_TIFF_EP = {33434, 33437, 34850, *range(34855, 34860), 36867, 36868, *range(37377, 37397)}
_FACTS = {*_TEXTS, *_UNKNOWN, *_TIFF_EP, *_BELOW[_FIRST], _IPTC, _PHOTOSHOP}
# The bytes of a value of each type of TIFF 6 and EXIF 3, and those of the numbers in it.
_TYPES = {
    **dict.fromkeys((1, 2, 6, 7, 129), (1, 1)),
    **dict.fromkeys((3, 8), (2, 2)),
    **dict.fromkeys((4, 9, 11, 13), (4, 4)),
    **dict.fromkeys((5, 10), (8, 4)),
    12: (8, 8),
}
_BYTE, _LONG, _LONG8 = 1, 4, 16
MOST_BYTES = 4_000_000  # libvips takes no EXIF of 8 MB
_EXIF_START = b"Exif\0\0"
_HEADER = b"II*\0\x08\0\0\0"  # of a little-endian TIFF whose directory follows
# Descriptions that say how the pages of the file make a stack: wrong of any other file.
_SHAPE = b'{"shape'  # tifffile's: a result has another one
_STRUCTURES = _SHAPE, b"ImageJ=", b"<?xml", b"<OME"
# Maker's notes whose offsets count from their own start. Those of others count from the file's.
_MOVABLE = (
    b"Apple iOS",
    b"Nikon\0\2",
    b"OLYMPUS\0",
    b"OM SYSTEM",
    b"FUJIFILM",
    b"PENTAX ",
    b"LEICA\0",
)

INCOMPLETE = "parts of EXIF or IPTC are damaged or too large: left out"
STRUCTURE = "the description of the file's structure (ImageJ, OME) is left out"
MAKER_NOTE = "the camera's maker notes are kept, but some programs cannot read them in another file"


@dataclass(frozen=True)
class _Tag:
    """A tag of a directory: TIFF's code of its type, and its values, little-endian.

    `tags` are those of the directory that it leads to, if it does.
    """

    type: int
    data: bytes
    tags: "dict[int, _Tag] | None" = None


_Tags = dict[int, _Tag]


@dataclass(frozen=True)
class Facts:
    """The facts of a TIFF, as JPEG holds them; None for what it lacks.

    Attributes:
        notes: for the user, on what is left out or may not be readable.
    """

    exif: bytes | None = None
    iptc: bytes | None = None
    notes: tuple[str, ...] = ()


def read_facts(file: BinaryIO) -> Facts:
    """Read the facts of a TIFF."""
    facts, notes = _read(file)
    none = _Tag(_BYTE, b"")
    own, resources = (facts.pop(tag, none).data for tag in (_IPTC, _PHOTOSHOP))
    records, others = photoshop.split(resources, photoshop.THUMBNAILS)
    if _fixed(facts):
        notes.append(MAKER_NOTE)
    return Facts(
        _EXIF_START + _HEADER + _packed(facts, len(_HEADER)) if facts else None,
        photoshop.block(own or records, others),
        tuple(notes),
    )


def add_facts(
    file: BinaryIO, exif: bytes | None, iptc: bytes | None, size: tuple[int, int]
) -> list[str]:
    """Add facts to a little-endian TIFF, such as libvips writes.

    Its pixels stay where they are; a new directory with its tags and the facts follows them.

    Args:
        exif: an EXIF block.
        iptc: as JPEG holds it.
        size: (height, width) of the picture, for EXIF.

    Returns:
        Notes for the user, as in `Facts`.

    Raises:
        struct.error: the file is too large for more. It is as it was.
    """
    facts, notes = _of_block(exif) if exif else ({}, [])
    if own := facts.get(_EXIF):
        for tag, side in zip((_HEIGHT, _WIDTH), size, strict=True):
            if own.tags and tag in own.tags:
                own.tags[tag] = _Tag(_LONG, struct.pack("<I", side))
    if _fixed(facts):
        notes.append(MAKER_NOTE)
    records, _ = photoshop.split(iptc or b"")
    padding = bytes(-len(records) % 4)
    # The digest is of the records without padding. Without one, no reader thinks them changed.
    without = (*photoshop.THUMBNAILS, photoshop.DIGEST) if padding else photoshop.THUMBNAILS
    _, others = photoshop.split(iptc or b"", without)
    if others:
        facts[_PHOTOSHOP] = _Tag(_BYTE, others)
    if records:
        facts[_IPTC] = _Tag(_LONG, records + padding)
    if facts:
        _append(file, facts)
    return notes


def _append(file: BinaryIO, facts: _Tags) -> None:
    """Write a new directory with the tags of the first one and the facts after all else."""
    file.seek(0)
    big = file.read(4) == b"II+\0"
    link, word, length = (8, "Q", 20) if big else (4, "I", 12)
    file.seek(link)
    file.seek(_number(file, word))
    entries = [file.read(length) for _ in range(_number(file, "Q" if big else "H"))]
    kept = {struct.unpack("<H", entry[:2])[0]: entry for entry in entries}
    rest = file.read(struct.calcsize(f"<{word}"))  # the link to the next directory
    end = file.seek(0, os.SEEK_END)
    even = bytes(end % 2)
    directory = _packed(facts, end + len(even), kept=kept, rest=rest, big=big)
    start = struct.pack(f"<{word}", end + len(even))
    file.write(even + directory)
    file.seek(link)
    file.write(start)


def unknown_to_libvips(exif: bytes) -> list[str]:
    """Names of the facts in an EXIF block that libvips does not write into any format.

    iPhones repeat the model as HostComputer, and a rating of 0 is none: those are no loss.
    """
    facts, _ = _of_block(exif)
    model, host = (
        facts[tag].data.strip(b" \0") if tag in facts else b"" for tag in (_MODEL, _HOST)
    )
    said = {tag for tag in _UNKNOWN if tag in facts and any(facts[tag].data)}
    return [name for tag, name in _UNKNOWN.items() if tag in said and (tag, host) != (_HOST, model)]


def _fixed(facts: _Tags) -> bool:
    """Whether the maker's notes have offsets from the start of the file that they were in."""
    own = facts.get(_EXIF)
    note = own.tags.get(_MAKER_NOTE) if own and own.tags else None
    return note is not None and not note.data.startswith(_MOVABLE)


def _of_block(exif: bytes) -> tuple[_Tags, list[str]]:
    return _read(io.BytesIO(exif.removeprefix(_EXIF_START)))


def _read(file: BinaryIO) -> tuple[_Tags, list[str]]:
    """The facts in a TIFF's first directory, and notes on what is left out."""
    order = {b"II": "<", b"MM": ">"}.get(file.read(2))
    if order is None:
        return {}, [INCOMPLETE]
    try:
        big = _number(file, "H", order) == 43
        file.seek(8 if big else 4)
        reader = _Reader(file, order, big=big)
        facts = reader.directory(_FIRST)
    except struct.error:
        return {}, [INCOMPLETE]
    notes = [INCOMPLETE] if reader.incomplete else []
    description = facts.get(_DESCRIPTION)
    if description is not None and description.data.startswith(_STRUCTURES):
        del facts[_DESCRIPTION]
        if not description.data.startswith(_SHAPE):
            notes.append(STRUCTURE)
    return facts, notes


class _Reader:
    """Reads directories, in all at most 4 MB of entries and values, and each kind once.

    Attributes:
        incomplete: something could not be read, and is left out.
    """

    def __init__(self, file: BinaryIO, order: str, *, big: bool) -> None:
        position = file.tell()
        self._end = file.seek(0, os.SEEK_END)
        file.seek(position)
        self._file = file
        self._order = order
        self._big = big
        self._word = "Q" if big else "I"
        self._left = MOST_BYTES
        self._read: set[int] = set()
        self.incomplete = False

    def directory(self, kind: int) -> _Tags:
        """The directory to which the next bytes lead, without tags of unknown types.

        Args:
            kind: the tag that leads to it; of the first one only the facts are read.

        Raises:
            struct.error: the file ends before the bytes that lead to it.
        """
        self._read.add(kind)
        tags: _Tags = {}
        start, length = self._next(self._word), 20 if self._big else 12
        if start >= self._end:
            self.incomplete = True
            return tags
        self._file.seek(start)
        try:
            count = self._next("Q" if self._big else "H")
            start = self._file.tell()
            for entry in range(count):
                self._left -= length
                if self._left < 0:
                    self.incomplete = True
                    break
                self._file.seek(start + entry * length)
                tag, code, values = self._next("H"), self._next("H"), self._next(self._word)
                if tag not in tags and (kind != _FIRST or tag in _FACTS):
                    self._add(tags, kind, tag, code, values)
        except struct.error:  # the file ends in it
            self.incomplete = True
        return tags

    def _add(self, tags: _Tags, kind: int, tag: int, code: int, values: int) -> None:
        """Add the tag whose value, or its offset, is next."""
        if tag in _BELOW.get(kind, ()):
            if tag not in self._read and (found := self.directory(tag)):
                tags[tag] = _Tag(_LONG, b"", found)
        elif code in _TYPES and values:
            data = self._values(tag, code, values)
            if data is None:
                self.incomplete = True
            else:
                tags[tag] = _Tag(code, data)

    def _values(self, tag: int, code: int, values: int) -> bytes | None:
        size, unit = _TYPES[code]
        size *= values
        inside = size <= (8 if self._big else 4)
        position = self._file.tell() if inside else self._next(self._word)
        if position + size > self._end or size > self._left:
            return None
        self._left -= size
        self._file.seek(position)
        data = self._file.read(size)
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
    values_at, values = at + len(head) + count * length + slot, bytearray()
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
    return head + ordered + (rest or bytes(slot)) + bytes(values)
