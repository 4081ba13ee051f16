"""Metrics against scikit-image, against references written out here, and against the literature."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage import data
from skimage.color import rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from srgan.evaluation import registry
from srgan.evaluation.metrics import colour_drift, consistency, psnr_rgb, psnr_y, ssim_rgb, ssim_y
from srgan.pictures import colour
from srgan.pictures.resample import bicubic, bicubic_8bit, round_to

AS_WANG: dict[str, Any] = {
    "gaussian_weights": True,
    "sigma": 1.5,
    "use_sample_covariance": False,
    "data_range": 255,
}


def upscaled(lr: np.ndarray) -> np.ndarray:
    height, width = lr.shape[:2]
    result = bicubic(lr.astype(np.float64), 4 * height, 4 * width)
    return round_to(result, np.dtype(np.uint8))


def reduced(hr: np.ndarray) -> np.ndarray:
    return bicubic_8bit(hr, hr.shape[0] // 4, hr.shape[1] // 4)


@pytest.fixture(params=["astronaut", "chelsea", "coffee"])
def pair(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    """SR and HR, 236 x 300: neither is a multiple of CHUNK."""
    hr = np.ascontiguousarray(getattr(data, request.param)()[40:276, 100:400])
    return upscaled(reduced(hr)), hr


def y_of(image: np.ndarray) -> np.ndarray:
    """BT.601 (ITU-R), written out."""
    r, g, b = np.moveaxis(image.astype(np.float64) / 255, -1, 0)
    return 16 + 65.481 * r + 128.553 * g + 24.966 * b


def direct_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Wang et al. 2004, equation 13, a window at a time, with means subtracted first."""
    offsets = np.arange(-5, 6)
    weights = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    values = []
    for top in range(a.shape[0] - 10):
        for left in range(a.shape[1] - 10):
            x, y = (plane[top : top + 11, left : left + 11] for plane in (a, b))
            mean_x, mean_y = (weights * x).sum(), (weights * y).sum()
            variance_x = (weights * (x - mean_x) ** 2).sum()
            variance_y = (weights * (y - mean_y) ** 2).sum()
            covariance = (weights * (x - mean_x) * (y - mean_y)).sum()
            c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
            values.append(
                (2 * mean_x * mean_y + c1)
                * (2 * covariance + c2)
                / ((mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2))
            )
    return float(np.mean(values))


def test_psnr_is_scikit_images(pair: tuple[np.ndarray, np.ndarray]) -> None:
    sr, hr = (image[4:-4, 4:-4] for image in pair)
    expected = peak_signal_noise_ratio(hr, sr, data_range=255)
    assert psnr_rgb(*pair, border=4) == pytest.approx(expected, abs=1e-9)
    expected = peak_signal_noise_ratio(y_of(hr), y_of(sr), data_range=255)
    assert psnr_y(*pair, border=4) == pytest.approx(expected, abs=1e-9)


def test_ssim_is_scikit_images(pair: tuple[np.ndarray, np.ndarray]) -> None:
    sr, hr = (image[4:-4, 4:-4] for image in pair)
    expected = structural_similarity(y_of(sr), y_of(hr), **AS_WANG)
    assert ssim_y(*pair, border=4) == pytest.approx(expected, abs=1e-9)
    expected = structural_similarity(sr, hr, channel_axis=2, **AS_WANG)
    assert ssim_rgb(*pair, border=4) == pytest.approx(expected, abs=1e-9)


def test_ssim_is_the_equation(pair: tuple[np.ndarray, np.ndarray]) -> None:
    sr, hr = (image[100:141, 90:120] for image in pair)
    assert ssim_y(sr, hr, border=0) == pytest.approx(direct_ssim(y_of(sr), y_of(hr)), abs=1e-9)
    channels = [
        direct_ssim(sr[..., c].astype(np.float64), hr[..., c].astype(np.float64)) for c in range(3)
    ]
    assert ssim_rgb(sr, hr, border=0) == pytest.approx(np.mean(channels), abs=1e-9)


