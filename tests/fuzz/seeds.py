"""One small file of each format that srgan reads, and mutations of its bytes."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import tifffile
from hypothesis import strategies as st
from PIL import Image
from skimage import data

from tests.support.readers import pyvips

RGB = np.ascontiguousarray(data.astronaut()[60:90, 190:232])  # (30, 42, 3): a face
GRAY = RGB[..., 1].copy()
RGBA = np.dstack([RGB, np.linspace(0, 255, 42 * 30).reshape(30, 42).astype(np.uint8)])


def _pil(pixels: np.ndarray, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format, **options)
    return buffer.getvalue()


def _palette(format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(RGB).quantize(32).save(buffer, format, **options)
    return buffer.getvalue()


def _tiff(pixels: np.ndarray = RGB, **options: Any) -> bytes:
    buffer = io.BytesIO()
    chosen: dict[str, Any] = {"photometric": "rgb"} | options
    tifffile.imwrite(buffer, pixels, **chosen)
    return buffer.getvalue()


def _vips_tiff(**options: Any) -> bytes:
    return pyvips.Image.new_from_array(RGB).tiffsave_buffer(**options)


def _wide(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.uint16) * 257


_TILES = {"tile": True, "tile_width": 16, "tile_height": 16}

SEEDS: dict[str, Callable[[], bytes]] = {
    "png": lambda: _pil(RGBA, "PNG"),
    "png-palette": lambda: _palette("PNG", transparency=3),
    "png-16": lambda: _pil(_wide(GRAY), "PNG", dpi=(300, 300)),
    "jpeg": lambda: _pil(RGB, "JPEG", quality=90, exif=Image.Exif()),
    "jpeg-progressive": lambda: _pil(RGB, "JPEG", progressive=True),
    "webp": lambda: _pil(RGBA, "WEBP"),
    "webp-lossless": lambda: _pil(RGB, "WEBP", lossless=True),
    "avif": lambda: _pil(RGBA, "AVIF"),
    "gif": lambda: _palette("GIF"),
    "bmp": lambda: _pil(RGB, "BMP"),
    "bmp-palette": lambda: _palette("BMP"),
    "tiff": lambda: _tiff(rowsperstrip=8),
    "tiff-lzw": lambda: _vips_tiff(compression="lzw", predictor="horizontal"),
    "tiff-zlib-tiles": lambda: _tiff(tile=(16, 16), compression="zlib", predictor=True),
    "tiff-lzw-tiles": lambda: _vips_tiff(compression="lzw", **_TILES),
    "tiff-jpeg-tiles": lambda: _vips_tiff(compression="jpeg", **_TILES),
    "tiff-packbits": lambda: _vips_tiff(compression="packbits"),
    "tiff-16-big": lambda: _tiff(_wide(RGB), byteorder=">", bigtiff=True, rowsperstrip=8),
    "tiff-alpha": lambda: _tiff(RGBA, extrasamples=["unassalpha"], rowsperstrip=8),
}
"""The files by name; the name starts with the format."""


_NUMBERS = (0, 1, 2, 3, 4, 8, 16, 32, 127, 128, 255, 256, 32767, 32768, 65535, 2**31 - 1, 2**32 - 1)


@st.composite
def mutated(draw: st.DrawFn, file: bytes) -> bytes:
    """The file after one to four mutations, half of them near its start, where headers are.

    A PNG mostly gets the right checksums again: otherwise almost all mutations end there.
    """
    changed = bytearray(file)
    for _ in range(draw(st.integers(1, 4))):
        near = st.integers(0, min(200, max(len(changed) - 1, 0)))
        at = draw(near | st.integers(0, max(len(changed) - 1, 0)))
        _mutate(draw, changed, at)
    if file.startswith(b"\x89PNG") and draw(st.integers(0, 3)):
        _mend_checksums(changed)
    return bytes(changed)


def _mutate(draw: st.DrawFn, file: bytearray, at: int) -> None:
    kind = draw(st.sampled_from(["flip", "byte", "number", "zero", "noise", "cut", "drop", "copy"]))
    length = draw(st.integers(1, 64))
    if kind == "flip" and at < len(file):
        file[at] ^= 1 << draw(st.integers(0, 7))
    elif kind == "byte" and at < len(file):
        file[at] = draw(st.integers(0, 255))
    elif kind == "number":
        letter = draw(st.sampled_from(["<H", ">H", "<I", ">I"]))
        limit = 2 ** (8 * struct.calcsize(letter)) - 1
        value = struct.pack(letter, min(draw(st.sampled_from(_NUMBERS)), limit))
        file[at : at + len(value)] = value
    elif kind == "zero":
        file[at : at + length] = bytes(len(file[at : at + length]))
    elif kind == "noise":
        file[at : at + length] = draw(st.binary(min_size=1, max_size=length))
    elif kind == "cut":
        del file[at:]
    elif kind == "drop":
        del file[at : at + length]
    elif kind == "copy":
        file[at:at] = file[at : at + length]


def _mend_checksums(png: bytearray) -> None:
    at = 8
    while at + 12 <= len(png):
        (length,) = struct.unpack_from(">I", png, at)
        end = at + 8 + length
        if end + 4 > len(png):
            return
        struct.pack_into(">I", png, end, zlib.crc32(png[at + 4 : end]))
        at = end + 4
