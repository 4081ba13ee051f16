"""What a picture has been through: JPEG, blur and noise, estimated from the file and its pixels."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import log

import numpy as np

from srgan.pictures.images import Picture
from srgan.pictures.jpeg_tables import quality_of
from srgan.pictures.pixels import Pixels, levels

WINDOW = 256  # pixels, a multiple of JPEG's blocks
WINDOWS = 3  # along each side: more tell nothing new of a large picture
BLOCK = 8
DARK, BRIGHT = 10, 245  # levels beyond which noise is clipped
CONTRAST = 8  # levels across two pixels: edges below it tell nothing of blur
SHARPEST = 90  # percentile of the differences that count as edges
CALMEST = 5  # percentile of the blocks that show noise and little else
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of BT.601, as JPEG's
MOST_BLUR = 5.0  # pixels: beyond it differences of neighbours do not tell


@dataclass(frozen=True)
class Condition:
    """Estimates for a picture.

    Attributes:
        quality: of the JPEG file, 1 to 100; None for other files.
        traces: share of JPEG's fine frequencies that were rounded away, in pixels that may have
            been a JPEG before: about 0 without, 0.1 to 0.7 after JPEG of quality 97 and below.
        blur: sigma in pixels of the blur of the sharpest edges; about 0.9 in a clean reduction,
            0 where there are no edges.
        noise: standard deviation of luma in the calmest places, in 8-bit levels.
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


def inspect_condition(picture: Pixels) -> Condition:
    """Look at a picture; of a large one at windows all over it."""
    looks = [_look(luma) for luma in _windows(picture)]
    blurs = [blur for _, blur, _ in looks if blur]
    return Condition(
        quality=_file_quality(picture),
        traces=float(np.mean([traces for traces, _, _ in looks])) if looks else 0.0,
        blur=min(blurs, default=0.0),  # a background out of focus is no blurry picture
        noise=min((noise for _, _, noise in looks), default=0.0),
    )


def _file_quality(picture: Pixels) -> int | None:
    if not isinstance(picture, Picture) or picture.format != "jpeg":
        return None
    from PIL import JpegImagePlugin

    try:
        # Only the header. Not Image.open, whose limit on pixels is lower than ours.
        with picture.open_file() as file:
            tables = JpegImagePlugin.JpegImageFile(file).quantization
        return quality_of(tables[0])
    except (OSError, SyntaxError, KeyError, ValueError):  # libvips reads more than PIL
        return None


def _windows(picture: Pixels) -> Iterator[np.ndarray]:
    """Luma in 8-bit levels, of windows that start where JPEG's blocks do."""
    height, width, bands = picture.shape
    for top in _starts(height):
        for left in _starts(width):
            pixels = picture[top : top + WINDOW, left : left + WINDOW]
            luma = pixels[..., :3] @ LUMA if bands > 2 else pixels[..., 0].astype(np.float32)
            yield luma * np.float32(255 / levels(pixels.dtype))


def _starts(length: int) -> list[int]:
    if length < 2 * BLOCK:
        return []
    last = max(length - WINDOW, 0)
    places = np.linspace(0, last, min(WINDOWS, 1 + last // WINDOW + (last > 0)))
    return sorted({int(place) // BLOCK * BLOCK for place in places})


def _look(luma: np.ndarray) -> tuple[float, float, float]:
    """Traces, blur and noise of a window."""
    noise = _noise(luma)
    return _traces(luma), _blur(luma, noise), noise


def _noise(luma: np.ndarray) -> float:
    """From diagonal differences (the finest Haar band), which textures have least of."""
    a, b, c, d = luma[:-1, :-1], luma[1:, :-1], luma[:-1, 1:], luma[1:, 1:]
    means = _blocks(a).mean((1, 2))
    deviations = _blocks((a - b - c + d) / 2).std((1, 2))
    clear = (means > DARK) & (means < BRIGHT)
    return float(np.percentile(deviations[clear] if clear.any() else deviations, CALMEST))


def _blur(luma: np.ndarray, noise: float) -> float:
    """From the steepest places: there a Gaussian edge of sigma s has differences over one and two
    pixels whose squares are as exp(1 / (4 s^2)) to 4. The sharper direction of both counts, and
    for motion the blurred one."""
    blurs = []
    for image in (luma, luma.T):
        two = np.square(image[2:] - image[:-2])
        one = (np.square(image[1:-1] - image[:-2]) + np.square(image[2:] - image[1:-1])) / 2
        edges = two >= np.percentile(two, SHARPEST)
        far = float(two[edges].mean()) - 2 * noise**2
        if far < CONTRAST**2:
            continue
        near = max(float(one[edges].mean()) - 2 * noise**2, 0)
        exponent = log(max(4 * near / far, 1e-6))
        blurs.append(min((4 * max(exponent, 1e-6)) ** -0.5, MOST_BLUR))
    return max(blurs, default=0.0)


def _traces(luma: np.ndarray) -> float:
    """JPEG rounds fine frequencies of its blocks to 0: how many more of those are 0 than of
    blocks that start elsewhere (after Fan and de Queiroz 2003, "Identification of bitmap
    compression history")."""
    shift = BLOCK // 2
    return _rounded_away(luma) - _rounded_away(luma[shift:, shift:])


def _rounded_away(luma: np.ndarray) -> float:
    coefficients = _DCT @ _blocks(luma) @ _DCT.T
    return float((np.abs(coefficients[:, _FINE]) < 1).mean())


def _blocks(image: np.ndarray) -> np.ndarray:
    """n x 8 x 8."""
    height, width = (side // BLOCK for side in image.shape)
    cut = image[: height * BLOCK, : width * BLOCK].reshape(height, BLOCK, width, BLOCK)
    return cut.swapaxes(1, 2).reshape(-1, BLOCK, BLOCK)


_PLACE = np.arange(BLOCK)
_DCT = np.cos(np.outer(_PLACE, 2 * _PLACE + 1) * np.pi / 16).astype(np.float32) / 2
_DCT[0] /= np.float32(np.sqrt(2))
_FINE = _PLACE[:, None] + _PLACE >= 5
