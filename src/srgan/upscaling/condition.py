"""Estimates a picture's condition, JPEG compression, blur and noise, from its file and pixels."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import log
from typing import NamedTuple

import numpy as np

from srgan.pictures.colour import LUMA_WEIGHTS
from srgan.pictures.images import Picture
from srgan.pictures.jpeg_tables import quality_of
from srgan.pictures.pixels import Pixels, levels

BLOCK = 8  # side of JPEG's blocks, pixels
WINDOW = 256  # pixels, a multiple of BLOCK
WINDOWS = 3  # along each side; more windows do not improve the estimates of large pictures
DARK, BRIGHT = 10, 245  # levels beyond which noise is clipped
CONTRAST = 8  # levels across two pixels: weaker edges do not show blur
SHARPEST = 90  # percentile of the differences that count as edges
CALMEST = 5  # percentile of the blocks that show noise and little else
MOST_BLUR = 5.0  # pixels: differences of neighbours cannot measure more


@dataclass(frozen=True)
class Condition:
    """Estimates for a picture.

    Attributes:
        quality: of the JPEG file, 1 to 100; None for other files.
        traces: share of the fine frequencies that an earlier JPEG compression rounded to 0:
            about 0 without one, 0.1 to 0.7 after JPEG of quality 97 and below.
        blur: sigma in pixels of the blur of the sharpest edges: about 0.9 in a picture that was
            cleanly reduced, 0 where there are no edges.
        noise: standard deviation of luma in the smoothest places, in 8-bit levels.
    """

    quality: int | None
    traces: float
    blur: float
    noise: float

    def __str__(self) -> str:
        jpeg = "no JPEG" if self.quality is None else f"JPEG of quality {self.quality}"
        return (
            f"{jpeg}, traces of JPEG {max(self.traces, 0):.2f}, blur of {self.blur:.1f} pixels, "
            f"noise of {self.noise:.1f} levels"
        )


class _Estimates(NamedTuple):
    """Of one window; see `Condition`."""

    traces: float
    blur: float
    noise: float


def inspect_condition(picture: Pixels) -> Condition:
    """Estimate the condition of a picture, (H, W, bands) uint8, uint16 or float in [0, 1].

    In a large picture only windows are inspected, which are spread over all of it.
    """
    windows = [_estimates(luma) for luma in _windows(picture)]
    blurs = [window.blur for window in windows if window.blur]
    return Condition(
        quality=_file_quality(picture),
        traces=float(np.mean([window.traces for window in windows])) if windows else 0.0,
        blur=min(blurs, default=0.0),  # a background out of focus does not make a picture blurry
        noise=min((window.noise for window in windows), default=0.0),
    )


def _file_quality(picture: Pixels) -> int | None:
    if not isinstance(picture, Picture) or picture.format != "jpeg":
        return None
    from PIL import JpegImagePlugin

    try:
        # Reads only the header. Image.open has a lower limit on pixels than srgan.
        with picture.open_file() as file:
            tables = JpegImagePlugin.JpegImageFile(file).quantization
        return quality_of(tables[0])
    except (OSError, SyntaxError, KeyError, ValueError):  # libvips reads more than PIL
        return None


def _windows(picture: Pixels) -> Iterator[np.ndarray]:
    """Yield the luma (h, w) of windows, in 8-bit levels; they start where JPEG blocks start."""
    height, width, bands = picture.shape
    for top in _starts(height):
        for left in _starts(width):
            pixels = picture[top : top + WINDOW, left : left + WINDOW]
            luma = (
                pixels[..., :3] @ LUMA_WEIGHTS if bands > 2 else pixels[..., 0].astype(np.float32)
            )
            yield luma * np.float32(255 / levels(pixels.dtype))


def _starts(length: int) -> list[int]:
    if length < 2 * BLOCK:
        return []
    last = max(length - WINDOW, 0)
    places = np.linspace(0, last, min(WINDOWS, 1 + last // WINDOW + (last > 0)))
    return sorted({int(place) // BLOCK * BLOCK for place in places})


def _estimates(luma: np.ndarray) -> _Estimates:
    noise = _noise(luma)
    return _Estimates(_traces(luma), _blur(luma, noise), noise)


def _noise(luma: np.ndarray) -> float:
    """Noise from diagonal differences, the finest Haar band: textures hardly show there."""
    a, b, c, d = luma[:-1, :-1], luma[1:, :-1], luma[:-1, 1:], luma[1:, 1:]
    means = _blocks(a).mean((1, 2))
    deviations = _blocks((a - b - c + d) / 2).std((1, 2))
    clear = (means > DARK) & (means < BRIGHT)
    return _percentile(deviations[clear] if clear.any() else deviations, CALMEST)


def _percentile(values: np.ndarray, percent: float) -> float:
    # By default np.percentile imports np.ma, which takes longer than all estimates of a small
    # picture. "lower" is a value of the array, and is found without it.
    return float(np.percentile(values, percent, method="lower"))


def _blur(luma: np.ndarray, noise: float) -> float:
    """Blur from the steepest edges, the larger of its values along rows and columns.

    Across a Gaussian edge of sigma s, the squares of the differences over one and over two pixels
    have the ratio exp(1 / (4 s^2)) : 4. Motion blurs one direction only, so the larger value
    counts.
    """
    blurs: list[float] = []
    for image in (luma, luma.T):
        two = np.square(image[2:] - image[:-2])
        one = (np.square(image[1:-1] - image[:-2]) + np.square(image[2:] - image[1:-1])) / 2
        edges = two >= _percentile(two, SHARPEST)
        far = float(two[edges].mean()) - 2 * noise**2
        if far < CONTRAST**2:
            continue
        near = max(float(one[edges].mean()) - 2 * noise**2, 0)
        exponent = log(max(4 * near / far, 1e-6))
        blurs.append(min((4 * max(exponent, 1e-6)) ** -0.5, MOST_BLUR))
    return max(blurs, default=0.0)


def _traces(luma: np.ndarray) -> float:
    """Traces of JPEG, which rounds fine frequencies of its blocks to 0.

    The share of zeros in JPEG's blocks, less the share in blocks that start between them (after
    Fan and de Queiroz 2003, "Identification of bitmap compression history").
    """
    shift = BLOCK // 2
    return _rounded_away(luma) - _rounded_away(luma[shift:, shift:])


def _rounded_away(luma: np.ndarray) -> float:
    coefficients = _DCT @ _blocks(luma) @ _DCT.T
    return float((np.abs(coefficients[:, _FINE]) < 1).mean())


def _blocks(image: np.ndarray) -> np.ndarray:
    """Cut an image into JPEG's blocks: (n, 8, 8)."""
    height, width = (side // BLOCK for side in image.shape)
    cut = image[: height * BLOCK, : width * BLOCK].reshape(height, BLOCK, width, BLOCK)
    return cut.swapaxes(1, 2).reshape(-1, BLOCK, BLOCK)


_PLACE = np.arange(BLOCK)
_DCT = np.cos(np.outer(_PLACE, 2 * _PLACE + 1) * np.pi / 16).astype(np.float32) / 2
_DCT[0] /= np.float32(np.sqrt(2))
_FINE = _PLACE[:, None] + _PLACE >= 5
