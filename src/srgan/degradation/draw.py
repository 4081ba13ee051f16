"""Draws the blur, sizes, noise and JPEG quality of each picture from the ranges of a preset."""

from dataclasses import dataclass, fields
from math import ceil, log

import numpy as np

from srgan.degradation.jpeg import MCU
from srgan.degradation.ranges import KINDS, Range, Ranges
from srgan.degradation.resize import KERNELS, Windows


@dataclass(frozen=True)
class Damage:
    """The noise of N pictures, and the JPEG compression after it. Each field is (N,).

    Attributes:
        gaussian: standard deviation of the noise that does not depend on the picture, for values
            in [0, 1]; 0 is no noise.
        poisson: standard deviation of the photons' noise at white, likewise.
        gray: the noise is the same in all channels.
        quality: JPEG quality, 1 to 100; 0 is no JPEG.
        full_chroma: JPEG keeps colours at full size (4:4:4).
    """

    gaussian: np.ndarray
    poisson: np.ndarray
    gray: np.ndarray
    quality: np.ndarray
    full_chroma: np.ndarray

    def of(self, places: np.ndarray) -> "Damage":
        """The damage of the pictures at these indices."""
        return Damage(*(getattr(self, field.name)[places] for field in fields(self)))


@dataclass(frozen=True)
class Draw:
    """Everything random about N pictures. Lengths are in LR pixels.

    Each array is (N,), except `corner`.

    Attributes:
        blurred: HR is blurred.
        kind, angle, sigma, across, radius, length: the kernel of that blur, see `blur.Blur`.
        ratio: the intermediate size, as a multiple of LR's size.
        down, up: kernels that resize to the intermediate size and from it, indices in KERNELS.
        second: blur, noise and JPEG also happen at the intermediate size.
        softness: sigma of that second blur.
        corner: 2 x 2 x N: the start (y, x) of the grid of JPEG blocks, for both JPEGs.
        first, last: damage at the intermediate size, and at LR's size.
    """

    blurred: np.ndarray
    kind: np.ndarray
    angle: np.ndarray
    sigma: np.ndarray
    across: np.ndarray
    radius: np.ndarray
    length: np.ndarray
    ratio: np.ndarray
    down: np.ndarray
    up: np.ndarray
    second: np.ndarray
    softness: np.ndarray
    corner: np.ndarray
    first: Damage
    last: Damage


def draw(ranges: Ranges, count: int, rng: np.random.Generator, *, whole: bool) -> Draw:
    """Draw for `count` pictures.

    Args:
        whole: the pictures are whole, so their JPEG blocks start at their corner.
    """

    def chance(probability: float) -> np.ndarray:
        return rng.random(count) < probability

    def uniform(between: Range) -> np.ndarray:
        return rng.uniform(*between, count)

    dirty = ~chance(ranges.clean)
    second = dirty & chance(ranges.second)
    shares = np.array(ranges.kinds) / sum(ranges.kinds)
    kind = rng.choice(len(KINDS), count, p=shares)
    sigma = uniform(ranges.sigma)
    stretch = np.where(kind == KINDS.index("anisotropic"), uniform(ranges.stretch), 1)
    ratio = np.where(dirty & chance(ranges.resize), uniform(ranges.ratio), 1)
    cubic, box, triangle = (KERNELS.index(name) for name in ("cubic", "box", "triangle"))
    up = rng.integers(len(KERNELS), size=count)
    corner = rng.integers(MCU, size=(2, 2, count))
    return Draw(
        blurred=dirty & chance(ranges.blur),
        kind=kind,
        angle=rng.uniform(0, np.pi, count),
        sigma=sigma,
        across=sigma / stretch,
        radius=uniform(ranges.radius),
        length=uniform(ranges.length),
        ratio=ratio,
        down=np.where(dirty, rng.integers(len(KERNELS), size=count), cubic),
        up=np.where(
            (up == box) & (ratio < 1), triangle, up
        ),  # a box would enlarge pixels to squares
        second=second,
        softness=uniform(ranges.softness),
        corner=np.zeros_like(corner) if whole else corner,
        first=_damage(ranges, rng, second),
        last=_damage(ranges, rng, dirty),
    )


def _damage(ranges: Ranges, rng: np.random.Generator, to: np.ndarray) -> Damage:
    """Draw the damage of N pictures; only the ones in `to`, (N,) bool, get any."""
    count = len(to)

    def levels(between: Range) -> np.ndarray:
        return np.exp(rng.uniform(log(between[0]), log(between[1]), count)) / 255

    noisy = to & (rng.random(count) < ranges.noise)
    compressed = to & (rng.random(count) < ranges.jpeg)
    return Damage(
        gaussian=noisy * levels(ranges.gaussian),
        poisson=noisy * levels(ranges.poisson),
        gray=rng.random(count) < ranges.gray,
        quality=compressed * np.round(rng.uniform(*ranges.quality, count)),
        full_chroma=rng.random(count) < ranges.full_chroma,
    )


def windows(height: int, width: int, ratio: np.ndarray, corner: np.ndarray) -> Windows:
    """Place pictures of `ratio` times the size at their corners, on a canvas of whole JPEG blocks.

    Args:
        height: of LR, as is the width.
        ratio: (N,).
        corner: 2 x N, top and left.
    """
    heights = np.maximum(np.round(height * ratio), 1).astype(int)
    widths = np.maximum(np.round(width * ratio), 1).astype(int)
    top, left = corner
    sides = (int((top + heights).max()), int((left + widths).max()))
    canvas = tuple(ceil(side / MCU) * MCU for side in sides)
    return Windows((canvas[0], canvas[1]), top, left, heights, widths)
