"""An engine of which tests know all."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from srgan.engines.base import Tiling
from srgan.engines.options import Precision


class Mean3x3:
    """An engine with the smallest halo: the mean of 3 x 3 pixels."""

    name, device, scale, unshuffle = "mean", "cpu", 1, 1
    precision: Precision = "fp32"
    tiling = Tiling(halo=1, pixels=10**6, border=1)

    def features(self, lr: np.ndarray) -> np.ndarray:
        padded = np.pad(lr, [(0, 0), (0, 0), (1, 1), (1, 1)])
        return sliding_window_view(padded, (3, 3), (2, 3)).mean((4, 5))

    def reconstruct(self, features: np.ndarray) -> np.ndarray:
        return features

    def __call__(self, lr: np.ndarray) -> np.ndarray:
        return self.features(lr)


def with_few_visible_pixels(height: int, width: int) -> np.ndarray:
    """Noise (height, width, 4) uint8, of which some pixels are opaque, the others nearly not."""
    rng = np.random.default_rng(0)
    faint = rng.integers(0, 2, (height, width))
    alpha = np.where(rng.random((height, width)) < 0.02, 255, faint)
    return np.dstack([rng.integers(0, 256, (height, width, 3)), alpha]).astype(np.uint8)
