"""What libvips does not pass on of a picture file: colour labels, text, frames, gain maps, tags."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from srgan.pictures.codec.jpeg_header import JpegHeader
from srgan.pictures.codec.label import ColourLabel, label_of_chunks, label_of_cicp
from srgan.pictures.codec.png_chunks import read_chunks
from srgan.pictures.codec.tiff import Directory
from srgan.pictures.codec.tiff_facts import read_facts

_MOST_BYTES = 16_000_000  # of a box, or of a GIF, that is searched
_GEOTIFF = 33550


@dataclass(frozen=True)
class Extras:
    """Properties of a file, beside its pixels and libvips' metadata.

    Attributes:
        label: the colour space, if the file states one without an ICC profile.
        chunks: of a PNG: name and content of its colour labels and texts, for another PNG.
        text: it has text beside EXIF, XMP and IPTC.
        frames: of an animation; 1 for a still picture, 0 for an unknown number.
        gain_map: it has a gain map (HDR).
        extended_xmp: of a JPEG: its XMP goes on in segments that libvips does not read.
        pictures: of a JPEG with several (MPO).
        geotiff: of a TIFF: it says where on Earth its pixels lie (GeoTIFF).
        exif, xmp: of a PNG. libvips passes them on only from before the pixels.
        exif, iptc: of a TIFF, as JPEG holds them.
        facts_notes: notes on those.
    """

    label: ColourLabel | None = None
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    text: bool = False
    frames: int = 1
    gain_map: bool = False
    extended_xmp: bool = False
    pictures: int = 1
    geotiff: bool = False
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    facts_notes: tuple[str, ...] = ()

    @property
    def notes(self) -> list[str]:
        """Notes for the user on what no result holds."""
        notes = ["the extension of XMP (depth maps and the like)"] if self.extended_xmp else []
        notes += ["the gain map (HDR)"] if self.gain_map else []
        notes += ["GeoTIFF's position"] if self.geotiff else []
        notes = [f"{part} is left out" for part in notes]
        notes += self.facts_notes
        if self.pictures > 1 and not self.gain_map:  # else that is the other picture
            notes.append(f"only the first of {self.pictures} pictures is used")
        return notes


def read_extras(
    file: BinaryIO, format: str, header: JpegHeader | None, directory: Directory | None
) -> Extras:
    """Read the extras of a file.

    Args:
        header: of a JPEG.
        directory: of a TIFF.
    """
    try:
        if format == "png":
            return _of_png(file)
        if format in ("avif", "heic"):
            return _of_avif(file)
        if format == "gif":
            return Extras(text=_has_gif_text(file.read(_MOST_BYTES)))
    except (struct.error, ValueError, IndexError, MemoryError):
        return Extras()  # damaged; libvips says how
    if header is not None:
        return Extras(
            text=header.comment,
            gain_map=header.gain_map,
            extended_xmp=header.extended_xmp,
            pictures=header.pictures,
        )
    if directory is not None:
        return _of_tiff(file, directory)
    return Extras()


def _of_png(file: BinaryIO) -> Extras:
    found = read_chunks(file)
    return Extras(
        label_of_chunks(dict(found.kept)),
        found.kept,
        found.text,
        found.frames,
        exif=found.exif,
        xmp=found.xmp,
    )


def _of_tiff(file: BinaryIO, directory: Directory) -> Extras:
    facts = read_facts(file)
    return Extras(
        geotiff=_GEOTIFF in directory.tags,
        exif=facts.exif,
        iptc=facts.iptc,
        facts_notes=facts.notes,
    )


def _of_avif(file: BinaryIO) -> Extras:
    head = file.read(64)
    brands = head[8 : int.from_bytes(head[:4], "big")]
    file.seek(0)
    boxes = dict(_boxes(file))
    meta = boxes.get(b"meta", b"")
    found = re.search(rb"colrnclx(......)", meta, re.DOTALL)
    label = label_of_cicp(*struct.unpack(">HH", found[1][:4])) if found else None
    frames = 1
    if b"avis" in brands and b"moov" in boxes:
        sizes = re.search(rb"stsz........(....)", boxes[b"moov"], re.DOTALL)
        frames = int.from_bytes(sizes[1], "big") if sizes else 0
    return Extras(label, frames=frames, gain_map=b"tmap" in brands)


def _boxes(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and content of the boxes "meta" and "moov"."""
    position = 0
    while True:
        file.seek(position)
        head = file.read(8)
        size = int.from_bytes(head[:4], "big")
        if len(head) < 8 or size < 8:
            return
        if head[4:] in (b"meta", b"moov") and size <= _MOST_BYTES:
            yield head[4:], file.read(size - 8)
        position += size


def _has_gif_text(content: bytes) -> bool:
    """Whether a GIF has a comment, a text or XMP."""
    return any(
        content.startswith((b"!\xfe", b"!\x01", b"!\xff\x0bXMP"), position)
        for position in _gif_blocks(content)
    )


def is_animated_gif(path: Path) -> bool:
    """Whether a file is a GIF of several frames. One that cannot be read is none."""
    try:
        if path.suffix.lower() != ".gif" or not path.is_file():
            return False
        content = path.read_bytes()
        return content.startswith(b"GIF8") and _gif_frames(content) > 1
    except (OSError, IndexError):
        return False


def check_whole_gif(content: bytes) -> None:
    """Raise ValueError if a GIF ends within a block. Many lack only their last byte."""
    try:
        _gif_frames(content)
    except IndexError as error:
        raise ValueError("truncated") from error


def _gif_frames(content: bytes) -> int:
    """How many frames a GIF has. Raises IndexError if it ends within a block."""
    return sum(content.startswith(b",", position) for position in _gif_blocks(content))


def _gif_blocks(content: bytes) -> Iterator[int]:
    """Where the blocks of a GIF begin: frames "," and extensions "!"."""
    position = 13 + _colour_table(content[10])
    while (kind := content[position : position + 1]) in (b"!", b","):
        yield position
        position += 11 + _colour_table(content[position + 9]) if kind == b"," else 2
        while size := content[position]:  # sub-blocks
            position += 1 + size
        position += 1


def _colour_table(flags: int) -> int:
    """The bytes of the colour table that a byte of flags announces."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0
