"""Opens picture files of every input format as upright gray or RGB images of libvips."""

import contextlib
import functools
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from srgan.pictures.codec.exif import with_metadata
from srgan.pictures.codec.extras import Extras, read_extras
from srgan.pictures.codec.failure import failure
from srgan.pictures.codec.formats import INPUT_FORMATS, recognise
from srgan.pictures.codec.jpeg_header import JpegHeader, read_header
from srgan.pictures.codec.misread import cmyk_to_srgb, unreadable
from srgan.pictures.codec.proof import DamageError, check_pixels, messages
from srgan.pictures.codec.rowstream import load_vips
from srgan.pictures.codec.tiff import Directory, read_directory
from srgan.pictures.codec.xmp import has_gain_map
from srgan.pictures.files import (
    PictureError,
    TooManyPixelsError,
    UnknownFormatError,
    decode_error,
)

MAX_SIDE = 1_000_000  # pixels: a row of a wider picture's SR would be 48 MB and more
CheckSize = Callable[[int, int], None]  # of width and height; raises PictureError
# The pixel types that srgan reads, by libvips' names.
PIXEL_TYPES = {"uchar": np.dtype(np.uint8), "ushort": np.dtype(np.uint16)}


@dataclass(frozen=True)
class Decoded:
    """An opened picture.

    Attributes:
        image: a pyvips.Image, upright, 1 to 4 bands of a type in PIXEL_TYPES.
        format: of the source, as `recognise` names it.
        notes: for the user: conversions, and parts of the source that were left out.
        region: the pyvips.Region that decodes windows of the image.
        handle: the pyvips.Source from which libvips reads; None for what Pillow reads.
        extras: what libvips does not pass on.
    """

    image: Any
    format: str
    notes: tuple[str, ...]
    region: Any
    handle: Any
    extras: Extras


def decode(
    name: str, source: Path | bytes, file: BinaryIO, max_pixels: int, *, unlimited: bool
) -> Decoded:
    """Open a picture. This reads and checks only the header, except for what Pillow reads.

    Args:
        name: the picture's, for errors.
        file: `source`, open at its first byte.
        max_pixels: the limit for width x height.
        unlimited: switch off libvips' own limits on the size.

    Raises:
        PictureError: see `images.open_picture`.
    """
    format = _format(name, file.read(64))
    file.seek(0)
    vips = load_vips()
    vips.vips_lib.vips_error_clear()
    check = functools.partial(_check_size, name, max_pixels)
    handle: Any = None
    directory: Directory | None = None
    header: JpegHeader | None = None
    try:
        if format == "tiff":
            directory = _read_whole_tiff(name, file)
            file.seek(0)
        image = _load_with_pillow(name, format, file, directory, check)
        if image is None:
            if format == "jpeg":
                header = read_header(file)
                source = header.mended or source
            handle = (
                vips.Source.new_from_memory(source)
                if isinstance(source, bytes)
                else vips.Source.new_from_file(os.fsencode(source))
            )
            image, known = _load(handle, format, directory, unlimited=unlimited)
            check(image.width, image.height)
            if header is not None and header.padded:
                image = _without_padding(handle, image)
            if known is not None:
                check_pixels(image, known)
        file.seek(0)
        extras = read_extras(file, format, header, directory)
        image = with_metadata(image, extras)
        if image.get_typeof("xmp-data") and has_gain_map(image.get("xmp-data")):
            extras = replace(extras, gain_map=True)
        if format != "tiff" and image.get_typeof("n-pages"):
            extras = replace(extras, frames=max(extras.frames, image.get("n-pages")))
        image, notes = _normalise(name, image, format, directory)
        region = vips.Region.new(image)
    except DamageError as error:
        raise decode_error(name, str(error)) from error
    except (vips.Error, UnicodeDecodeError) as error:
        raise failure(name, format, source, error) from error
    return Decoded(image, format, (*extras.notes, *notes), region, handle, extras)


