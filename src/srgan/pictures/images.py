"""Picture files and bytes to arrays and back, through libvips.

Reading: windows of a `Picture`, which indexes like an (H, W, C) array. libvips decodes up to
100 MB of pixels into memory and more into a temporary file that it maps.
Writing: rows from an iterator are encoded as they come, so memory stays flat for PNG, JPEG and
TIFF; the WebP and AVIF encoders hold the whole picture.
"""

import errno
import io
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from srgan.pictures.codec.encode import Metadata, Rows, encode_bytes, encode_file, read_metadata
from srgan.pictures.codec.formats import FORMATS, PICTURE_SUFFIXES, check_output, output_format
from srgan.pictures.codec.rowstream import load_vips
from srgan.pictures.codec.tiff import pixels_end
from srgan.pictures.files import (
    PictureError,
    StorageError,
    TooManyPixelsError,
    UnknownFormatError,
    decode_error,
    make_folder,
    new_file,
    read_error,
)
from srgan.pictures.options import DEFAULT_MAX_PIXELS

__all__ = [
    "FORMATS",
    "PICTURE_SUFFIXES",
    "Picture",
    "PictureError",
    "StorageError",
    "TooManyPixelsError",
    "UnknownFormatError",
    "check_output",
    "encode_picture",
    "make_folder",
    "open_picture",
    "output_format",
    "write_picture",
]

_PIXEL_TYPES = {"uchar": np.dtype(np.uint8), "ushort": np.dtype(np.uint16)}


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture, upright and in gray or RGB, each with or without straight alpha.

    `picture[top:bottom, left:right]` is an array (h, w, bands) of `dtype`; pixels are decoded at
    the first one. Not to be shared between threads.
    """

    name: str  # the path, or the name given with bytes
    shape: tuple[int, int, int]  # height, width, bands; 1 gray, 2 gray + alpha, 3 RGB, 4 RGBA
    dtype: np.dtype  # uint8 or uint16
    format: str  # the source's: jpeg, png, webp, tiff, gif, avif, heic or bmp
    notes: tuple[str, ...]  # for the user: what was left out or converted
    image: Any = field(repr=False)  # the pyvips.Image, with the source's metadata
    source: Path | bytes = field(repr=False)
    _region: Any = field(repr=False)
    _handle: Any = field(repr=False)  # what libvips reads from

    def open_file(self) -> BinaryIO:
        """The file as it is, from its first byte."""
        return _file_of(self.source)

    def __getitem__(self, window: tuple[slice, slice]) -> np.ndarray:
        """Raises PictureError where the file turns out to be damaged."""
        rows, columns = window
        top, bottom, _ = rows.indices(self.shape[0])
        left, right, _ = columns.indices(self.shape[1])
        size = (max(bottom - top, 0), max(right - left, 0), self.shape[2])
        if 0 in size:
            return np.empty(size, self.dtype)
        vips = load_vips()
        vips.vips_lib.vips_error_clear()
        try:
            pixels = self._region.fetch(left, top, size[1], size[0])
        except vips.Error as error:
            raise decode_error(self.name, self.format, error.detail) from error
        return np.frombuffer(pixels, self.dtype).reshape(size)


def open_picture(
    source: Path | bytes, max_pixels: int = DEFAULT_MAX_PIXELS, *, name: str = "<bytes>"
) -> Picture:
    """Open a picture file, or the bytes of one, whatever its suffix says.

    Only the header is read and checked here, except for BMP. `name`: what messages call bytes.
    Raises PictureError for what is damaged or cannot be read, UnknownFormatError for what is not
    a picture, TooManyPixelsError for more than `max_pixels`.
    """
    name = name if isinstance(source, bytes) else str(source)
    try:
        if not isinstance(source, bytes):
            _check_is_file(source)
        with _file_of(source) as file:
            return _open(name, source, file, max_pixels)
    except OSError as error:
        raise read_error(name, error) from error


def _file_of(source: Path | bytes) -> BinaryIO:
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")


def _check_is_file(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if path.exists() and not path.is_file():  # opening a pipe would wait for ever
        raise PictureError(f"{path}: it is no ordinary file: give a picture file")


def _open(name: str, source: Path | bytes, file: BinaryIO, max_pixels: int) -> Picture:
    format = _sniff(name, file.read(64))
    file.seek(0)
    vips = load_vips()
    vips.vips_lib.vips_error_clear()
    handle: Any = None
    try:
        if format == "bmp":
            image = _read_bmp(name, file, max_pixels)
        else:
            if format == "tiff":
                _check_tiff_is_whole(name, file)
            handle = (
                vips.Source.new_from_memory(source)
                if isinstance(source, bytes)
                else vips.Source.new_from_file(os.fsencode(source))
            )
            image = _load(handle, format, max_pixels)
            _check_size(name, image.width, image.height, max_pixels)
        image, notes = _normalise(name, image, format)
        region = vips.Region.new(image)
        if format == "heic":
            region.fetch(0, 0, 1, 1)  # known only by trying: the codec may be missing
    except vips.Error as error:
        raise decode_error(name, format, error.detail) from error
    shape = (image.height, image.width, image.bands)
    dtype = _PIXEL_TYPES[image.format]
    return Picture(name, shape, dtype, format, notes, image, source, region, handle)


def _sniff(name: str, head: bytes) -> str:
    """The format by content. libvips' other loaders (SVG, PDF, ...) are never reached."""
    if not head:
        raise UnknownFormatError(f"{name}: the file is empty: get a fresh copy")
    for start, format in (
        (b"\xff\xd8\xff", "jpeg"),
        (b"\x89PNG\r\n\x1a\n", "png"),
        (b"GIF8", "gif"),
        (b"II*\0", "tiff"),
        (b"MM\0*", "tiff"),
        (b"II+\0", "tiff"),
        (b"MM\0+", "tiff"),
        (b"BM", "bmp"),
    ):
        if head.startswith(start):
            return format
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp":
        brands = head[8 : int.from_bytes(head[:4], "big")]
        if b"avif" in brands or b"avis" in brands:
            return "avif"
        if any(brand in brands for brand in (b"heic", b"heix", b"hevc", b"hevx", b"mif1")):
            return "heic"
    known = ", ".join((*FORMATS, "gif", "bmp"))
    raise UnknownFormatError(f"{name}: not a picture srgan can read: convert it to one of {known}")


