"""Rows of pixels and a source's metadata into an encoded file, or its bytes."""

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from srgan.pictures.codec.formats import FORMATS, Format
from srgan.pictures.codec.rowstream import EncodeError, load_vips, save_rows
from srgan.pictures.files import encode_error

_BIG_TIFF_BYTES = 3_500_000_000  # before compression; a classic TIFF ends at 4 GiB
_SCREEN_RESOLUTION = 72 / 25.4  # pixels per mm, libvips' own default for JPEG and PNG


@dataclass(frozen=True)
class Rows:
    """Blocks (h_i, W, C) of `dtype`, top to bottom, their heights summing to H of `shape`."""

    blocks: Iterable[np.ndarray]
    shape: tuple[int, int, int]
    dtype: np.dtype

    @property
    def size(self) -> int:
        """In bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Metadata:
    """What goes from one file into another: libvips' types, names and values."""

    fields: tuple[tuple[int, str, Any], ...] = ()
    resolution: tuple[float, float] = (_SCREEN_RESOLUTION, _SCREEN_RESOLUTION)  # pixels per mm

    @property
    def keep(self) -> str:
        """The kinds of metadata to write. Without an EXIF block libvips would make one up, which
        only a resolution is worth: JPEG's is written together with EXIF."""
        exif = any(name == "exif-data" for _, name, _ in self.fields)
        usual = math.isclose(self.resolution[0], _SCREEN_RESOLUTION, rel_tol=1e-3)
        return "xmp|iptc|icc" if usual and not exif else "exif|xmp|iptc|icc"


def encode_file(
    path: Path, name: str, rows: Rows, format: str, quality: int | None, metadata: Metadata
) -> list[str]:
    """Encode `rows` into a file; return notes for the user on what `format` cannot hold.

    The file is closed on return, which Windows wants before it is renamed.

    Raises PictureError, naming `name`, and whatever the rows raise.
    """
    target = load_vips().Target.new_to_file(os.fsencode(path))
    return _encode(target, name, rows, format, quality, metadata)


def encode_bytes(
    name: str, rows: Rows, format: str, quality: int | None, metadata: Metadata
) -> tuple[bytes, list[str]]:
    """The same bytes as those of `encode_file`'s file, and the notes."""
    target = load_vips().Target.new_to_memory()
    notes = _encode(target, name, rows, format, quality, metadata)
    return target.get("blob"), notes


def _encode(
    target: Any, name: str, rows: Rows, format: str, quality: int | None, metadata: Metadata
) -> list[str]:
    options = dict(FORMATS[format].options)
    if FORMATS[format].quality is not None:
        options["Q"] = FORMATS[format].quality if quality is None else quality
    if format == "tiff":
        options["bigtiff"] = rows.size > _BIG_TIFF_BYTES
    elif format == "avif" and rows.dtype == np.uint16:
        options["bitdepth"] = FORMATS[format].max_bits

    def save(image: Any) -> None:
        image = _attach(_fit(image, FORMATS[format]), metadata)
        saver = getattr(image, f"{FORMATS[format].saver}_target")
        saver(target, keep=metadata.keep, **options)

    try:
        save_rows(rows.blocks, rows.shape, rows.dtype, save)
    except EncodeError as error:
        raise encode_error(name, str(error)) from error
    return _losses(format, rows, metadata)


def _losses(format: str, rows: Rows, metadata: Metadata) -> list[str]:
    notes = []
    if rows.shape[2] in (2, 4) and not FORMATS[format].alpha:
        notes.append(f"{format.upper()} has no transparency: put on white")
    if rows.dtype == np.uint16 and FORMATS[format].max_bits < 16:
        notes.append(f"16 bits rounded to the {FORMATS[format].max_bits} that {format.upper()} has")
    if format == "tiff" and any(name == "exif-data" for _, name, _ in metadata.fields):
        notes.append("EXIF is not kept in TIFF")
    return notes


def _fit(image: Any, format: Format) -> Any:
    """Do what `_losses` says, where libvips' savers would not, or would cut instead of round."""
    white = 65535 if image.format == "ushort" else 255
    if image.hasalpha() and not format.alpha:
        image = image.flatten(background=white, max_alpha=white)
    if image.format == "ushort" and format.max_bits == 8:
        space = "b-w" if image.bands < 3 else "srgb"
        image = (image / 257).rint().cast("uchar").copy(interpretation=space)
    return image


def _attach(image: Any, metadata: Metadata) -> Any:
    xres, yres = metadata.resolution
    image = image.copy(xres=xres, yres=yres)  # a copy of our own, so that it may be changed
    for gtype, name, value in metadata.fields:
        image.set_type(gtype, name, value)
    # Setting the EXIF block has unpacked it: the old orientation and thumbnail are back.
    image.set_type(load_vips().GValue.gint_type, "orientation", 1)
    for name in image.get_fields():
        if name.startswith("exif-ifd1-") or name == "jpeg-thumbnail-data":
            image.remove(name)
    return image


def read_metadata(image: Any) -> Metadata:
    """What of a pyvips.Image's file goes into another; savers drop a profile that does not fit."""
    kept = {"icc-profile-data", "xmp-data", "iptc-data", "exif-data", "resolution-unit"}
    names = kept.intersection(image.get_fields())
    fields = tuple((image.get_typeof(name), name, image.get(name)) for name in sorted(names))
    return Metadata(fields, _resolution(image))


def _resolution(image: Any) -> tuple[float, float]:
    """Pixels per mm; libvips says 1 for WebP and AVIF, where only EXIF holds it, and for none."""
    if (image.xres, image.yres) != (1, 1):
        return image.xres, image.yres
    try:
        unit = 10 if image.get("exif-ifd0-ResolutionUnit").startswith("3") else 25.4
        x, y = (
            float(Fraction(image.get(f"exif-ifd0-{axis}Resolution").split()[0])) / unit
            for axis in "XY"
        )
    except (load_vips().Error, ValueError, ZeroDivisionError, IndexError):
        return _SCREEN_RESOLUTION, _SCREEN_RESOLUTION
    return (x, y) if x > 0 and y > 0 else (_SCREEN_RESOLUTION, _SCREEN_RESOLUTION)
