"""Dithered pictures of two levels, such as 1-bit scans and GIFs: made continuous before a network.

Networks take the dots for texture, and draw them larger: patterns instead of the picture, and a
mean that is up to a half darker.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from srgan.pictures.pixels import Pixels

WINDOW = 256  # pixels; the side of the parts that `is_dithered` looks at
WINDOWS = 3  # of them along each side
DOTS = 0.1  # share of dots from which a window is dithered: small text has 0.04
RADIUS = 5  # pixels
SIGMA = 1.5  # pixels: less leaves dots in bright and dark places, more loses detail

_BELL = np.exp(-(np.arange(-RADIUS, RADIUS + 1) ** 2) / (2 * SIGMA**2))
_KERNEL = (_BELL / _BELL.sum()).astype(np.float32)


def is_dithered(picture: Pixels) -> bool:
    """Whether a picture has only two levels, the lowest and the highest, in a pattern of dots.

    A dot is a pixel that differs from at least three of its four neighbours.

    Args:
        picture: (H, W, bands) uint8; others are never dithered.
    """
    height, width, _ = picture.shape
    if picture.dtype != np.uint8 or min(height, width) < 2 * RADIUS:
        return False
    shares: list[float] = []
    for top in _starts(height):
        for left in _starts(width):
            window = picture[top : top + WINDOW, left : left + WINDOW]
            if np.any((window != 0) & (window != 255)):
                return False
            shares.append(_dots(window[..., 0] != 0))
    return max(shares) > DOTS


def _starts(length: int) -> list[int]:
    return sorted({int(at) for at in np.linspace(0, max(length - WINDOW, 0), WINDOWS)})


def _dots(bright: np.ndarray) -> float:
    centre = bright[1:-1, 1:-1]
    neighbours = bright[:-2, 1:-1], bright[2:, 1:-1], bright[1:-1, :-2], bright[1:-1, 2:]
    different = np.sum([neighbour != centre for neighbour in neighbours], axis=0)
    return float((different >= 3).mean())


class Undithered:
    """A dithered picture as a continuous one: each pixel is the Gaussian mean around it.

    The picture's mean stays, but for what lies beyond its edges, which are repeated. Alpha weighs
    the colours.
    """

    def __init__(self, image: Pixels) -> None:
        self._image = image
        self.shape, self.dtype = image.shape, image.dtype

    def __getitem__(self, window: tuple[slice, slice]) -> np.ndarray:
        reads: list[slice] = []
        padding: list[tuple[int, int]] = []
        for part, length in zip(window, self.shape, strict=False):
            start, stop, _ = part.indices(length)
            first, last = max(start - RADIUS, 0), min(stop + RADIUS, length)
            reads.append(slice(first, last))
            padding.append((RADIUS - (start - first), RADIUS - (last - stop)))
        pixels = self._image[reads[0], reads[1]].astype(np.float32)
        pixels = np.pad(pixels, [*padding, (0, 0)], "edge")
        if self.shape[2] in (2, 4):
            colour, alpha = pixels[..., :-1], pixels[..., -1:]
            opacity = _smooth(alpha)
            own = colour[RADIUS:-RADIUS, RADIUS:-RADIUS]
            visible = opacity >= 0.5
            mean = _smooth(colour * alpha) / np.where(visible, opacity, 1)
            smooth = np.concatenate([np.where(visible, mean, own), opacity], axis=2)
        else:
            smooth = _smooth(pixels)
        return np.rint(smooth).astype(self.dtype)


def _smooth(pixels: np.ndarray) -> np.ndarray:
    """The Gaussian mean of (h + 2 * RADIUS, w + 2 * RADIUS, bands), as (h, w, bands)."""
    for axis in (0, 1):
        pixels = sliding_window_view(pixels, len(_KERNEL), axis) @ _KERNEL
    return pixels
