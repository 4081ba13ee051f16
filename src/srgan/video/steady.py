"""Steadies what the network adds to a video: single frames, each by itself, would flicker.

A result is the frame by bicubic, which is as steady as the video, and what the network adds to it.
The luma of the latter is blended with that of the frames before, fetched along the motion, where
the frames themselves agree. Elsewhere, behind what moves away and after a cut, the network's own
stays. Its colours stay everywhere: nobody sees them flicker, and they would take half of the time.
"""

import numpy as np

from srgan.pictures.colour import LUMA_WEIGHTS
from srgan.pictures.pixels import levels, quantise
from srgan.pictures.resample import bicubic
from srgan.video.motion import box, flow, shifted

_SHARE = np.float32(0.9)  # of what was added before, where frames agree
_TOLERANCE = 0.06  # mean difference of frames, of white, at which trust has fallen to a third
_RADIUS = 2  # pixels around one, whose differences are averaged
_BAND = 32  # rows of a result that are blended at once: they stay in the cache
_FAINT = np.float32(1 / 255)  # of what is added: below it nothing shows


class Steady:
    """Steadies the results of a video's frames, in their order."""

    def __init__(self) -> None:
        self._network: np.ndarray | None = None  # its result
        self._steadied: np.ndarray | None = None
        self._luma: np.ndarray | None = None
        self._added = self._energy = np.empty(0, np.float32)

    def __call__(self, frame: np.ndarray, result: np.ndarray) -> np.ndarray:
        """The steadied result.

        Args:
            frame: (h, w, 3), uint8 or uint16.
            result: what the network makes of it, (H, W, 3) of the same type.
        """
        if self._steadied is not None and result is self._network:
            return self._steadied  # the frame equals the one before
        before, luma = self._luma, luma_of(frame)
        added = luma_of(result)
        added -= enlarged(luma, *added.shape)
        now = energy(added, luma.shape)
        steadied = result
        if before is not None and before.shape == luma.shape:
            motion = flow(before, luma)
            trust = agreement(before, luma, motion)
            trust *= plausibility(self._energy, now, motion) * _SHARE
            steadied = result.copy()
            blend(steadied, added, self._added, motion, trust)
            now = energy(added, luma.shape)
        self._luma, self._added, self._energy = luma, added, now
        self._network, self._steadied = result, steadied
        return steadied


def luma_of(pixels: np.ndarray) -> np.ndarray:
    """Luma (H, W) in [0, 1] of RGB (H, W, 3), uint8 or uint16."""
    luma: np.ndarray = pixels @ (LUMA_WEIGHTS / np.float32(levels(pixels.dtype)))
    return luma


def enlarged(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The image (h, w) by bicubic, row by row in memory, as results are."""
    return bicubic(image.T, width, height).T


def agreement(before: np.ndarray, after: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """How far a frame can be trusted to be the one before, moved: (h, w) from 0 to 1.

    Args:
        before, after: luma (h, w) in [0, 1].
        motion: from `after` back to `before`, (2, h, w).
    """
    height, width = after.shape
    if min(height, width) < 2:
        return np.zeros_like(after)
    difference = box(np.abs(shifted(before, motion) - after), _RADIUS)
    difference /= (2 * _RADIUS + 1) ** 2 * _TOLERANCE
    rows = motion[0] + np.arange(height, dtype=np.float32)[:, None]
    columns = motion[1] + np.arange(width, dtype=np.float32)
    inside = (rows >= 0) & (rows <= height - 1) & (columns >= 0) & (columns <= width - 1)
    trust: np.ndarray = np.exp(-np.square(difference)) * inside
    return trust.astype(np.float32)


def energy(added: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """How much was added (H, W) around each pixel of the frame: (h, w) of `shape`."""
    some = np.abs(added[::2, ::2])  # a quarter of it tells enough
    return box(bicubic(some, shape[0], shape[1]), 1) / 9


def plausibility(before: np.ndarray, now: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """Low (h, w) where far more was added before than now: the edges of what moved away.

    In smooth and dark places they differ too little from what is there for `agreement`.

    Args:
        before, now: the `energy` of what was added.
        motion: from now back to before, (2, h, w).
    """
    then = shifted(before, motion) if min(before.shape) > 1 else before
    return np.square(((now + _FAINT) / (then.clip(0) + _FAINT)).clip(0, 1))


def blend(
    result: np.ndarray,
    added: np.ndarray,
    before: np.ndarray,
    motion: np.ndarray,
    trust: np.ndarray,
) -> None:
    """Blend what is added, in place, with what was added before, fetched along the motion.

    Whole pixels of the result are fetched: repeated interpolation would blur.

    Args:
        result: (H, W, 3), which changes as what is added does.
        added, before: (H, W), luma.
        motion: from now back to before, (2, h, w), in pixels of the frame.
        trust: share of what was added before, (h, w) from 0 to 1.
    """
    height, width = added.shape
    small_height, small_width = trust.shape
    down = np.rint(motion[0] * (height / small_height)).astype(np.int32)
    right = np.rint(motion[1] * (width / small_width)).astype(np.int32)
    frame_row = _nearest(height, small_height)
    frame_column = _nearest(width, small_width)
    share = enlarged(trust, height, width)
    np.clip(share, 0, 1, out=share)
    top_level = np.float32(levels(result.dtype))
    for top in range(0, height, _BAND):
        band = slice(top, min(top + _BAND, height))
        near = frame_row[band, None], frame_column
        rows = down[near] + np.arange(band.start, band.stop, dtype=np.int32)[:, None]
        columns = right[near] + np.arange(width, dtype=np.int32)
        np.clip(rows, 0, height - 1, out=rows)
        np.clip(columns, 0, width - 1, out=columns)
        rows *= width
        rows += columns
        change = before.take(rows)
        change -= added[band]
        change *= share[band]
        added[band] += change
        for channel in np.moveaxis(result[band], 2, 0):
            quantise((channel / top_level + change)[..., None], channel[..., None])


def _nearest(count: int, places: int) -> np.ndarray:
    """For each of `count` pixels, the nearest of fewer places."""
    nearest: np.ndarray = np.arange(count) * places // count
    return nearest
