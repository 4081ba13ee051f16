"""Reads picture files and bytes into arrays, and writes arrays, through libvips.

Reading: `open_picture` returns a `Picture`, which is indexed like an (H, W, C) array. libvips
decodes up to 100 MB of pixels into memory, and more into a temporary file that it maps.
Writing: rows from an iterator are encoded as they arrive. So memory stays flat for PNG, JPEG and
TIFF. The encoders of WebP and AVIF hold the whole picture.
"""

import errno
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from srgan.pictures.codec.decode import PIXEL_TYPES, decode
from srgan.pictures.codec.encode import Rows, encode_bytes, encode_file
from srgan.pictures.codec.extras import Extras, is_animated_gif
from srgan.pictures.codec.failure import failure
from srgan.pictures.codec.formats import (
    FORMATS,
    INPUT_FORMATS,
    PICTURE_SUFFIXES,
    WRITTEN_FORMATS,
    check_output,
    formats_that_hold,
    output_format,
)
from srgan.pictures.codec.metadata import Metadata, read_metadata
from srgan.pictures.codec.rowstream import load_vips, reading
from srgan.pictures.files import (
    PictureError,
    SizeError,
    StorageError,
    TooManyPixelsError,
    UnknownFormatError,
    make_folder,
    new_file,
    read_error,
)
from srgan.pictures.options import DEFAULT_MAX_PIXELS

__all__ = [
    "FORMATS",
    "INPUT_FORMATS",
    "PICTURE_SUFFIXES",
    "WRITTEN_FORMATS",
    "Picture",
    "PictureError",
    "SizeError",
    "StorageError",
    "TooManyPixelsError",
    "UnknownFormatError",
    "check_output",
    "encode_picture",
    "formats_that_hold",
    "is_animated_gif",
    "make_folder",
    "open_picture",
    "output_format",
    "write_picture",
]


@dataclass(frozen=True, eq=False)
class Picture:
    """An open picture: upright, gray or RGB, with or without alpha (not premultiplied).

    `picture[top:bottom, left:right]` is an array (h, w, bands) of `dtype`. The first access
    decodes the pixels. Threads must not share a picture.

    Attributes:
        name: the path, or the name that was given with bytes.
        shape: height, width, bands. 1 band is gray, 2 gray and alpha, 3 RGB, 4 RGBA.
        dtype: uint8 or uint16.
        format: of the source, one of INPUT_FORMATS, "heic" or "jxl".
        notes: for the user: conversions, and parts of the source that were left out.
        image: the pyvips.Image, with the source's metadata.
        source: the path or the bytes.
        extras: what libvips does not pass on of the source.
    """

    name: str
    shape: tuple[int, int, int]
    dtype: np.dtype
    format: str
    notes: tuple[str, ...]
    image: Any = field(repr=False)
    source: Path | bytes = field(repr=False)
    extras: Extras = field(repr=False)
    _region: Any = field(repr=False)
    _handle: Any = field(repr=False)  # the source from which libvips reads, kept open

    def open_file(self) -> BinaryIO:
        """Open the source file, undecoded, at its first byte."""
        return _file_of(self.source)

    @property
    def metadata_names(self) -> list[str]:
        """The kinds of metadata that the source has: "ICC", "EXIF", "XMP", "IPTC", "text", ..."""
        return _metadata(self).names

    def __getitem__(self, window: tuple[slice, slice]) -> np.ndarray:
        """The pixels of a window, (h, w, bands).

        Raises:
            PictureError: the file is damaged.
        """
        rows, columns = window
        top, bottom, _ = rows.indices(self.shape[0])
        left, right, _ = columns.indices(self.shape[1])
        size = (max(bottom - top, 0), max(right - left, 0), self.shape[2])
        if 0 in size:
            return np.empty(size, self.dtype)
        vips = load_vips()
        try:
            with reading:
                vips.vips_lib.vips_error_clear()
                pixels = self._region.fetch(left, top, size[1], size[0])
        except (vips.Error, UnicodeDecodeError) as error:
            raise failure(self.name, self.format, self.source, error) from error
        return np.frombuffer(pixels, self.dtype).reshape(size)


def open_picture(
    source: Path | bytes, max_pixels: int = DEFAULT_MAX_PIXELS, *, name: str = "<bytes>"
) -> Picture:
    """Open a picture file, or the bytes of one. Its content tells the format, not its suffix.

    This reads and checks only the header, except for what Pillow reads.

    Args:
        max_pixels: the limit for width x height.
        name: of bytes, for messages.

    Raises:
        UnknownFormatError: the file is not a picture of a format that srgan reads.
        TooManyPixelsError: the picture has more than `max_pixels` pixels.
        PictureError: the file is damaged or cannot be read.
    """
    name = name if isinstance(source, bytes) else str(source)
    try:
        if not isinstance(source, bytes):
            _check_is_file(source)
        with _file_of(source) as file:
            # libvips has limits of its own. A user who raises srgan's limit means theirs, too.
            unlimited = max_pixels > DEFAULT_MAX_PIXELS
            with reading:
                found = decode(name, source, file, max_pixels, unlimited=unlimited)
    except OSError as error:
        raise read_error(name, error) from error
    image = found.image
    return Picture(
        name,
        (image.height, image.width, image.bands),
        PIXEL_TYPES[image.format],
        found.format,
        found.notes,
        image,
        source,
        found.extras,
        found.region,
        found.handle,
    )


def _file_of(source: Path | bytes) -> BinaryIO:
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")


def _check_is_file(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if path.exists() and not path.is_file():  # opening a pipe would wait forever
        raise PictureError(f"{path}: it is not an ordinary file: give a picture file")


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
    """Write `rows` to `path` as they arrive; return notes on what the format cannot hold.

    The file appears whole or not at all.

    Args:
        rows: blocks (h_i, W, C), from top to bottom; their heights sum to H. They are produced in
            the calling thread, after the path has been checked. Alpha is not premultiplied.
        shape: (H, W, C), with C as in `Picture`.
        dtype: uint8 or uint16.
        format: a key of FORMATS.
        quality: 1 to 100, for lossy formats; None for the format's default.
        source: the picture whose ICC profile, EXIF, XMP, IPTC, resolution, colour labels
            and text are copied.
        overwrite: replace an existing file.

    Raises:
        PictureError: the file exists, cannot be written, or cannot hold the picture. Errors of
            the rows pass unchanged.
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
    """The bytes of the file that `write_picture` would write, and its notes.

    Args:
        name: the picture's, for errors. The other arguments are as in `write_picture`.

    Raises:
        PictureError: the format cannot hold the picture. Errors of the rows pass unchanged.
    """
    check_output(format, shape[1], shape[0], name)
    return encode_bytes(name, Rows(rows, shape, dtype), format, quality, _metadata(source))


def _metadata(source: Picture | None) -> Metadata:
    return Metadata() if source is None else read_metadata(source.image, source.extras)
