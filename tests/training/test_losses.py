from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import skimage.data
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from srgan.evaluation.metrics import colour_drift
from srgan.networks.architecture import Architecture
from srgan.networks.discriminator import Discriminator
from srgan.networks.features import FeatureExtractor
from srgan.networks.generator import Generator
from srgan.training.losses import (
    consistency_loss,
    content_loss,
    discriminator_loss,
    generator_adversarial_loss,
    grid_loss,
    pixel_loss,
    probability,
    relativistic,
    spectrum_loss,
)
from srgan.training.options import PixelLoss


@pytest.fixture
def hr(astronaut: np.ndarray) -> Tensor:
    """Two photographs: 2 x 3 x 48 x 48, RGB in [0, 1]."""
    crops = np.stack([astronaut[:48, :48], astronaut[40:88, 60:108]])
    return torch.from_numpy(crops).permute(0, 3, 1, 2).div(255).contiguous()


@pytest.fixture
def sr(hr: Tensor) -> Tensor:
    """The photographs, blurred, with some samples exactly right."""
    sr = functional.avg_pool2d(hr, 3, stride=1, padding=1)
    sr[:, :, :4] = hr[:, :, :4]
    return sr


@pytest.fixture
def extractor(tmp_path: Path) -> FeatureExtractor:
    """VGG's first two convolutions with random weights."""
    torch.manual_seed(0)
    shapes = {"0.weight": (64, 3, 3, 3), "0.bias": (64,)}
    shapes |= {"2.weight": (64, 64, 3, 3), "2.bias": (64,)}
    weights = {f"features.{name}": 0.1 * torch.randn(shape) for name, shape in shapes.items()}
    save_file(weights, tmp_path / "vgg.safetensors")
    return FeatureExtractor(tmp_path / "vgg.safetensors", [(1, 2)])


