"""Measures networks that are not ours: halo, memory, and whether a lower precision suffices."""

import functools
from collections.abc import Callable
from math import lcm
from pathlib import Path

import numpy as np

from srgan.engines.processor import peak_memory
from srgan.networks.foreign import Sizes

Run = Callable[[np.ndarray], np.ndarray]  # LR (1, 3, H, W) to SR, any height and width

TILE = Path(__file__).parents[2] / "models" / "weights" / "widget.png"  # a part of a photograph
LEVEL = 1 / 255
SETTLED = 0.5 * LEVEL  # a smaller change at the valid part's edge is not seen
SIDES = (64, 128, 208)  # of the tiles, until one settles
WINDOW = 16  # most networks divide pictures into windows whose sides divide it
MORE = 1 / 4  # surroundings of a tile on each side, of its side
MOST_DIFFERENCE = 2 * LEVEL  # mean over a tile, of a lower precision from fp32
CLEAR = Path("/proc/self/clear_refs")


@functools.cache
def _photograph() -> np.ndarray:
    """(1, 3, 128, 128), RGB float32 in [0, 1]."""
    from PIL import Image

    with Image.open(TILE) as picture:
        pixels = np.asarray(picture.convert("RGB"), np.float32) / 255
    return pixels.transpose(2, 0, 1)[None]


def real_tile(height: int, width: int) -> np.ndarray:
    """A part of a photograph, mirrored around itself if it is too small: (1, 3, height, width)."""
    pixels = _photograph()
    missing = [
        max(side - own, 0) for side, own in zip((height, width), pixels.shape[2:], strict=True)
    ]
    widths = ((0, 0), (0, 0), (0, missing[0]), (0, missing[1]))
    return np.ascontiguousarray(np.pad(pixels, widths, "symmetric")[..., :height, :width])


def random_tile(height: int, width: int) -> np.ndarray:
    """Uniform noise (1, 3, height, width)."""
    return np.random.default_rng(0).random((1, 3, height, width), np.float32)


def halo(run: Run, scale: int, sizes: Sizes) -> int | None:
    """Measure how far beyond a tile's valid part the network looks.

    A tile gives the same SR as a larger one around it, except near its edges. The halo is the
    least distance from the edges, a multiple of 4, from which on they differ by less than
    `SETTLED`. The pictures are a photograph and noise. If the middle differs, too, the next
    larger tile is tried.

    Returns:
        LR pixels, or None if the middle of the largest tile differs: the influence never ends.
    """
    if sizes.fixed is not None:
        return _halo_of_fixed(run, scale, sizes)
    for least in SIDES:
        side = max(sizes.padded(least, least))
        step = lcm(sizes.multiple, WINDOW)
        more = -(-int(MORE * side) // step) * step
        found = _halo_at(run, scale, side, more)
        if found is not None:
            return found
    return None


def _halo_at(run: Run, scale: int, side: int, more: int) -> int | None:
    """The halo by tiles of `side`, and tiles with `more` pixels around them."""
    inside = slice(more * scale, (more + side) * scale)
    worst = 0
    for make in (real_tile, random_tile):
        large = make(side + 2 * more, side + 2 * more)
        small = np.ascontiguousarray(large[..., more : more + side, more : more + side])
        worst = max(worst, _depth(run(large)[..., inside, inside] - run(small), scale))
    return _as_halo(worst, side)


def _halo_of_fixed(run: Run, scale: int, sizes: Sizes) -> int | None:
    """The halo of a network of one size: by tiles shifted against each other by a quarter."""
    height, width = sizes.fixed or (0, 0)
    shift = -(-max(min(height, width) // 4, 1) // sizes.multiple) * sizes.multiple
    moved, worst = shift * scale, 0
    for make in (real_tile, random_tile):
        tile = make(height + shift, width + shift)
        first = run(np.ascontiguousarray(tile[..., :height, :width]))
        second = run(np.ascontiguousarray(tile[..., shift:, shift:]))
        worst = max(
            worst, _depth(first[..., moved:, moved:] - second[..., :-moved, :-moved], scale)
        )
    return _as_halo(worst, min(height, width) - shift)


def _depth(difference: np.ndarray, scale: int) -> int:
    """How many LR pixels from the nearest edge a difference of SR reaches."""
    largest = np.abs(difference).max((0, 1))
    changed = np.argwhere(~(largest < SETTLED))  # also what is not finite
    if not len(changed):
        return 0
    nearest = np.minimum(changed, np.array(largest.shape) - 1 - changed).min(1)
    return int(nearest.max()) // scale + 1


def _as_halo(depth: int, side: int) -> int | None:
    """A depth rounded up; None if too little of the middle has settled to rely on it."""
    return max(-(-depth // 4) * 4, 4) if depth <= 3 * side // 8 else None


def bytes_per_pixel(run: Run, scale: int, sizes: Sizes) -> int:
    """Memory that a tile needs, in bytes per LR pixel, from the peaks of tiles of two sizes.

    Where the system does not tell a process its peak, a figure that large networks stay below.
    """
    unknown = 4000 + 1200 * scale**2
    small, large = (sizes.example(side, side) for side in (64, 112))
    peaks: list[int] = []
    for height, width in (small, large):
        tile = real_tile(height, width)
        if not _reset_peak():
            return unknown
        run(tile)
        peaks.append(peak_memory())
    more = large[0] * large[1] - small[0] * small[1]
    return max((peaks[1] - peaks[0]) // more, 400) if more and all(peaks) else unknown


def mean_difference(first: Run, second: Run, sizes: Sizes) -> float:
    """Mean absolute difference of two runs on a tile; infinite if one is not finite."""
    tile = real_tile(*sizes.example(64, 64))
    difference = float(np.abs(first(tile) - second(tile)).mean())
    return difference if np.isfinite(difference) else float("inf")


def _reset_peak() -> bool:
    try:
        CLEAR.write_text("5")
    except OSError:
        return False
    return True
