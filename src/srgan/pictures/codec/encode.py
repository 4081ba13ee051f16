"""Encodes rows of pixels, with the metadata of their source, into a file or into bytes."""

import io
import math
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from srgan.pictures.codec.formats import WRITTEN_FORMATS, Format, Kind
from srgan.pictures.codec.metadata import Metadata, attach
from srgan.pictures.codec.png import ChunkWriter, png_target
from srgan.pictures.codec.rowstream import EncodeError, load_vips, save_rows
from srgan.pictures.codec.tiff_facts import add_facts, unknown_to_libvips
from srgan.pictures.files import StorageError, encode_error

_HUGE_BYTES = 3_500_000_000  # of pixels, before compression
_LARGE_EXIF = 65_000  # bytes: libvips leaves out what is beyond 65,534, or all of it in JPEG
# Bytes of the kinds of metadata of which libvips writes no more into JPEG.
_MOST_IN_JPEG: dict[Kind, int] = {"XMP": 60_000, "IPTC": 65_533}


@dataclass(frozen=True)
class Rows:
    """A picture as blocks of rows, from top to bottom.

    Attributes:
        blocks: (h_i, W, C) of `dtype`; their heights sum to H.
        shape: (H, W, C).
        dtype: uint8 or uint16.
    """

    blocks: Iterable[np.ndarray]
    shape: tuple[int, int, int]
    dtype: np.dtype

    @property
    def size(self) -> int:
        """In bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


def encode_file(
    path: Path, name: str, rows: Rows, format: str, quality: int | None, metadata: Metadata
) -> list[str]:
    """Encode `rows` into a file; return notes for the user on what `format` cannot hold.

    The file is closed on return: Windows refuses to rename an open file.

    Args:
        name: the picture's, for errors.
        format: a key of WRITTEN_FORMATS.
        quality: 1 to 100, for LOSSY_FORMATS; None for the format's default.

    Raises:
        PictureError: the picture cannot be encoded. Errors of the rows pass unchanged.
    """
    if chunks := _png_chunks(format, metadata):
        with path.open("wb") as file:
            return _encode_png(ChunkWriter(file, chunks), name, rows, metadata)
    new_target = load_vips().Target.new_to_file
    notes = _encode(new_target(os.fsencode(path)), name, rows, format, quality, metadata)
    if "EXIF" in WRITTEN_FORMATS[format].added:
        try:
            with path.open("r+b") as file:
                notes += _add_facts(file, rows, metadata)
        except OSError as error:
            raise encode_error(name, str(error)) from error
    return notes


def encode_bytes(
    name: str, rows: Rows, format: str, quality: int | None, metadata: Metadata
) -> tuple[bytes, list[str]]:
    """The bytes of the file that `encode_file` would write, and its notes."""
    if chunks := _png_chunks(format, metadata):
        buffer = io.BytesIO()
        notes = _encode_png(ChunkWriter(buffer, chunks), name, rows, metadata)
        return buffer.getvalue(), notes
    target = load_vips().Target.new_to_memory()
    notes = _encode(target, name, rows, format, quality, metadata)
    if "EXIF" not in WRITTEN_FORMATS[format].added:
        return target.get("blob"), notes
    buffer = io.BytesIO(target.get("blob"))
    notes += _add_facts(buffer, rows, metadata)
    return buffer.getvalue(), notes


def _add_facts(file: BinaryIO, rows: Rows, metadata: Metadata) -> list[str]:
    """Add to a TIFF what libvips has not written; return notes that its source did not bring."""
    try:
        notes = add_facts(file, metadata.block("EXIF"), metadata.block("IPTC"), rows.shape[:2])
    except struct.error:
        return ["the file is too large for EXIF and IPTC: left out"]
    return [note for note in notes if note not in metadata.extras.facts_notes]


def _png_chunks(format: str, metadata: Metadata) -> tuple[tuple[bytes, bytes], ...]:
    """The chunks that libvips does not write into a PNG."""
    if format != "png":
        return ()
    if metadata.extras.chunks or metadata.extras.label is None:
        return metadata.extras.chunks
    code = metadata.extras.label.cicp
    return ((b"cICP", bytes([*code, 0, 1])),) if code else ()


def _encode_png(writer: ChunkWriter, name: str, rows: Rows, metadata: Metadata) -> list[str]:
    try:
        return _encode(png_target(writer), name, rows, "png", None, metadata)
    except StorageError as error:
        if writer.error is None:
            raise
        raise encode_error(name, str(writer.error)) from error


def _encode(
    target: Any, name: str, rows: Rows, format: str, quality: int | None, metadata: Metadata
) -> list[str]:
    holder = WRITTEN_FORMATS[format]
    options = dict(holder.options)
    if holder.quality is not None:
        options["Q"] = holder.quality if quality is None else quality
    if rows.dtype == np.uint16:
        options |= holder.options_16_bit
    if rows.size > _HUGE_BYTES:
        options |= holder.options_huge

    def save(image: Any) -> None:
        image = attach(_fit(image, holder), metadata, png=format == "png")
        saver = getattr(image, f"{holder.saver}_target")
        saver(target, keep=metadata.keep(holder), **options)

    try:
        save_rows(rows.blocks, rows.shape, rows.dtype, save)
    except EncodeError as error:
        raise encode_error(name, str(error)) from error
    notes = losses(format, rows.shape[2], rows.dtype, metadata)
    if holder.takes("EXIF") and len(metadata.block("EXIF") or b"") > _LARGE_EXIF:
        notes.append(f"EXIF of more than {_LARGE_EXIF:,} bytes may be incomplete or missing")
    return notes


def losses(format: str, bands: int, dtype: np.dtype, metadata: Metadata) -> list[str]:
    """A note for each property of the picture that the format cannot hold."""
    holder = WRITTEN_FORMATS[format]
    notes: list[str] = []
    if bands in (2, 4) and not holder.alpha:
        notes.append(f"{format.upper()} has no transparency: put on white")
    if dtype == np.uint16 and holder.max_bits < 16:
        notes.append(f"16 bits rounded to the {holder.max_bits} that {format.upper()} has")
    lost = [name for kind, name in metadata.kinds.items() if kind in holder.lost]
    if format == "jpeg":
        lost += [
            f"{kind} of more than {most:,} bytes"
            for kind, most in _MOST_IN_JPEG.items()
            if len(metadata.block(kind) or b"") > most
        ]
    extras = metadata.extras
    if extras.frames != 1:
        count = f"of {extras.frames} frames" if extras.frames else "frame"
        notes.append(f"only the first {count} is used")
    exif = metadata.block("EXIF")
    if exif is not None and holder.takes("EXIF") and (names := unknown_to_libvips(exif)):
        lost.append(f"EXIF's {', '.join(names)}")
    if extras.text and not (format == "png" and extras.chunks):
        lost.append("text")
    notes += [f"{kind} is not kept in {format.upper()}" for kind in lost]
    profile = metadata.profile
    gray = bands < 3
    if profile is not None and (profile[16:20] == b"GRAY") != gray:
        notes.append(f"the colour profile does not fit {'gray' if gray else 'RGB'}: left out")
    elif extras.label is not None and format != "png" and profile is None:
        if gray or "ICC" in holder.lost:
            notes.append(f"the colour label (cICP, gAMA) is not kept in {format.upper()}")
        elif extras.label.hdr:
            notes.append(f"HDR ({extras.label.hdr}) is labelled by an ICC profile for SDR")
    return notes


def _fit(image: Any, format: Format) -> Any:
    """Convert what the format cannot hold.

    libvips' savers do not convert, or convert without rounding.
    """
    white = 65535 if image.format == "ushort" else 255
    if image.hasalpha() and not format.alpha:
        image = image.flatten(background=white, max_alpha=white)
    if image.format == "ushort" and format.max_bits == 8:
        space = "b-w" if image.bands < 3 else "srgb"
        image = (image / 257).rint().cast("uchar").copy(interpretation=space)
    return image
