"""Conversions of RGB to other colour spaces: Y of BT.601 and CIELAB."""

import numpy as np

PEAK = 255

# Y of BT.601 in full range, as in JPEG, for R, G and B of the same range as Y.
LUMA_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)
# Y - 16 of BT.601, for R, G and B in [0, 1].
LUMA_OF_RGB = np.array([65.481, 128.553, 24.966])
# XYZ of linear RGB in [0, 1] with BT.709's primaries, and of the white D65 (2 degrees).
XYZ_FROM_RGB = np.array(
    [
        [0.412453, 0.357580, 0.180423],
        [0.212671, 0.715160, 0.072169],
        [0.019334, 0.119193, 0.950227],
    ]
)
WHITE = np.array([0.95047, 1.0, 1.08883])
# CIELAB is linear below the bend, because a cube root would be too steep there.
BEND, SLOPE, OFFSET = (6 / 29) ** 3, (29 / 6) ** 2 / 3, 4 / 29


def luma(image: np.ndarray) -> np.ndarray:
    """Y of BT.601, as MATLAB's rgb2ycbcr computes it.

    Args:
        image: (H, W, 3) RGB in [0, 255].

    Returns:
        (H, W) float64, 16 to 235, not rounded.
    """
    return image @ (LUMA_OF_RGB / 255) + 16


def cielab(image: np.ndarray) -> np.ndarray:
    """sRGB to CIELAB (CIE 1976) with the white D65.

    Args:
        image: (H, W, 3) RGB in [0, 255], sRGB (IEC 61966-2-1).

    Returns:
        (H, W, 3) float64: L* from 0 to 100, a* and b* of either sign.
    """
    encoded = image / PEAK
    linear = np.where(encoded > 0.04045, ((encoded + 0.055) / 1.055) ** 2.4, encoded / 12.92)
    xyz = linear @ XYZ_FROM_RGB.T / WHITE
    x, y, z = np.moveaxis(np.where(xyz > BEND, np.cbrt(xyz), SLOPE * xyz + OFFSET), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)
