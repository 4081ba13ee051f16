"""JPEG's standard quantisation tables (ITU-T T.81, tables K.1 and K.2), and what quality means."""

from collections.abc import Sequence

import numpy as np

LUMA = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
CHROMA = np.full((8, 8), 99)
CHROMA[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]


def scaled(table: np.ndarray, quality: int) -> np.ndarray:
    """A table at a quality from 1 to 100, as libjpeg scales it."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((table * percent + 50) // 100).clip(1, 255)


def quality_of(luma: Sequence[int]) -> int:
    """The quality, 1 to 100, at which the standard luma table is nearest to a file's in its sum.

    Args:
        luma: 64 steps, in any order.
    """
    total = sum(luma)
    return min(range(1, 101), key=lambda quality: abs(int(scaled(LUMA, quality).sum()) - total))
