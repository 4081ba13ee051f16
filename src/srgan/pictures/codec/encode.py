"""Encodes rows of pixels, with the metadata of their source, into a file or into bytes."""

import io
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from srgan.pictures.codec.extras import Extras
from srgan.pictures.codec.formats import WRITTEN_FORMATS, Format
from srgan.pictures.codec.label import icc_profile
from srgan.pictures.codec.png import ChunkWriter, png_target
from srgan.pictures.codec.rowstream import EncodeError, load_vips, save_rows
from srgan.pictures.codec.xmp import fitting_xmp
from srgan.pictures.files import StorageError, encode_error

_HUGE_BYTES = 3_500_000_000  # of pixels, before compression
_LARGE_EXIF = 65_000  # bytes: libvips leaves out what is beyond 65,534, or all of it in JPEG
# Bytes of the kinds of metadata of which libvips writes no more into JPEG.
_MOST_IN_JPEG = {"XMP": 60_000, "IPTC": 65_533}
_SCREEN_RESOLUTION = 72 / 25.4  # pixels per mm, libvips' default for JPEG and PNG
_MAX_RESOLUTION = 1e6  # pixels per mm; libvips rejects more, with a warning on stderr
_COLOUR_SPACE = "exif-ifd2-ColorSpace"
# The head of its entry in an EXIF block of either byte order: tag 0xA001, one SHORT.
_COLOUR_TAGS = b"\x01\xa0\x03\0\x01\0\0\0", b"\xa0\x01\0\x03\0\0\0\x01"
# libvips' names of the kinds of metadata.
_METADATA = {
    "EXIF": "exif-data",
    "XMP": "xmp-data",
    "IPTC": "iptc-data",
    "ICC": "icc-profile-data",
}


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


@dataclass(frozen=True)
class Metadata:
    """The metadata to copy from one file into another.

    Attributes:
        fields: libvips' type, name and value of each.
        resolution: horizontal and vertical, in pixels per mm.
        extras: what libvips does not pass on.
    """

    fields: tuple[tuple[int, str, Any], ...] = ()
    resolution: tuple[float, float] = (_SCREEN_RESOLUTION, _SCREEN_RESOLUTION)
    extras: Extras = field(default_factory=Extras)

    def has(self, kind: str) -> bool:
        """Whether it contains "EXIF", "XMP", "IPTC" or "ICC"."""
        return any(name == _METADATA[kind] for _, name, _ in self.fields)

    def block(self, kind: str) -> bytes | None:
        """The bytes of "EXIF", "XMP", "IPTC" or "ICC"; None without."""
        return next((value for _, name, value in self.fields if name == _METADATA[kind]), None)

    @property
    def profile(self) -> bytes | None:
        """The ICC profile."""
        return self.block("ICC")

    @property
    def label_profile(self) -> bytes | None:
        """The ICC profile that says what the colour label says, if it has none of its own."""
        label = self.extras.label
        return icc_profile(label) if label is not None and self.profile is None else None

    @property
    def names(self) -> list[str]:
        """What it contains, for notes to the user."""
        names = [kind for kind in _METADATA if self.has(kind)]
        names += [f"TIFF's {tag}" for tag in self.extras.tags]
        names += ["text"] if self.extras.text else []
        return names + (["the colour label"] if self.extras.label else [])

    def keep(self, format: Format) -> str:
        """The saver's argument `keep`: the kinds of metadata to write.

        With "exif" libvips invents an EXIF block for a picture that has none. JPEG's resolution
        is written only together with EXIF, so an unusual resolution needs that block. libvips
        writes only a quarter of IPTC's bytes into TIFF, so the lost kinds are left out.
        """
        exif = self.has("EXIF")
        usual = math.isclose(self.resolution[0], _SCREEN_RESOLUTION, rel_tol=1e-3)
        kinds = ["XMP", "IPTC", "ICC"] if usual and not exif else ["EXIF", "XMP", "IPTC", "ICC"]
        return "|".join(kind.lower() for kind in kinds if kind == "EXIF" or kind not in format.lost)


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
    target = load_vips().Target.new_to_file(os.fsencode(path))
    return _encode(target, name, rows, format, quality, metadata)


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
    return target.get("blob"), notes


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
        image = _attach(_fit(image, holder), metadata, png=format == "png")
        saver = getattr(image, f"{holder.saver}_target")
        saver(target, keep=metadata.keep(holder), **options)

    try:
        save_rows(rows.blocks, rows.shape, rows.dtype, save)
    except EncodeError as error:
        raise encode_error(name, str(error)) from error
    notes = losses(format, rows.shape[2], rows.dtype, metadata)
    if "EXIF" not in holder.lost and len(metadata.block("EXIF") or b"") > _LARGE_EXIF:
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
    lost: list[str] = [kind for kind in holder.lost if metadata.has(kind)]
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
    if extras.tags:
        lost.append(f"TIFF's {', '.join(extras.tags)}")
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


