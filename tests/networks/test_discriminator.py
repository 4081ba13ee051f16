import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from srgan.networks.discriminator import Discriminator, FeatureDiscriminator


@pytest.fixture(scope="module")
def discriminator() -> Discriminator:
    """In evaluation mode, with weights and statistics that keep the activations' size."""
    torch.manual_seed(0)
    network = Discriminator().eval()
    for name, tensor in network.state_dict().items():
        if tensor.ndim > 1:
            nn.init.kaiming_normal_(tensor, a=0.2)
        elif "bn" in name and not name.endswith("_tracked"):
            low, high = (0.5, 1.5) if name.endswith(("weight", "var")) else (-0.2, 0.2)
            tensor.uniform_(low, high)
    return network


def reference(state: dict[str, Tensor], picture: Tensor) -> Tensor:
    """The issue's description in functions, float64, for 96 x 96 only: it has no pool."""
    state = {name: tensor.double() for name, tensor in state.items()}
    x = functional.conv2d(
        2 * picture.double() - 1, state["head.conv.weight"], state["head.conv.bias"], padding=4
    )
    x = functional.leaky_relu(x, 0.2)
    for i, stride in enumerate([2, 1, 2, 1, 2, 1, 2]):
        weight, bias = state[f"blocks.{i}.conv.weight"], state[f"blocks.{i}.conv.bias"]
        x = functional.conv2d(x, weight, bias, stride=stride, padding=1)
        mean, variance, gain, bias = (
            state[f"blocks.{i}.bn.{k}"] for k in ("running_mean", "running_var", "weight", "bias")
        )
        x = functional.batch_norm(x, mean, variance, gain, bias)
        x = functional.leaky_relu(x, 0.2)
    x = functional.linear(x.flatten(1), state["hidden.weight"], state["hidden.bias"])
    return functional.linear(
        functional.leaky_relu(x, 0.2), state["logit.weight"], state["logit.bias"]
    )


def test_discriminator_is_the_seeds(discriminator: Discriminator) -> None:
    assert sum(p.numel() for p in discriminator.parameters()) == 23_579_329
    widths = [block.conv.out_channels for block in discriminator.blocks]  # type: ignore[union-attr]
    assert widths == [64, 128, 128, 256, 256, 512, 512]


def test_logits_of_a_photograph_match_float64(
    discriminator: Discriminator, astronaut: np.ndarray
) -> None:
    hr = torch.from_numpy(astronaut).permute(2, 0, 1).div(255)
    crops = torch.stack([hr[:, :, :96], hr[:, :, 24:]])
    with torch.inference_mode():
        logits = discriminator(crops)
        expected = reference(discriminator.state_dict(), crops)
    assert (expected[0] - expected[1]).abs() > 1e-3
    torch.testing.assert_close(logits.double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(96, 96), (24, 24), (65, 130), (192, 96)])
def test_one_logit_per_picture_of_any_size(
    discriminator: Discriminator, size: tuple[int, int]
) -> None:
    with torch.inference_mode():
        assert discriminator(torch.rand(2, 3, *size)).shape == (2, 1)


def test_pool_changes_nothing_at_96(discriminator: Discriminator) -> None:
    with torch.inference_mode():
        features = discriminator.blocks(discriminator.head(torch.rand(1, 3, 96, 96)))
        assert features.shape == (1, 512, 6, 6)
        assert torch.equal(discriminator.pool(features), features)


def test_gradient_reaches_every_parameter_and_the_picture() -> None:
    torch.manual_seed(0)
    discriminator = Discriminator()
    picture = torch.rand(2, 3, 48, 48, requires_grad=True)
    discriminator(picture).sum().backward()
    assert picture.grad is not None and picture.grad.abs().sum() > 0
    assert all(p.grad is not None for p in discriminator.parameters())


def test_every_place_of_every_layer_is_judged_by_its_surroundings() -> None:
    torch.manual_seed(0)
    discriminator = FeatureDiscriminator([64, 256])
    layers = [torch.rand(2, 64, 40, 40), 1000 * torch.rand(2, 256, 10, 10)]
    with torch.no_grad():
        logits = discriminator(layers)
        assert [head.shape for head in logits] == [(2, 1, 20, 20), (2, 1, 10, 10)]
        assert torch.allclose(discriminator([layers[0], layers[1] / 7])[1], logits[1], atol=1e-5)
        # Another order of the places far away leaves a place's logit as it is.
        layers[1][..., 6:] = layers[1][..., 6:].flip(2, 3)
        moved = (discriminator(layers)[1] - logits[1]).abs()
    assert moved[..., :4].max() < 1e-5 < moved[..., 6:].min()


def test_black_pictures_have_logits() -> None:
    logits = FeatureDiscriminator([64])([torch.zeros(1, 64, 8, 8)])
    assert logits[0].isfinite().all()
