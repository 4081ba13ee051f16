"""Image quality figures: pure functions, each with its protocol."""

from typing import Any

import numpy as np


def luma(image: np.ndarray) -> np.ndarray:
    """Y of BT.601 as MATLAB's rgb2ycbcr computes it: 16 to 235, float64, not rounded.

    Args:
        image: (H, W, 3) RGB uint8.
    """
    return image @ (np.array([65.481, 128.553, 24.966]) / 255) + 16


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, over all samples, peak 255."""
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def psnr_y(sr: np.ndarray, hr: np.ndarray, border: int) -> float:
    """PSNR as the paper reports it (Ledig et al. 2017, section 3.1).

    On Y of BT.601, of 8-bit pictures, with `border` pixels cropped on each side (the scale).

    Args:
        sr, hr: (H, W, 3) RGB uint8 of one shape.
    """
    crop = slice(border, -border)
    return psnr(luma(sr[crop, crop]), luma(hr[crop, crop]))


def ssim_y(sr: np.ndarray, hr: np.ndarray, border: int) -> float:
    """SSIM on Y (Wang et al. 2004), with `border` pixels cropped on each side (the scale).

    11x11 Gaussian window of sigma 1.5, mean over its valid region, population statistics,
    peak 255; needs scikit-image.

    Args:
        sr, hr: (H, W, 3) RGB uint8 of one shape, at least 11 pixels after cropping.
    """
    from skimage.metrics import structural_similarity

    crop = slice(border, -border)
    score: Any = structural_similarity(
        luma(sr[crop, crop]),
        luma(hr[crop, crop]),
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    return float(score)
