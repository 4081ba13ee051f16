"""Where each pixel of a frame was in the frame before: dense optical flow, coarse to fine.

Lucas and Kanade 1981, iterated, over windows around every pixel, on a pyramid (Bouguet 2000). It
needs no library, and a few hundredths of what the network needs.
"""

import numpy as np

_RADIUS = 3  # pixels around one, whose motion is taken to be the same
_STEPS = 3  # on each level of the pyramid but the finest
_FINEST_STEPS = 1  # there: it takes most of the time, and more change little
_SMALLEST = 12  # pixels a side of the coarsest level
_DAMPING = 1e-3  # of the normal equations, where there is nothing to see


def flow(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The motion from each pixel of `after` back to where it was in `before`.

    Args:
        before, after: frames (H, W), float32 in [0, 1].

    Returns:
        (2, H, W) float32: rows and columns to add, in pixels.
    """
    if min(after.shape) < 2:
        return np.zeros((2, *after.shape), np.float32)
    levels = [(before, after)]
    while min(levels[-1][0].shape) >= 2 * _SMALLEST:
        levels.append((_halved(levels[-1][0]), _halved(levels[-1][1])))
    motion = np.zeros((2, *levels[-1][0].shape), np.float32)
    for old, new in reversed(levels):
        steps = _FINEST_STEPS if new is after else _STEPS
        motion = _refined(old, new, _enlarged(motion, new.shape), steps)
    return motion


def _refined(old: np.ndarray, new: np.ndarray, motion: np.ndarray, steps: int) -> np.ndarray:
    for _ in range(steps):
        moved = shifted(old, motion)
        down, right = np.gradient(moved)
        rest = new - moved
        dd, rr, dr, d, r = box(
            np.stack([down * down, right * right, down * right, down * rest, right * rest])
        )
        dd, rr = dd + _DAMPING, rr + _DAMPING
        determinant = dd * rr - dr * dr
        step = np.stack([rr * d - dr * r, dd * r - dr * d]) / determinant
        motion = motion + np.clip(step, -1, 1)
        area = (2 * _RADIUS + 1) ** 2
        motion = box(motion) / area
    return motion


def shifted(image: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """The image (H, W) fetched along the motion (2, H, W), bilinearly; edges are repeated.

    Both sides are at least 2 pixels.
    """
    height, width = image.shape
    rows = np.arange(height, dtype=np.float32)[:, None] + motion[0]
    columns = np.arange(width, dtype=np.float32) + motion[1]
    np.clip(rows, 0, height - 1, out=rows)
    np.clip(columns, 0, width - 1, out=columns)
    top, left = rows.astype(np.int32), columns.astype(np.int32)
    np.minimum(top, height - 2, out=top)
    np.minimum(left, width - 2, out=left)
    down, right = rows - top, columns - left
    flat = np.ascontiguousarray(image).ravel()
    at = top * width + left
    above = flat[at] * (1 - right) + flat[at + 1] * right
    below = flat[at + width] * (1 - right) + flat[at + width + 1] * right
    return above * (1 - down) + below * down


def box(images: np.ndarray, radius: int = _RADIUS) -> np.ndarray:
    """The sum over the square that reaches `radius` pixels from each pixel; edges are repeated.

    Args:
        images: (..., H, W), each by itself.
    """
    for axis in (images.ndim - 2, images.ndim - 1):
        length = images.shape[axis]
        padding = [(radius, radius) if a == axis else (0, 0) for a in range(images.ndim)]
        padded = np.moveaxis(np.pad(images, padding, mode="edge"), axis, 0)
        total = padded[:length] + padded[1 : 1 + length]
        for first in range(2, 2 * radius + 1):
            total += padded[first : first + length]
        images = np.moveaxis(total, 0, axis)
    return images


def _halved(image: np.ndarray) -> np.ndarray:
    height, width = (side // 2 * 2 for side in image.shape)
    even = image[:height, :width]
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4


def _enlarged(motion: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Motion of the next coarser level, for this one."""
    if motion.shape[1:] == shape:
        return motion
    doubled = 2 * motion.repeat(2, 1).repeat(2, 2)
    missing = [(0, have - want) for have, want in zip(shape, doubled.shape[1:], strict=True)]
    return np.pad(doubled, [(0, 0), *missing], mode="edge")
