"""Conversions of images as pure functions on arrays: number types, gray, alpha, PIL images."""

from collections.abc import Iterable, Iterator
from functools import reduce
from typing import Protocol

import numpy as np
from PIL import Image, ImageOps

from srgan.pictures.codec.exif import ORIENTATION, as_upright
from srgan.pictures.codec.xmp import fitting_xmp
from srgan.pictures.colour import LUMA_WEIGHTS
from srgan.pictures.resample import bicubic, resize_rows

FILL_RADIUS = 4  # faint pixels this close to more visible ones get their colour
FILL_REACH = 2 * FILL_RADIUS  # how far `fill_transparent` and then `restore_hidden` look
LOOK = 32  # rows that `is_gray` looks at at once
ROUNDED = 0.05  # of the pixels of a gray picture that WebP's decoder rounds apart: at most 0.01


class Pixels(Protocol):
    """Pixels to read by windows: a NumPy array or a `Picture`, (H, W, bands)."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype: ...
    def __getitem__(self, window: tuple[slice, slice], /) -> np.ndarray: ...


def fill_transparent(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Give faint pixels the mean colour of the more visible pixels around them.

    Files store some colour, mostly black, where alpha is 0 or nearly 0. It would bleed into the
    edge as a fringe. The mean is weighted by alpha. The network then sees no edge where only alpha
    has an edge. A pixel keeps its colour if its alpha is at least half of the largest around it.

    Args:
        colour: (H, W, C) float, not multiplied by alpha.
        alpha: (H, W, 1) in [0, 1].
    """
    if alpha.min() == alpha.max():
        return colour
    own = np.minimum(2 * alpha / np.maximum(_box_max(alpha), 1e-6), 1)
    own[_box_max(alpha) == 0] = 1
    if own.min() == 1:
        return colour
    near = _box_sum(colour * alpha) / np.maximum(_box_sum(alpha), 1e-6)
    return np.where(own < 1, own * colour + (1 - own) * near, colour).astype(colour.dtype)


def restore_hidden(
    target: np.ndarray,
    hidden: np.ndarray,
    filled: np.ndarray,
    window: tuple[slice, slice],
    scale: int,
) -> None:
    """Put the colours of invisible pixels back that `fill_transparent` has replaced.

    Textures and masks store colours under alpha 0 that other programs use. They are enlarged by
    bicubic in invisible pixels within FILL_RADIUS of replaced ones. Elsewhere the network saw them.

    Args:
        target: (h, w, C + 1), a window of the upscaled picture, alpha last. It is changed.
        hidden: (H, W, C) float in [0, 1], the picture's own colours.
        filled: (H, W, C), the result of `fill_transparent`.
        window: rows and columns of `target` in the (scale * H, scale * W) pixels of SR.
    """
    changed = np.any(filled != hidden, 2, keepdims=True).astype(np.float32)
    near = (_box_sum(changed) > 0).repeat(scale, 0).repeat(scale, 1)[window]
    place = (near & (target[..., -1:] == 0))[..., 0]
    if place.any():
        own = np.empty_like(target[..., :-1])
        height, width, _ = hidden.shape
        quantise(bicubic(hidden, height * scale, width * scale)[window], own)
        target[..., :-1][place] = own[place]


def resize_alpha_rows(
    blocks: Iterable[np.ndarray], shape: tuple[int, int], target: tuple[int, int]
) -> Iterator[np.ndarray]:
    """`resample.resize_rows` for pictures with alpha, the last band.

    Alpha weighs the visible colours, so hidden ones do not bleed into them. Hidden colours and
    opaque ones are resized by themselves.
    """
    top = 1.0

    def weighted(block: np.ndarray) -> np.ndarray:
        nonlocal top
        top = float(levels(block.dtype))
        colour, alpha = np.split(block.astype(np.float32), [-1], 2)
        return np.concatenate([colour * (alpha / np.float32(top)), colour, alpha], 2)

    for block in resize_rows(map(weighted, blocks), shape, target):
        bands = block.shape[2] // 2
        product, colour, alpha = np.split(block, [bands, 2 * bands], 2)
        opacity = alpha / top
        translucent = (opacity > 1e-5) & (np.abs(opacity - 1) > 1e-6)
        visible = (product / np.where(translucent, opacity, 1)).clip(0, top)
        yield np.concatenate([np.where(translucent, visible, colour), alpha], 2)


def _box_max(image: np.ndarray) -> np.ndarray:
    """Maximum over the square that reaches FILL_RADIUS pixels from each pixel."""
    for axis in (0, 1):
        padding = [(FILL_RADIUS, FILL_RADIUS) if a == axis else (0, 0) for a in range(3)]
        padded = np.pad(image, padding)
        shifts = (range(k, k + image.shape[axis]) for k in range(2 * FILL_RADIUS + 1))
        image = reduce(np.maximum, (padded.take(s, axis) for s in shifts))
    return image


def _box_sum(image: np.ndarray) -> np.ndarray:
    """Sum over the square that reaches FILL_RADIUS pixels from each pixel."""
    for axis in (0, 1):
        length = image.shape[axis]
        padding = [(FILL_RADIUS, FILL_RADIUS) if a == axis else (0, 0) for a in range(3)]
        padded = np.pad(image, padding)
        shifts = (range(k, k + length) for k in range(2 * FILL_RADIUS + 1))
        image = sum((padded.take(s, axis) for s in shifts), np.zeros_like(image))
    return image


def levels(dtype: np.dtype) -> int:
    """The value of white: 255 for uint8, 65535 for uint16, 1 for floats."""
    return np.iinfo(dtype).max if dtype.kind == "u" else 1


