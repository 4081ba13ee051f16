"""Other readers of picture files, to compare with: Pillow, libvips at its strictest, tifffile."""

import io
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import tifffile
from PIL import Image, ImageOps

from srgan.pictures.codec.rowstream import load_vips

pyvips: Any = load_vips()  # first, as in use: libvips takes its log level when it is loaded


def rgba(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 1 to 4) uint8 or uint16 to (H, W, 4) float32 in [0, 255]."""
    values = pixels.astype(np.float32) / (257 if pixels.dtype == np.uint16 else 1)
    opaque = np.full((*values.shape[:2], 1), 255, np.float32)
    colours = values[..., :3] if values.shape[2] > 2 else np.repeat(values[..., :1], 3, 2)
    return np.dstack([colours, values[..., -1:] if values.shape[2] in (2, 4) else opaque])


def readings(file: bytes) -> Iterator[np.ndarray]:
    """The picture as each of the other readers gives it that can read the file, as in `rgba`."""
    for read in (_pillow, _libvips, _tifffile):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                picture = read(file)
        except Exception:  # readers raise all kinds of errors for damaged files
            continue
        if picture is not None:
            yield picture


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """The mean difference of two pictures of `rgba`, in levels; infinite if their sizes differ.

    Colour counts as much as it is visible.
    """
    if one.shape != other.shape:
        return float("inf")
    colour = np.abs(one[..., :3] * one[..., 3:] - other[..., :3] * other[..., 3:]) / 255
    return float(max(colour.mean(), np.abs(one[..., 3] - other[..., 3]).mean()))


def from_pillow(image: Image.Image) -> np.ndarray:
    """A picture of Pillow's, of any mode, as in `rgba`."""
    if image.mode.startswith("I;16"):
        return rgba(np.asarray(image).astype(np.uint16)[..., None])
    if image.mode == "I":  # 16 bits, in files
        return rgba(np.asarray(image).clip(0, 65535).astype(np.uint16)[..., None])
    if image.mode in ("LAB", "HSV", "YCbCr", "RGBX", "CMYK"):
        image = image.convert("RGB")
    elif image.mode in ("La", "RGBa"):
        image = image.convert(image.mode.upper())
    return np.asarray(image.convert("RGBA"), np.float32)


def _pillow(file: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(file)) as image:
        image.load()
        return from_pillow(ImageOps.exif_transpose(image))


def _libvips(file: bytes) -> np.ndarray:
    """Each warning is an error."""
    image = pyvips.Image.new_from_buffer(file, "", fail_on="warning").autorot()
    if image.interpretation not in ("multiband", "b-w", "grey16", "srgb", "rgb16"):
        image = image.colourspace("srgb")
    pixels = image.numpy()
    return rgba(pixels if pixels.ndim == 3 else pixels[..., None])


def _tifffile(file: bytes) -> np.ndarray | None:
    if file[:2] not in (b"II", b"MM"):
        return None
    page: Any = tifffile.TiffFile(io.BytesIO(file)).pages[0]
    pixels = page.asarray()
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        pixels = np.iinfo(pixels.dtype).max - pixels
    if page.planarconfig == 2 and pixels.ndim == 3:
        pixels = np.moveaxis(pixels, 0, -1)
    return rgba(pixels if pixels.ndim == 3 else pixels[..., None])