def float64(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def reference_pixel_loss(d: np.ndarray, kind: PixelLoss) -> float:
    if kind == "rmse":
        y = (65.481 * d[:, 0] + 128.553 * d[:, 1] + 24.966 * d[:, 2]) / 255
        squares = [(a**2).mean() + 0.2 * (b**2).mean() for a, b in zip(y, d, strict=True)]
        return float(np.sqrt(np.array(squares) + 1e-5).mean())
    functions = {"mse": d**2, "l1": np.abs(d), "charbonnier": np.sqrt(d**2 + 0.001**2)}
    return float(functions[kind].mean())


def log_sigmoid(logits: np.ndarray) -> np.ndarray:
    return -np.logaddexp(0, -logits)


@pytest.mark.parametrize("kind", get_args(PixelLoss))
def test_pixel_loss(sr: Tensor, hr: Tensor, kind: PixelLoss) -> None:
    expected = reference_pixel_loss(float64(sr) - float64(hr), kind)
    assert pixel_loss(sr, hr, kind).item() == pytest.approx(expected, rel=1e-6)


def test_pixel_loss_of_the_seed_is_mse(sr: Tensor, hr: Tensor) -> None:
    assert pixel_loss(sr, hr).item() == pytest.approx(float(((sr - hr) ** 2).mean()))


@pytest.mark.parametrize("kind", get_args(PixelLoss))
def test_pixel_gradient_is_finite_where_sr_is_exact(
    sr: Tensor, hr: Tensor, kind: PixelLoss
) -> None:
    sr.requires_grad_(True)
    pixel_loss(sr, hr, kind).backward()
    assert sr.grad is not None and sr.grad.isfinite().all()
    assert (sr.grad[:, :, :4] == 0).all() and sr.grad.abs().sum() > 0


def test_content_loss(extractor: FeatureExtractor, sr: Tensor, hr: Tensor) -> None:
    extractor.double()
    (phi_sr,), (phi_hr,) = extractor(sr.double()), extractor(hr.double())
    expected = np.mean((float64(phi_sr) - float64(phi_hr)) ** 2)
    extractor.float()
    loss = content_loss(extractor(sr), extractor(hr))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def unit(features: np.ndarray) -> np.ndarray:
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def test_unit_content_loss_is_the_mean_over_layers_whatever_their_scale(
    sr: Tensor, hr: Tensor
) -> None:
    sr, hr = sr + 0.1, hr + 0.1  # no feature of nothing
    pooled_sr, pooled_hr = functional.avg_pool2d(sr, 4), functional.avg_pool2d(hr, 4)
    expected = [
        ((unit(float64(x)) - unit(float64(y))) ** 2).sum(1).mean()
        for x, y in ((sr, hr), (pooled_sr, pooled_hr))
    ]
    loss = content_loss([sr, 1000 * pooled_sr], [hr, 1000 * pooled_hr], "unit")
    assert loss.item() == pytest.approx(np.mean(expected), rel=1e-3)


def test_unit_content_loss_has_a_gradient_where_there_are_no_features(hr: Tensor) -> None:
    black = torch.zeros_like(hr).requires_grad_(True)
    assert content_loss([black], [torch.zeros_like(hr)], "unit").item() == 0
    content_loss([black], [hr], "unit").backward()
    assert black.grad is not None and black.grad.isfinite().all()


def test_consistency_is_with_what_hr_is_reduced_to(hr: Tensor) -> None:
    """HR itself and fine texture are consistent; another brightness and blur are not."""
    assert consistency_loss(hr, hr, 4).item() < 1e-4
    assert consistency_loss(0.9 * hr + 0.1, hr, 4).item() > 5 / 255
    blurred = torch.nn.functional.avg_pool2d(hr, 9, 1, 4, count_include_pad=False)
    assert consistency_loss(blurred, hr, 4).item() > 2 / 255
    texture = torch.zeros_like(hr)
    texture[..., ::2, 1::2], texture[..., 1::2, ::2] = 0.1, -0.1
    assert consistency_loss(hr + texture, hr, 4).item() < 1 / 255
    sr = (0.9 * hr).requires_grad_(True)
    consistency_loss(sr, hr, 4).backward()
    assert sr.grad is not None and sr.grad.abs().sum() > 0


def test_consistency_is_colour_drift_in_units_of_black_to_white(hr: Tensor) -> None:
    torch.manual_seed(0)
    noisy = (hr + 0.03 * torch.randn_like(hr)).clamp(0, 1)
    sr_file, hr_file = (
        (255 * x[0]).round().to(torch.uint8).permute(1, 2, 0).numpy() for x in (noisy, hr)
    )
    sr, truth = (torch.from_numpy(x).permute(2, 0, 1)[None] / 255 for x in (sr_file, hr_file))
    drift = colour_drift(sr_file, hr_file, 4)
    assert 100 * consistency_loss(sr, truth, 4).item() == pytest.approx(drift, rel=0.01)
    black = torch.full_like(hr, -0.1).requires_grad_(True)
    consistency_loss(black, hr, 4).backward()
    assert black.grad is not None and black.grad.isfinite().all()


def test_a_grid_costs_and_texture_does_not(hr: Tensor) -> None:
    """One level of noise and five of it; a grid of two and of four pixels, and one of five."""
    torch.manual_seed(0)
    assert grid_loss(hr, hr, 4).item() == 0
    noise = torch.randn_like(hr)
    grids = [torch.zeros_like(hr) for _ in range(3)]
    for grid, period in zip(grids, (2, 4, 5), strict=True):
        grid[..., ::period, ::period] = 1
    of_noise = grid_loss(hr + 5 / 255 * noise, hr, 4).item()
    fine, coarse, other = (grid_loss(hr + 5 / 255 * grid, hr, 4).item() for grid in grids)
    assert min(fine, coarse) > 2 * max(other, grid_loss(hr + 1 / 255 * noise, hr, 4).item())
    assert of_noise < 1 / 255
    sr = (hr + 5 / 255 * grids[0]).requires_grad_(True)
    grid_loss(sr, hr, 4).backward()
    assert sr.grad is not None and sr.grad.abs().sum() > 0


def test_ripples_cost_and_noise_of_the_same_power_does_not() -> None:
    """3 levels of both; a wave of 2.37 pixels, on which no grid lies."""
    torch.manual_seed(0)
    photo = skimage.data.astronaut()
    crops = [photo[y : y + 96, x : x + 96] for y in (0, 96, 192) for x in (0, 100, 200)]
    hr = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2) / 255
    assert spectrum_loss(hr, hr).item() == 0
    noisy = hr + 3 / 255 * torch.randn(len(hr), 1, 96, 96)
    wave = (2 * torch.pi / 2.37 * torch.arange(96)).sin()
    ripples = (hr + 3 / 255 * 2**0.5 * wave).requires_grad_(True)
    loss = spectrum_loss(ripples, hr)
    assert loss.item() > 10 * spectrum_loss(noisy, hr).item()
    loss.backward()
    assert ripples.grad is not None
    less = ripples - 1e-2 * ripples.grad / ripples.grad.norm()
    assert spectrum_loss(less, hr).item() < loss.item()


# Logits of a discriminator that has won by far must neither overflow nor lose their gradient.
LOGITS_HR = torch.tensor([[0.3], [-2.0], [120.0], [-150.0]])
LOGITS_SR = torch.tensor([[-0.7], [1.5], [-200.0], [90.0]])