def result_type(dtype: np.dtype) -> np.dtype:
    """The type of the result of upscaling: the same for integers, float32 for floats."""
    return dtype if dtype.kind == "u" else np.dtype(np.float32)


def is_gray(image: Pixels) -> bool:
    """Whether a picture shows only grays: it has one band of colour, or R = G = B in all pixels.

    WebP's decoder gives some gray pixels 8-bit values that differ by 1; those may be. Stops at
    the first colour.

    Args:
        image: (H, W, bands): gray, gray and alpha, RGB, or RGBA.
    """
    height, width, bands = image.shape
    if bands < 3:
        return True
    unequal = 0
    for top in range(0, height, LOOK):
        colour = image[top : min(top + LOOK, height), 0:width][..., :3]
        apart = colour.max(axis=2) - colour.min(axis=2)
        if apart.max() > (1 if image.dtype == np.uint8 else 0):
            return False
        unequal += int(np.count_nonzero(apart))
    return unequal <= ROUNDED * height * width


def rgb_uint8(pixels: np.ndarray) -> np.ndarray:
    """(H, W, bands) uint8 or uint16 to RGB uint8. Gray is repeated, alpha is left out."""
    colour = pixels[..., :3] if pixels.shape[2] > 2 else np.repeat(pixels[..., :1], 3, axis=2)
    return (
        colour if colour.dtype == np.uint8 else ((colour + np.uint32(128)) // 257).astype(np.uint8)
    )


def gray_uint16(pixels: np.ndarray) -> np.ndarray:
    """(H, W, bands) uint8 or uint16 to gray uint16 (H, W, 1): Y of colours; alpha is left out."""
    if pixels.shape[2] > 2:
        gray = unit_range(pixels[..., :3]) @ LUMA_WEIGHTS
        return (gray * 65535 + 0.5).clip(0, 65535).astype(np.uint16)[..., None]
    gray = pixels[..., :1]
    return gray if gray.dtype == np.uint16 else gray.astype(np.uint16) * np.uint16(257)


def unit_range(pixels: np.ndarray) -> np.ndarray:
    """Pixels of uint8, uint16 or float in [0, 1] to float32 in [0, 1]."""
    return pixels.astype(np.float32) / np.float32(levels(pixels.dtype))


def quantise(image: np.ndarray, target: np.ndarray) -> None:
    """Write values in [0, 1] into `target`, in its type. Integers are rounded; all are clipped.

    Args:
        image: (H, W, bands); fast also for a network's planes, (bands, H, W) transposed.
    """
    if target.dtype.kind != "u":
        np.clip(image, 0, 1, out=target)
        return
    top = np.float32(levels(target.dtype))
    scaled = image * top
    scaled += np.float32(0.5)
    np.clip(scaled, 0, top, out=scaled)
    planar = scaled.strides[2] > scaled.strides[1]
    for part in range(scaled.shape[2]) if planar else (slice(None),):
        # It truncates, after 0.5 was added.
        np.copyto(target[..., part], scaled[..., part], casting="unsafe")


def check_array(array: np.ndarray) -> np.ndarray:
    """Check that an array is an image; return it in this machine's byte order.

    Raises:
        ValueError: its shape is not (H, W) or (H, W, 1 to 4), it has no pixels, or it has floats
            outside [0, 1].
        TypeError: it is not uint8, uint16 or float.
    """
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4)):
        raise ValueError(f"an image is (H, W) or (H, W, 1 to 4), not {array.shape}")
    if 0 in array.shape:
        raise ValueError(f"an image without pixels: {array.shape}")
    if array.dtype.name not in ("uint8", "uint16") and array.dtype.kind != "f":
        raise TypeError(f"an image is uint8, uint16 or float in [0, 1], not {array.dtype}")
    if array.dtype.kind == "f" and not (-1e-3 <= array.min() <= array.max() <= 1 + 1e-3):
        raise ValueError("an image of floats has finite values in [0, 1]")
    return array


def from_pil(image: Image.Image) -> np.ndarray:
    """A PIL image to an array (H, W, bands): upright, gray or RGB, with or without alpha.

    Raises:
        TypeError: the mode is I or F, whose range of values is unknown.
    """
    if image.getexif().get(ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        return np.asarray(image, np.uint16)[..., None]
    mode = image.mode
    transparent = "transparency" in image.info  # colours of a palette, or one colour of a PNG
    if mode in ("P", "PA", "RGB"):
        mode = "RGBA" if mode == "PA" or transparent else "RGB"
    elif mode in ("1", "L"):
        mode = "LA" if transparent else "L"
    elif mode in ("LA", "La"):
        mode = "LA"
    elif mode in ("RGBA", "RGBa"):
        mode = "RGBA"
    elif mode in ("I", "F"):
        raise TypeError(f"mode {mode} has no fixed range; pass an array of uint16 or float")
    else:
        mode = "RGB"
    array = np.asarray(image.convert(mode))
    return array if array.ndim == 3 else array[..., None]


def to_pil(array: np.ndarray, source: Image.Image) -> Image.Image:
    """An array (H, W, bands) to a PIL image with the metadata of the source.

    Its EXIF says upright, as `from_pil` has turned the picture.
    """
    image = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
    exif = source.getexif()
    if len(exif) and (upright := as_upright(exif.tobytes())):
        image.info["exif"] = upright
    if isinstance(xmp := source.info.get("xmp"), bytes):
        image.info["xmp"] = fitting_xmp(xmp)
    if "dpi" in source.info:
        image.info["dpi"] = source.info["dpi"]
    if "icc_profile" in source.info and source.mode != "CMYK":
        image.info["icc_profile"] = source.info["icc_profile"]
    return image
