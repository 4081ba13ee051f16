"""The parts of blurry against libraries and by their definitions."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from torch import Tensor
from torch.nn import functional

from srgan.degradation.blur import Blur, convolve, kernels
from srgan.degradation.jpeg import jpeg
from srgan.degradation.resize import KERNELS, Windows, resize, take


def blur(kind: int, **values: float) -> Blur:
    names = ("angle", "sigma", "across", "radius", "length")
    return Blur(*(torch.tensor([float(v)]) for v in (kind, *(values.get(n, 1) for n in names))))


@pytest.mark.parametrize(
    ("wanted", "along", "across"),
    [
        (blur(0, sigma=3, across=3, angle=1), 3, 3),
        (blur(1, sigma=4, across=2, angle=0.6), 4, 2),
        (blur(2, radius=6, angle=0), 3, 3),
        (blur(3, length=12, angle=2.2), 12 / 12**0.5, 0.42),
    ],
)
def test_a_kernel_spreads_as_its_shape_says(wanted: Blur, along: float, across: float) -> None:
    """Standard deviations along the angle and across it; the middle stays."""
    kernel = kernels(wanted, 20)[0].double()
    offsets = torch.arange(-20, 21.0, dtype=torch.float64)
    y, x = torch.meshgrid(offsets, offsets, indexing="ij")
    angle = float(wanted.angle)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    assert float(kernel.sum()) == pytest.approx(1, abs=1e-5)
    assert kernel.min() >= 0
    for direction, expected in ((u, along), (v, across)):
        assert float((kernel * direction).sum()) == pytest.approx(0, abs=1e-4)
        spread = float((kernel * direction.square()).sum()) ** 0.5
        assert spread == pytest.approx(expected, rel=0.06)


def test_convolution_is_torchs_with_replicated_edges() -> None:
    torch.manual_seed(0)
    images, each = torch.rand(3, 2, 30, 41), torch.rand(3, 9, 9)
    expected = [
        functional.conv2d(
            functional.pad(image[:, None], (4, 4, 4, 4), mode="replicate"),
            kernel.flip(0, 1)[None, None],
        )[:, 0]
        for image, kernel in zip(images, each, strict=True)
    ]
    torch.testing.assert_close(convolve(images, each), torch.stack(expected), rtol=1e-4, atol=1e-4)


PILLOW = {
    "box": Image.Resampling.BOX,
    "triangle": Image.Resampling.BILINEAR,
    "cubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("size", [(40, 31), (96, 72), (130, 100)])
def test_resizing_is_pillows(name: str, size: tuple[int, int]) -> None:
    """From a window of one canvas to a window of another, beside another kernel in the batch."""
    photo = torch.from_numpy(data.astronaut()[:96, 100:172, 0].astype(np.float32) / 255)
    canvas = torch.rand(2, 1, 110, 90)
    canvas[:, 0, 7:103, 11:83] = photo
    two = np.ones(2, int)
    source = Windows((110, 90), 7 * two, 11 * two, 96 * two, 72 * two)
    target = Windows((150, 120), 9 * two, 3 * two, size[0] * two, size[1] * two)
    kernel = np.array([KERNELS.index(name), 1])
    result = resize(canvas, source, target, kernel)
    expected = Image.fromarray(photo.numpy()).resize((size[1], size[0]), PILLOW[name])
    window = result[0, 0, 9 : 9 + size[0], 3 : 3 + size[1]].numpy()
    np.testing.assert_allclose(window, np.asarray(expected), atol=2e-4)
    corner = float(result[0, 0, 0, 0])  # around it the edges are repeated
    assert corner == pytest.approx(float(window[0, 0]), abs=1e-6)
    taken = take(result, target, *size)
    assert torch.equal(taken[0, 0], result[0, 0, 9 : 9 + size[0], 3 : 3 + size[1]])


def through_libjpeg(photo: np.ndarray, quality: int, full_chroma: bool) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "JPEG", quality=quality, subsampling=0 if full_chroma else 2)
    return np.asarray(Image.open(file)).astype(int)


@pytest.fixture(scope="module")
def photos() -> Tensor:
    """Three photographs, 3 x 3 x 208 x 256 uint8, full of colours."""
    parts = [data.astronaut()[:208, :256], data.coffee()[:208, :256], data.chelsea()[:208, :256]]
    return torch.from_numpy(np.stack(parts)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("full_chroma", [False, True])
@pytest.mark.parametrize("quality", [20, 49, 75, 95])
def test_jpeg_is_libjpegs(photos: Tensor, quality: int, full_chroma: bool) -> None:
    result = jpeg(photos / 255, np.full(3, quality), np.full(3, full_chroma))
    pixels = (255 * result).round().permute(0, 2, 3, 1).numpy().astype(int)
    for photo, ours in zip(photos.permute(0, 2, 3, 1).numpy(), pixels, strict=True):
        expected = through_libjpeg(np.ascontiguousarray(photo), quality, full_chroma)
        assert np.abs(ours - expected).mean() < 0.7
        assert np.abs(ours - expected).mean() < np.abs(expected - photo).mean() / 3
        assert (np.abs(ours - expected) <= 2).mean() > 0.93


def test_jpeg_takes_every_picture_by_its_own_quality(photos: Tensor) -> None:
    quality, full = np.array([20, 95, 60]), np.array([False, True, False])
    together = jpeg(photos / 255, quality, full)
    for i in range(3):
        alone = jpeg(photos[i : i + 1] / 255, quality[i : i + 1], full[i : i + 1])
        assert (255 * (together[i] - alone[0]).abs() < 0.5).float().mean() > 0.999
