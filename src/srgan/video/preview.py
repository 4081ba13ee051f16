"""A video's frames enlarged by bicubic, beside the upscaled ones."""

import numpy as np

from srgan.pictures.pixels import quantise, unit_range
from srgan.pictures.resample import bicubic

PREVIEW_SECONDS = 3


def beside_bicubic(frame: np.ndarray, result: np.ndarray) -> np.ndarray:
    """A frame (h, w, 3) by bicubic at the left of its result (H, W, 3)."""
    before = np.empty_like(result)
    quantise(bicubic(unit_range(frame), result.shape[0], result.shape[1]), before)
    return np.concatenate([before, result], axis=1)
