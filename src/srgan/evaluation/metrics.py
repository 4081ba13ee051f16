"""Image quality metrics of 8-bit pictures: pure functions, each with its protocol."""

import numpy as np

from srgan.pictures.colour import PEAK, cielab, luma
from srgan.pictures.resample import bicubic, bicubic_8bit

WINDOW = 11  # side of SSIM's Gaussian window
SIGMA = 1.5
C1, C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2  # K1 and K2 of Wang et al.
CHUNK = 64  # rows and columns filtered at a time: bands stay narrow, and so does memory


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB over all samples of two arrays.

    10 log10(255^2 / MSE), computed in float64; infinite where the arrays are equal.
    """
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(PEAK**2 / error))


def psnr_y(sr: np.ndarray, hr: np.ndarray, border: int) -> float:
    """PSNR in dB as the paper reports it (Ledig et al. 2017, section 3.1).

    Compares Y of BT.601, 16 to 235, of 8-bit pictures. `border` pixels (by convention the scale)
    are cropped on each side.

    Args:
        sr: (H, W, 3) RGB uint8.
        hr: the same; or (H, W, 1) for a gray file. Then Y has the range 0 to 255, as in the
            field's MATLAB code, which uses a gray picture itself as Y. That gives 1.3 dB less
            than RGB does, and 0.09 dB less in the mean of Set14.

    Raises:
        ValueError: the pictures have another form, or no pixel remains after cropping.
    """
    return psnr(*_luma_pair(sr, hr, border, smallest=1))


def psnr_rgb(sr: np.ndarray, hr: np.ndarray, border: int) -> float:
    """PSNR in dB over all samples of 8-bit RGB, with `border` pixels cropped on each side.

    Args:
        sr, hr: (H, W, 3) RGB uint8 of one shape.

    Raises:
        ValueError: the pictures have another form, or no pixel remains after cropping.
    """
    return psnr(*_cropped(sr, hr, border, smallest=1))


def ssim_y(sr: np.ndarray, hr: np.ndarray, border: int) -> float:
    """SSIM on Y (Wang et al. 2004), with `border` pixels cropped on each side.

    Y is that of `psnr_y`. An 11 x 11 Gaussian window of sigma 1.5, mean over its valid region,
    population statistics, K1 0.01, K2 0.03, peak 255. The value is 1 where equal, else less.

    Args:
        sr, hr: as in `psnr_y`, with sides of at least 11 pixels after cropping.

    Raises:
        ValueError: the pictures have another form, or are too small.
    """
    return _ssim(*_luma_pair(sr, hr, border, smallest=WINDOW))


def ssim_rgb(sr: np.ndarray, hr: np.ndarray, border: int) -> float:
    """Mean of the SSIM of R, G and B, each as in `ssim_y`.

    Args:
        sr, hr: (H, W, 3) RGB uint8 of one shape, with sides of at least 11 pixels after cropping.

    Raises:
        ValueError: the pictures have another form, or are too small.
    """
    sr, hr = _cropped(sr, hr, border, smallest=WINDOW)
    return float(np.mean([_ssim(sr[..., channel], hr[..., channel]) for channel in range(3)]))


def colour_drift(sr: np.ndarray, hr: np.ndarray, scale: int) -> float:
    """Mean CIELAB difference (Delta E 1976, D65) of SR and HR, both reduced by `scale`.

    0 where the colours agree; about 2 is just visible on large areas. The bicubic reduction
    removes most of the detail, so the value measures changes of colour or brightness over an area.
    The reduced pictures are clipped but not rounded: rounding alone would add some tenths.

    Args:
        sr, hr: (H, W, 3) RGB uint8 of one shape; H and W are multiples of `scale`.

    Raises:
        ValueError: the pictures have another form.
    """
    check_pair(sr, hr)
    height, width = hr.shape[:2]
    if height % scale or width % scale:
        raise ValueError(f"{width} x {height} pixels is not a multiple of the scale {scale}")
    a, b = (
        cielab(bicubic(image.astype(np.float64), height // scale, width // scale).clip(0, PEAK))
        for image in (sr, hr)
    )
    return float(np.sqrt(((a - b) ** 2).sum(-1)).mean())


def consistency(sr: np.ndarray, lr: np.ndarray) -> float:
    """PSNR in dB over RGB, 8 bit, between SR reduced to LR's size and LR; infinite where equal.

    SR is reduced with `resample.bicubic_8bit`, which also makes the benchmarks' LR. Nothing is
    cropped.

    Args:
        sr: (scale * h, scale * w, 3) RGB uint8.
        lr: (h, w, 3) RGB uint8.

    Raises:
        ValueError: the pictures have another form.
    """
    _check_rgb(sr)
    _check_rgb(lr)
    (height, width), (lr_height, lr_width) = sr.shape[:2], lr.shape[:2]
    scale = height // lr_height
    if (height, width) != (scale * lr_height, scale * lr_width):
        raise ValueError(
            f"SR of {width} x {height} pixels is not a multiple of LR's {lr_width} x {lr_height}"
        )
    return psnr(bicubic_8bit(sr, lr_height, lr_width), lr)


def _check_rgb(image: np.ndarray) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"a uint8 array (H, W, 3) is needed, not {image.dtype} {image.shape}")


def check_pair(sr: np.ndarray, hr: np.ndarray) -> None:
    """Check that SR and HR are (H, W, 3) RGB uint8 of one shape. Raises ValueError if not."""
    _check_rgb(sr)
    _check_rgb(hr)
    if sr.shape != hr.shape:
        raise ValueError(
            f"SR of {sr.shape[1]} x {sr.shape[0]} pixels, HR of {hr.shape[1]} x {hr.shape[0]}"
        )


def _cropped(
    sr: np.ndarray, hr: np.ndarray, border: int, smallest: int
) -> tuple[np.ndarray, np.ndarray]:
    """Both without `border` pixels on each side; `smallest` pixels a side must remain."""
    check_pair(sr, hr)
    height, width = hr.shape[:2]
    if border < 0 or min(height, width) - 2 * border < smallest:
        raise ValueError(
            f"{width} x {height} pixels are too few: with {border} cropped at each edge, at least "
            f"{smallest} a side must remain"
        )
    inside = slice(border, height - border), slice(border, width - border)
    return sr[inside], hr[inside]


def _luma_pair(
    sr: np.ndarray, hr: np.ndarray, border: int, smallest: int
) -> tuple[np.ndarray, np.ndarray]:
    """Y of both, cropped: 16 to 235, or 0 to 255 where HR has one channel."""
    if hr.ndim == 3 and hr.shape[2] == 1:
        sr, hr = _cropped(sr, np.repeat(hr, 3, axis=2), border, smallest)
        return (luma(sr) - 16) * (255 / 219), (luma(hr) - 16) * (255 / 219)
    sr, hr = _cropped(sr, hr, border, smallest)
    return luma(sr), luma(hr)


def _ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Mean SSIM of two planes (H, W) in [0, 255]; each side is at least WINDOW."""
    height, width = (side - WINDOW + 1 for side in a.shape)
    total = 0.0
    for start in range(0, height, CHUNK):
        rows = slice(start, min(start + CHUNK, height) + WINDOW - 1)
        total += _ssim_map(a[rows].astype(np.float64), b[rows].astype(np.float64)).sum()
    return float(total / (height * width))


