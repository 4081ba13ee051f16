"""JPEG's standard quantisation tables (ITU-T T.81, tables K.1 and K.2), and libjpeg's quality."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

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


def scaled(table: np.ndarray, quality: ArrayLike) -> np.ndarray:
    """A quantisation table at one or several qualities, by libjpeg's formula.

    Args:
        table: (8, 8), LUMA or CHROMA.
        quality: whole numbers from 1 to 100, of any shape.

    Returns:
        Integers, 1 to 255, in the shape of `quality` followed by (8, 8).
    """
    quality = np.asarray(quality, np.int64)[..., None, None]
    percent = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return ((table * percent + 50) // 100).clip(1, 255)


def quality_of(luma: Sequence[int]) -> int:
    """The quality, 1 to 100, at which the sum of the standard luma table is nearest to a file's.

    Args:
        luma: the 64 steps of the file's table, in any order.
    """
    sums = scaled(LUMA, range(1, 101)).sum((1, 2))
    return int(np.abs(sums - sum(luma)).argmin()) + 1
