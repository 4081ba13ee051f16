"""All that Pillow writes in the formats that srgan reads."""

import io
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from tests.support.readers import from_pillow
from tests.support.written import (
    ALPHA,
    EXACT,
    GRAY,
    ICC,
    LOSSY,
    RGB,
    RGBA,
    Written,
    named,
    one_by_one,
)

_TEXT = PngImagePlugin.PngInfo()
_TEXT.add_text("Title", "a face")
_TEXT.add_itxt("Comment", "ein Gesicht", zip=True)


def _turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[274] = orientation
    return exif


_EXIF = {"exif": [_turned(n) for n in range(1, 9)]}
_COMMON: dict[str, list[Any]] = {
    "icc_profile": [ICC],
    "dpi": [(300, 300)],
    "save_all": [True],
}
_ANY_COMPRESSION = [
    "raw",
    "tiff_lzw",
    "tiff_adobe_deflate",
    "tiff_deflate",
    "packbits",
    "zstd",
    "lzma",
]
# Pillow 12.3 damages its memory with WebP in TIFF, and when libtiff refuses a mode: not tried here.
_COMPRESSED_MODES = {
    "jpeg": ("L", "RGB", "CMYK", "YCbCr"),
    "group3": ("1",),
    "group4": ("1",),
    "tiff_ccitt": ("1",),
}
_PILLOW_OPTIONS: dict[str, dict[str, list[Any]]] = {
    "PNG": _COMMON
    | _EXIF
    | {
        "optimize": [True],
        "compress_level": [0, 1, 9],
        "bits": [1, 2, 4, 8],
        "transparency": [0, 7, bytes(range(255)), (1, 2, 3)],
        "pnginfo": [_TEXT],
    },
    "JPEG": _COMMON
    | _EXIF
    | {
        "quality": [5, 50, 95, 100, "web_low", "maximum"],
        "subsampling": [0, 1, 2, "4:1:1"],
        "progressive": [True],
        "optimize": [True],
        "keep_rgb": [True],
        "restart_marker_blocks": [1],
        "restart_marker_rows": [1],
        "smooth": [50],
        "comment": [b"a face"],
        "qtables": ["web_high"],
    },
    "WEBP": _COMMON
    | _EXIF
    | {
        "lossless": [True],
        "exact": [True],
        "quality": [1, 50, 100],
        "alpha_quality": [0, 50],
        "method": [0, 6],
        "minimize_size": [True],
        "background": [(1, 2, 3, 4)],
    },
    "TIFF": _COMMON
    | _EXIF
    | {
        "compression": [*_ANY_COMPRESSION, *_COMPRESSED_MODES],
        "big_tiff": [True],
        "strip_size": [1, 1000],
        "quality": [50],
        "tiffinfo": [{317: 2}, {274: 6}],
    },
    "AVIF": _COMMON
    | _EXIF
    | {
        "quality": [10, 100],
        "subsampling": ["4:4:4", "4:2:2", "4:2:0", "4:0:0"],
        "range": ["full", "limited"],
        "speed": [0, 10],
        "alpha_premultiplied": [True],
        "autotiling": [False],
        "tile_rows": [1],
    },
    "GIF": _COMMON
    | {
        "interlace": [0, 1],
        "optimize": [True],
        "transparency": [0, 7],
        "disposal": [1, 2, 3],
        "loop": [0],
        "background": [7],
        "comment": [b"a face"],
    },
    "BMP": _COMMON | {"bits": [1, 4, 8]},
    "MPO": {"quality": [95], "save_all": [True]},
}
PILLOW_MODES = [
    *("1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "LA", "PA"),
    *("RGBX", "RGBa", "La", "I;16", "I;16L", "I;16B"),
]


def _pillow_image(mode: str) -> Image.Image:
    if mode.startswith("I;16"):
        pixels = GRAY.astype(">u2" if mode == "I;16B" else "<u2") * 257
        return Image.frombytes(mode, GRAY.shape[::-1], pixels.tobytes())
    if mode == "I":
        return Image.fromarray(GRAY.astype(np.int32) * 257)
    if mode == "P":
        return Image.fromarray(RGB).quantize(100)
    if mode == "PA":
        return Image.fromarray(RGBA).convert("PA")
    if mode == "LAB":
        profiles = (ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"))
        return ImageCms.profileToProfile(Image.fromarray(RGB), *profiles, outputMode="LAB")  # type: ignore
    if mode in ("La", "LA"):
        return Image.fromarray(np.dstack([GRAY, ALPHA])).convert(mode)
    alpha = mode in ("RGBA", "RGBa")
    return Image.fromarray(RGBA if alpha else RGB).convert(mode)


def written_by_pillow(format: str, mode: str) -> Iterator[Written]:
    """The files of one format and mode that Pillow writes."""
    image = _pillow_image(mode)
    lossless = format in ("PNG", "TIFF", "GIF", "BMP")
    slow = format == "AVIF" and mode not in ("L", "RGB", "RGBA")
    for options in one_by_one({} if slow else _PILLOW_OPTIONS[format]):
        buffer = io.BytesIO()
        more: dict[str, Any] = {"speed": 10} if format == "AVIF" else {}
        if "save_all" in options:
            more["append_images"] = [image.rotate(180)]
        if mode not in _COMPRESSED_MODES.get(options.get("compression", ""), PILLOW_MODES):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image.save(buffer, format, **more | options)
                file = buffer.getvalue()
                # Palettes, transparency and orientation: Pillow says what it has written.
                coarse = format in ("GIF", "BMP") or options
                if mode == "YCbCr" and format == "TIFF":  # Pillow reads them as RGB
                    if {"exif", "tiffinfo"} & set(options):
                        continue
                    coarse = options.get("compression") == "jpeg"
                again = _read_by_pillow(file) if coarse else None
        except Exception:
            continue  # Pillow does not write this
        pixels = from_pillow(image) if again is None else again
        close = EXACT if lossless and mode != "CMYK" else LOSSY
        yield Written(named("pillow", format, mode, options), file, pixels, close)


def _read_by_pillow(file: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(file)) as image:
        image.load()
        return from_pillow(ImageOps.exif_transpose(image))


PILLOW_FORMATS = tuple(_PILLOW_OPTIONS)