def _ssim_map(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """SSIM at every position of the window (Wang et al. 2004, equation 13).

    The equation has only the sum of the two variances, so four means are enough.
    """
    mean_a, mean_b, mean_squares, mean_product = _window_means(
        np.stack([a, b, a * a + b * b, a * b])
    )
    product = mean_a * mean_b
    squares = mean_a * mean_a + mean_b * mean_b
    covariance, variances = mean_product - product, mean_squares - squares
    return ((2 * product + C1) * (2 * covariance + C2)) / ((squares + C1) * (variances + C2))


def _window_means(planes: np.ndarray) -> np.ndarray:
    """Gaussian means of (N, h, w) at every position of the window: (N, h - 10, w - 10)."""
    height, width = (side - WINDOW + 1 for side in planes.shape[1:])
    narrow = _gaussian_matrix(height) @ planes
    means = np.empty((len(planes), height, width))
    for start in range(0, width, CHUNK):
        stop = min(start + CHUNK, width)
        columns = narrow[:, :, start : stop + WINDOW - 1]
        means[:, :, start:stop] = columns @ _gaussian_matrix(stop - start).T
    return means


def _gaussian_matrix(outputs: int) -> np.ndarray:
    """(outputs, outputs + 10): the window's weights in each row, one column further right."""
    weights = np.exp(-0.5 * ((np.arange(WINDOW) - WINDOW // 2) / SIGMA) ** 2)
    matrix = np.zeros((outputs, outputs + WINDOW - 1))
    for offset, weight in enumerate(weights / weights.sum()):
        matrix[np.arange(outputs), np.arange(outputs) + offset] = weight
    return matrix