def test_ssim_of_one_window_and_of_black_pictures(astronaut: np.ndarray) -> None:
    a, b = astronaut[:11, :11], astronaut[20:31, :11]
    assert ssim_y(a, b, 0) == pytest.approx(direct_ssim(y_of(a), y_of(b)), abs=1e-12)
    black = np.zeros_like(astronaut)
    assert ssim_y(black, black, 4) == ssim_rgb(black, black, 4) == 1


def test_equal_pictures(astronaut: np.ndarray) -> None:
    assert psnr_y(astronaut, astronaut, 4) == psnr_rgb(astronaut, astronaut, 4) == float("inf")
    assert ssim_y(astronaut, astronaut, 4) == pytest.approx(1, abs=1e-12)
    assert colour_drift(astronaut, astronaut, 4) == 0
    assert consistency(astronaut, reduced(astronaut)) == float("inf")


@pytest.mark.parametrize("metric", [psnr_y, psnr_rgb, ssim_y, ssim_rgb])
def test_the_border_does_not_count(metric: Callable[..., float], astronaut: np.ndarray) -> None:
    other = astronaut.copy()
    other[:3] = other[-3:] = 0
    other[:, :3] = other[:, -3:] = 255
    assert metric(other, astronaut, 3) == pytest.approx(metric(astronaut, astronaut, 3))
    assert metric(other, astronaut, 2) < metric(astronaut, astronaut, 2)
    assert metric(other, astronaut, 0) < metric(other, astronaut, 1)


def test_gray_file_is_its_own_y(pair: tuple[np.ndarray, np.ndarray]) -> None:
    sr, hr = (np.repeat(image[..., 1:2], 3, axis=2) for image in pair)
    expected = peak_signal_noise_ratio(hr[4:-4, 4:-4, 0], sr[4:-4, 4:-4, 0], data_range=255)
    assert psnr_y(sr, hr[..., :1], 4) == pytest.approx(expected, abs=1e-9)
    assert psnr_y(sr, hr, 4) == pytest.approx(expected + 20 * np.log10(255 / 219), abs=1e-9)
    plane, reference = sr[4:-4, 4:-4, 0], hr[4:-4, 4:-4, 0]
    expected = structural_similarity(plane, reference, **AS_WANG)
    assert ssim_y(sr, hr[..., :1], 4) == pytest.approx(expected, abs=1e-9)


def test_cielab_is_scikit_images() -> None:
    levels = np.r_[0:256:15, 1:16].astype(np.uint8)  # dark ones, too: the straight line
    colours = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
    np.testing.assert_allclose(colour.cielab(colours), rgb2lab(colours), atol=1e-3)


def test_colour_drift_is_the_mean_delta_e(pair: tuple[np.ndarray, np.ndarray]) -> None:
    sr, hr = pair
    small = [bicubic(x.astype(np.float64), 59, 75).clip(0, 255) / 255 for x in pair]
    difference = np.linalg.norm(rgb2lab(small[0]) - rgb2lab(small[1]), axis=-1)
    assert colour_drift(sr, hr, 4) == pytest.approx(difference.mean(), abs=1e-3)


def test_colour_drift_sees_a_tint_and_hardly_any_grain(astronaut: np.ndarray) -> None:
    noise = np.random.default_rng(0).choice([-6, 6], astronaut.shape)
    middle = astronaut.clip(20, 235).astype(int)
    tint = middle + np.array([6, 0, -6])
    hr, grainy, tinted = (x.astype(np.uint8) for x in (middle, middle + noise, tint))
    assert psnr_rgb(grainy, hr, 0) < psnr_rgb(tinted, hr, 0)
    assert 2 * colour_drift(grainy, hr, 4) < colour_drift(tinted, hr, 4)