def _attach(image: Any, metadata: Metadata, *, png: bool) -> Any:
    """A copy of the image with the metadata. Orientation is reset and the thumbnail removed."""
    xres, yres = metadata.resolution
    image = image.copy(xres=xres, yres=yres)  # only a copy may be changed
    for gtype, name, value in metadata.fields:
        image.set_type(gtype, name, value)
    if not png and image.bands > 2 and (profile := metadata.label_profile):
        image.set_type(load_vips().GValue.blob_type, _METADATA["ICC"], profile)
    # Without a colour space libvips writes "uncalibrated", which says that it is not sRGB.
    coloured = image.get_typeof(_METADATA["ICC"]) or metadata.extras.label is not None
    if not coloured and not any(tag in (metadata.block("EXIF") or b"") for tag in _COLOUR_TAGS):
        image.set_type(load_vips().GValue.gstr_type, _COLOUR_SPACE, "1 (sRGB, Short, 1, 2 bytes)")
    # Setting the EXIF block has unpacked it, with the old orientation and thumbnail.
    image.set_type(load_vips().GValue.gint_type, "orientation", 1)
    for name in image.get_fields():
        if name.startswith("exif-ifd1-") or name == "jpeg-thumbnail-data":
            image.remove(name)
    return image


def read_metadata(image: Any, extras: Extras) -> Metadata:
    """The metadata of a pyvips.Image. Savers drop a colour profile that does not fit the pixels."""
    kept = (*_METADATA.values(), "resolution-unit")
    # `get_fields` fails for names that are not UTF-8, such as keywords of PNG in Latin-1.
    types = {name: image.get_typeof(name) for name in sorted(kept)}
    fields = [(gtype, name, image.get(name)) for name, gtype in types.items() if gtype]
    fitting: dict[str, Callable[[bytes], bytes]] = {
        _METADATA["XMP"]: fitting_xmp,
        _METADATA["IPTC"]: _as_resource,
    }
    fields = [(t, name, fitting[name](v) if name in fitting else v) for t, name, v in fields]
    return Metadata(tuple(fields), _resolution(image), extras)


def _as_resource(iptc: bytes) -> bytes:
    """IPTC as JPEG holds it, in a resource of Photoshop; TIFF holds the records alone."""
    if not iptc.startswith(b"\x1c"):
        return iptc
    even = iptc + b"\0" * (len(iptc) % 2)
    return b"Photoshop 3.0\x008BIM\4\4\0\0" + len(iptc).to_bytes(4, "big") + even


def _resolution(image: Any) -> tuple[float, float]:
    """Horizontal and vertical resolution in pixels per mm.

    libvips says 1 without a resolution, and for WebP and AVIF, where only EXIF has it.
    """
    if (image.xres, image.yres) != (1, 1):
        usable = max(image.xres, image.yres) < _MAX_RESOLUTION
        return (image.xres, image.yres) if usable else (_SCREEN_RESOLUTION, _SCREEN_RESOLUTION)
    try:
        unit = 10 if image.get("exif-ifd0-ResolutionUnit").startswith("3") else 25.4
        x, y = (
            float(Fraction(image.get(f"exif-ifd0-{axis}Resolution").split()[0])) / unit
            for axis in "XY"
        )
    except (load_vips().Error, ValueError, ZeroDivisionError, IndexError):
        return _SCREEN_RESOLUTION, _SCREEN_RESOLUTION
    return (
        (x, y)
        if min(x, y) > 0 and max(x, y) < _MAX_RESOLUTION
        else (_SCREEN_RESOLUTION, _SCREEN_RESOLUTION)
    )