def _format(name: str, head: bytes) -> str:
    """The format by content. So libvips' other loaders (SVG, PDF, ...) are never reached."""
    if not head:
        raise UnknownFormatError(f"{name}: the file is empty: get a fresh copy")
    format = recognise(head)
    if format is None:
        known = ", ".join(INPUT_FORMATS)
        raise UnknownFormatError(
            f"{name}: not a picture srgan can read: convert it to one of {known}"
        )
    return format


def _load(
    source: Any, format: str, directory: Directory | None, *, unlimited: bool
) -> tuple[Any, set[str] | None]:
    """A pyvips.Image. libvips decodes it later.

    Returns:
        The image, and what libvips said if the pixels need a proof; else None.
    """
    loader = {"avif": "heif"}.get(format, format)
    load = getattr(load_vips().Image, f"{loader}load_source")
    options: dict[str, Any] = {"access": "random", "fail_on": "truncated"}
    if directory is not None:
        # Without "unlimited" libvips refuses strips of more than 50 MB, which scanners write; the
        # limit on pixels protects instead.
        return _load_tiff(lambda level: load(source, fail_on=level, unlimited=True), directory)
    if format == "jpeg":
        options["fail_on"] = "warning"  # with less, a JPEG that ends early is half gray
    elif format == "gif":
        options["fail_on"] = "warning"  # with less, damaged frames are black
    elif format in ("png", "avif"):
        options["unlimited"] = unlimited
    if format == "png":
        options["fail_on"] = "error"  # with less, wrong checksums of sizes and palettes pass
    return load(source, **options), None


def _without_padding(source: Any, image: Any) -> Any:
    """A JPEG, opened so that libvips accepts bytes between its last scan and its end."""
    try:
        image.avg()  # decodes all
    except load_vips().Error as error:
        # libjpeg tells its first warning only. Nothing that follows this one has pixels.
        if "extraneous bytes before marker 0xd9" not in error.detail.partition("\n")[0]:
            raise
        return load_vips().Image.jpegload_source(source, access="random", fail_on="truncated")
    return image


def _load_tiff(load: Callable[[str], Any], directory: Directory) -> tuple[Any, set[str] | None]:
    """As `_load`. With less than "warning" libvips reads damaged tiles as black."""
    if not directory.old_lzw:
        with contextlib.suppress(load_vips().Error, UnicodeDecodeError):
            with messages() as said:
                image = load("warning")
            if not said:
                # libvips decodes tiles of JPEG by itself, and ignores libjpeg's warnings there.
                return image, set() if directory.first(259, 1) == 7 else None
    with messages() as said:
        image = load("error")
    if any("TIFF_SETGET_UNDEFINED" in text for text in said):
        # A tag of an unknown type: TIFF 6.0, page 16, tells readers to skip it.
        image = load("truncated")
    return image, said


def _load_with_pillow(
    name: str, format: str, file: BinaryIO, directory: Directory | None, check: CheckSize
) -> Any:
    """A pyvips.Image of a file that libvips cannot read; None if it can."""
    if format not in ("bmp", "heic", "jxl") and not (directory and _needs_pillow(directory)):
        return None
    from srgan.pictures.codec import pillow

    if format == "bmp":
        return pillow.read_bmp(name, file, check)
    if directory is not None:
        return pillow.read_tiff(name, file, directory, check)
    return pillow.read_with_plugin(name, format, file, check)


def _needs_pillow(directory: Directory) -> bool:
    """Whether only Pillow reads a TIFF: tiles of separate planes, or gray of 12 bits."""
    gray_12_bit = directory.values.get(258) == (12,) and directory.samples == 1
    return (directory.planar_tiles and directory.samples > 1) or gray_12_bit


def _check_size(name: str, max_pixels: int, width: int, height: int) -> None:
    if width * height > max_pixels:
        raise TooManyPixelsError(
            f"{name}: {width:,} x {height:,} pixels are more than the limit of {max_pixels:,}"
        )
    if max(width, height) > MAX_SIDE:
        raise PictureError(
            f"{name}: {width:,} x {height:,} pixels: no side may be longer than {MAX_SIDE:,}; "
            "cut it into parts"
        )


