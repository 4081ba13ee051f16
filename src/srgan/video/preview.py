"""A video's frames enlarged by bicubic, beside the upscaled ones."""

from collections.abc import Callable

import numpy as np

from srgan.pictures.pixels import quantise, unit_range
from srgan.pictures.resample import bicubic

PREVIEW_SECONDS = 3


def beside_bicubic(
    upscale: Callable[[np.ndarray], np.ndarray],
) -> Callable[[np.ndarray], np.ndarray]:
    """A function that puts the frame (H, W, 3) by bicubic at the left of its result."""

    def both(frame: np.ndarray) -> np.ndarray:
        after = upscale(frame)
        before = np.empty_like(after)
        quantise(bicubic(unit_range(frame), after.shape[0], after.shape[1]), before)
        return np.concatenate([before, after], axis=1)

    return both