def test_generator_adversarial_loss() -> None:
    logits = LOGITS_SR.clone().requires_grad_(True)
    loss = generator_adversarial_loss([logits])
    assert loss.item() == pytest.approx(-log_sigmoid(float64(logits)).mean(), rel=1e-6)
    loss.backward()
    assert logits.grad is not None
    np.testing.assert_allclose(
        float64(logits.grad), -np.exp(log_sigmoid(-float64(logits))) / 4, rtol=1e-5, atol=1e-30
    )


def test_discriminator_loss() -> None:
    expected = -log_sigmoid(float64(LOGITS_HR)).mean() - log_sigmoid(-float64(LOGITS_SR)).mean()
    assert discriminator_loss([LOGITS_HR], [LOGITS_SR]).item() == pytest.approx(expected, rel=1e-6)
    nothing = torch.zeros(4, 1)
    assert discriminator_loss([nothing], [nothing]).item() == pytest.approx(2 * np.log(2))


def test_heads_weigh_the_same_whatever_their_size() -> None:
    small, large = torch.full((2, 1, 1, 1), 3.0), torch.full((2, 1, 40, 40), -1.0)
    expected = -(log_sigmoid(np.array(3.0)) + log_sigmoid(np.array(-1.0))) / 2
    assert generator_adversarial_loss([small, large]).item() == pytest.approx(expected)
    both = [-log_sigmoid(np.array(x)) - log_sigmoid(np.array(-x)) for x in (3.0, -1.0)]
    loss = discriminator_loss([small, large], [small, large])
    assert loss.item() == pytest.approx(np.mean(both))
    assert probability([small, large]).item() == pytest.approx((0.95257 + 0.26894) / 2, abs=1e-4)


def test_relativistic_logits_ask_which_of_both_is_the_truth() -> None:
    hr, sr = [LOGITS_HR, LOGITS_HR[:2]], [LOGITS_SR, LOGITS_SR[:2]]
    difference = float64(LOGITS_HR) - float64(LOGITS_SR)
    heads = [-log_sigmoid(-difference).mean(), -log_sigmoid(-difference[:2]).mean()]
    loss = generator_adversarial_loss(relativistic(sr, hr))
    assert loss.item() == pytest.approx(np.mean(heads), rel=1e-5)
    heads = [-2 * log_sigmoid(difference).mean(), -2 * log_sigmoid(difference[:2]).mean()]
    loss = discriminator_loss(relativistic(hr, sr), relativistic(sr, hr))
    assert loss.item() == pytest.approx(np.mean(heads), rel=1e-5)


@pytest.mark.parametrize("enabled", [True, False])
def test_float32_from_bfloat16(
    extractor: FeatureExtractor, sr: Tensor, hr: Tensor, enabled: bool
) -> None:
    """bf16 networks' outputs enter as they are; sums and differences are not rounded to bf16."""
    half_sr, half_logits = sr.bfloat16(), LOGITS_SR.bfloat16()
    with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
        features_sr, features_hr = float64(extractor(sr)[0]), float64(extractor(hr)[0])
        losses = {
            "pixel": pixel_loss(half_sr, hr),
            "content": content_loss(extractor(sr), extractor(hr)),
            "unit": content_loss(extractor(sr), extractor(hr), "unit"),
            "generator": generator_adversarial_loss([half_logits]),
            "discriminator": discriminator_loss([half_logits], [half_logits]),
        }
    logits = float64(half_logits)
    expected = {
        "pixel": reference_pixel_loss(float64(half_sr) - float64(hr), "mse"),
        "content": np.mean((features_sr - features_hr) ** 2),
        "unit": ((unit(features_sr) - unit(features_hr)) ** 2).sum(1).mean(),
        "generator": -log_sigmoid(logits).mean(),
        "discriminator": -(log_sigmoid(logits) + log_sigmoid(-logits)).mean(),
    }
    assert all(loss.dtype == torch.float32 for loss in losses.values())
    for name, loss in losses.items():
        assert loss.item() == pytest.approx(expected[name], rel=1e-5), name


def test_gradients_reach_the_generator_and_never_vgg(
    extractor: FeatureExtractor, hr: Tensor
) -> None:
    torch.manual_seed(0)
    generator = Generator(Architecture(blocks=1, channels=8))
    discriminator = Discriminator()
    sr = generator(functional.avg_pool2d(hr, 4))
    terms = [
        content_loss(extractor(sr), extractor(hr)),
        generator_adversarial_loss([discriminator(sr)]),
    ]
    for term in terms:
        generator.zero_grad()
        (at_output,) = torch.autograd.grad(term, sr, retain_graph=True)
        assert at_output.abs().sum() > 0
        term.backward(retain_graph=True)
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in generator.parameters())
    assert all(p.grad is None for p in extractor.parameters())