def _read_whole_tiff(name: str, file: BinaryIO) -> Directory:
    """The first directory of a TIFF. libvips reads missing tiles as black, so check its end.

    Raises:
        PictureError: the file is cut short, or of a kind that libvips reads wrongly.
    """
    try:
        directory = read_directory(file)
        missing = directory.pixels_end > file.seek(0, os.SEEK_END)
    except (struct.error, OverflowError, MemoryError, ValueError):
        missing, directory = True, None
    if missing or directory is None:
        raise decode_error(name, "premature end")
    reason = unreadable(directory)
    if reason is not None:
        raise PictureError(f"{name}: {reason}")
    return directory


def _normalise(
    name: str, image: Any, format: str, directory: Directory | None
) -> tuple[Any, tuple[str, ...]]:
    """Convert an image to upright gray or RGB, 8 or 16 bits, at most one alpha.

    Args:
        directory: of a TIFF: it says which channels are alpha.

    Returns:
        The image, and a note for the user on each conversion that loses something.
    """
    notes: list[str] = []
    pages = image.get("n-pages") if image.get_typeof("n-pages") else 1
    if pages > 1 and format == "tiff":
        notes.append(f"only the first of {pages} pages is used")
    image = _without_extras(image.autorot(), directory, notes)
    if directory is not None:
        image = _from_ycbcr(name, image, directory)
    if image.interpretation == "cmyk" and image.format in PIXEL_TYPES:
        notes.append("CMYK converted to sRGB")
        image = cmyk_to_srgb(image)
    elif image.interpretation in ("lab", "labs", "labq", "lch", "xyz", "yxy"):
        notes.append(f"{image.interpretation.upper()[:3]} converted to 16-bit sRGB")
        image = image.colourspace("rgb16")
    if image.format not in PIXEL_TYPES:
        raise PictureError(
            f"{name}: its pixels are of type {image.format}: save it with 8 or 16 bits a channel"
        )
    spaces = ("b-w", "grey16") if image.bands < 3 else ("srgb", "rgb16")
    return image.copy(interpretation=spaces[image.format == "ushort"]), tuple(notes)


def _without_extras(image: Any, directory: Directory | None, notes: list[str]) -> Any:
    """Leave out the channels that are neither colour nor alpha, with a note.

    In TIFF the tag ExtraSamples says which channel is alpha. Others are spot colours, selections,
    or near infrared.
    """
    if image.interpretation == "cmyk":
        colours, kind = 4, "CMYK"
    elif image.bands < 3 or image.interpretation in ("b-w", "grey16"):
        colours, kind = 1, "gray"
    else:
        colours, kind = 3, "RGB"
    extras = range(image.bands - colours)
    if not extras:
        return image
    if directory is None:
        alphas = [0]
    elif directory.first(262, 1) == 3:  # a palette's one sample has become three colours
        alphas = [0] if directory.is_alpha(0) else []
    elif directory.samples < image.bands:  # libvips made an alpha up
        return image.extract_band(0, n=colours)
    else:
        alphas = [extra for extra in extras if directory.is_alpha(extra)]
    if alphas and len(extras) == 1:
        return image
    kind += " and alpha" if alphas else ""
    notes.append(f"only the {kind} of {image.bands} channels is used")
    kept = image.extract_band(0, n=colours)
    return kept.bandjoin(image.extract_band(colours + alphas[0])) if alphas else kept


def _from_ycbcr(name: str, image: Any, directory: Directory) -> Any:
    """RGB of a TIFF in YCbCr (BT.601, full range). libvips converts it only inside of JPEG."""
    if directory.first(262, 2) != 6 or directory.first(259, 1) in (6, 7) or image.bands != 3:
        return image
    if directory.values.get(530, (1, 1)) != (1, 1) or image.format != "uchar":
        raise PictureError(f"{name}: YCbCr of this kind cannot be read: save it as RGB")
    rows = [[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]]
    return (image - [0, 128, 128]).recomb(rows).rint().cast("uchar")