def _load(source: Any, format: str, max_pixels: int) -> Any:
    loader = {"heic": "heif", "avif": "heif"}.get(format, format)
    options: dict[str, Any] = {"access": "random", "fail_on": "truncated"}
    if format == "tiff":
        # libvips takes a TIFF's missing strips for black below "error". Without "unlimited" it
        # refuses strips of more than 50 MB, which scanners write; the pixel limit holds instead.
        options |= {"fail_on": "error", "unlimited": True}
    elif format in ("png", "avif", "heic"):
        options["unlimited"] = max_pixels > DEFAULT_MAX_PIXELS
    return getattr(load_vips().Image, f"{loader}load_source")(source, **options)


def _check_size(name: str, width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise TooManyPixelsError(
            f"{name}: {width:,} x {height:,} pixels are more than the limit of {max_pixels:,}: "
            f"raise it with --max-pixels"
        )


def _check_tiff_is_whole(name: str, file: BinaryIO) -> None:
    """libvips takes the missing tiles of a TIFF for black, whatever it is told."""
    try:
        missing = pixels_end(file) > file.seek(0, os.SEEK_END)
    except (struct.error, OverflowError, MemoryError, ValueError):
        missing = True
    if missing:
        raise decode_error(name, "tiff", "premature end")


def _read_bmp(name: str, file: BinaryIO, max_pixels: int) -> Any:
    """BMP through Pillow, whole, since libvips has no loader of its own for it."""
    from PIL import BmpImagePlugin

    try:
        # Not Image.open, whose own limit on pixels is lower than ours.
        picture = BmpImagePlugin.BmpImageFile(file)
        _check_size(name, picture.width, picture.height, max_pixels)
        mode = {"1": "L", "L": "L", "RGBA": "RGBA"}.get(picture.mode, "RGB")
        pixels = np.asarray(picture.convert(mode))
    except (OSError, SyntaxError, ValueError, struct.error) as error:
        raise decode_error(name, "bmp", str(error)) from error
    image = load_vips().Image.new_from_array(pixels)
    dpi = picture.info.get("dpi", (72, 72))
    return image.copy(xres=dpi[0] / 25.4, yres=dpi[1] / 25.4)


def _normalise(name: str, image: Any, format: str) -> tuple[Any, tuple[str, ...]]:
    """Upright gray or RGB of 8 or 16 bits with at most one alpha, and what was done to get it."""
    notes: list[str] = []
    pages = image.get("n-pages") if image.get_typeof("n-pages") else 1
    if pages > 1:
        unit = "pages" if format == "tiff" else "frames"
        notes.append(f"only the first of {pages} {unit} is used")
    image = image.autorot()
    if image.interpretation == "cmyk":
        notes.append("CMYK converted to sRGB")
        image = image.icc_transform(
            "srgb",
            embedded=True,
            input_profile="cmyk",
            intent="relative",
            black_point_compensation=True,
            depth=16 if image.format == "ushort" else 8,
        )
    elif image.interpretation in ("lab", "labs", "labq", "lch", "xyz", "yxy"):
        notes.append(f"{image.interpretation.upper()[:3]} converted to 16-bit sRGB")
        image = image.colourspace("rgb16")
    if image.format not in _PIXEL_TYPES:
        raise PictureError(
            f"{name}: its pixels are of type {image.format}: save it with 8 or 16 bits a channel"
        )
    colours = 1 if image.bands < 3 or image.interpretation in ("b-w", "grey16") else 3
    if image.bands > 4 or (colours == 1 and image.bands > 2):
        kind = "gray" if colours == 1 else "RGB"
        notes.append(f"only the {kind} of {image.bands} channels is used")
        image = image.extract_band(0, n=colours)
    spaces = ("b-w", "grey16") if image.bands < 3 else ("srgb", "rgb16")
    return image.copy(interpretation=spaces[image.format == "ushort"]), tuple(notes)


def write_picture(
    path: Path,
    rows: Iterable[np.ndarray],
    shape: tuple[int, int, int],
    dtype: np.dtype,
    *,
    format: str,
    quality: int | None = None,
    source: Picture | None = None,
    overwrite: bool = False,
) -> list[str]:
    """Write `rows` to `path` as they come, whole or not at all; return notes for the user.

    rows: blocks (h_i, W, C) of `dtype`, top to bottom, their heights summing to H of `shape`
    (H, W, C); C as in `Picture`, alpha straight. They are produced in the calling thread, after
    the path has been checked; an exception they raise propagates. quality: 1 to 100, for JPEG,
    WebP and AVIF. source: where the ICC profile, EXIF, XMP, IPTC and resolution come from.
    Raises PictureError.
    """
    check_output(format, shape[1], shape[0], str(path))
    metadata = _metadata(source)
    with new_file(path, overwrite) as temporary:
        return encode_file(
            temporary, str(path), Rows(rows, shape, dtype), format, quality, metadata
        )


def encode_picture(
    name: str,
    rows: Iterable[np.ndarray],
    shape: tuple[int, int, int],
    dtype: np.dtype,
    *,
    format: str,
    quality: int | None = None,
    source: Picture | None = None,
) -> tuple[bytes, list[str]]:
    """The bytes that `write_picture` would write, and its notes.

    name: what errors call the picture. All else as in `write_picture`.
    """
    check_output(format, shape[1], shape[0], name)
    return encode_bytes(name, Rows(rows, shape, dtype), format, quality, _metadata(source))


def _metadata(source: Picture | None) -> Metadata:
    return Metadata() if source is None else read_metadata(source.image)