def test_consistency_is_psnr_of_the_reduced_picture(pair: tuple[np.ndarray, np.ndarray]) -> None:
    sr, hr = pair
    lr = reduced(hr)
    expected = peak_signal_noise_ratio(lr, reduced(sr), data_range=255)
    assert consistency(sr, lr) == pytest.approx(expected, abs=1e-9)
    assert expected < 45


def test_every_metric_has_a_protocol_in_one_line() -> None:
    names = "psnr_y ssim_y psnr_rgb ssim_rgb lpips_alex lpips_vgg dists colour_drift consistency"
    assert [metric.name for metric in registry.METRICS] == names.split()
    for metric in registry.METRICS:
        assert metric.protocol and "\n" not in metric.protocol
        assert metric.higher_is_better == metric.name.startswith(("psnr", "ssim", "consistency"))


@pytest.mark.parametrize("metric", [psnr_y, psnr_rgb, ssim_y, ssim_rgb, colour_drift])
def test_pictures_that_do_not_fit(metric: Callable[..., float], astronaut: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"^SR of 116 x 96 pixels, HR of 120 x 96$"):
        metric(astronaut[:, :-4], astronaut, 4)
    with pytest.raises(ValueError, match=r"uint8 array .* not float64"):
        metric(astronaut / 255, astronaut, 4)
    with pytest.raises(ValueError, match=r"uint8 array .* not uint8 \(96, 120\)"):
        metric(astronaut[..., 0], astronaut[..., 0], 4)
    with pytest.raises(ValueError, match="uint8 array"):
        metric(astronaut[:0], astronaut[:0], 4)


@pytest.mark.parametrize(
    ("metric", "side"), [(psnr_y, 8), (psnr_rgb, 8), (ssim_y, 18), (ssim_rgb, 18)]
)
def test_too_small(metric: Callable[..., float], side: int, astronaut: np.ndarray) -> None:
    small = astronaut[:side, :60]
    with pytest.raises(ValueError, match=rf"^60 x {side} pixels are too few: .* 4 cropped"):
        metric(small, small, 4)
    enough = astronaut[: side + 1, :60]
    assert np.isfinite(metric(255 - enough, enough, 4))
    with pytest.raises(ValueError, match="too few"):
        metric(small, small, -1)


def test_sizes_that_are_no_multiple(astronaut: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"^118 x 96 pixels is not a multiple of the scale 4$"):
        colour_drift(astronaut[:, :118], astronaut[:, :118], 4)
    with pytest.raises(ValueError, match=r"^120 x 95 pixels is not a multiple"):
        colour_drift(astronaut[:95], astronaut[:95], 4)
    lr = reduced(astronaut)
    for sr in (astronaut[:-1], astronaut[:, :60], lr[:10]):
        with pytest.raises(ValueError, match=r"^SR of .* not a multiple of LR's 30 x 24$"):
            consistency(sr, lr)


@pytest.mark.parametrize(("name", "psnr", "ssim"), [("Set5", 28.42, 0.8104), ("Set14", 26, 0.7027)])
def test_bicubic_is_as_in_the_literature(shared: Path, name: str, psnr: float, ssim: float) -> None:
    figures = []
    for path in sorted((shared / "bench" / name / "HR").iterdir()):
        with Image.open(path) as file:
            hr = np.array(file if file.mode == "L" else file.convert("RGB"))
        with Image.open(shared / "bench" / name / "LRx4" / path.name) as file:
            sr = upscaled(np.array(file.convert("RGB")))
        hr = hr.reshape(*hr.shape[:2], -1)
        figures.append((psnr_y(sr, hr, 4), ssim_y(sr, hr, 4)))
    mean_psnr, mean_ssim = np.mean(figures, axis=0)
    assert mean_psnr == pytest.approx(psnr, abs=0.02)
    assert mean_ssim == pytest.approx(ssim, abs=0.002)
