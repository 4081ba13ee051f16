import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from srgan.engines.create import create_engine
from srgan.engines.options import EngineOptions
from srgan.engines.torch import TorchOperations
from srgan.models.load import load_checkpoint
from srgan.networks import architecture as module
from srgan.networks.architecture import Architecture, Checkpoint, expected_shapes
from srgan.networks.folding import convolutions, fold, reconstruct, shuffled_tail, tail_halo
from srgan.networks.generator import Generator
from tests.support.networks import random_checkpoint
from tests.support.reference import network


def test_generator_is_the_seeds() -> None:
    generator = Generator()
    assert sum(p.numel() for p in generator.parameters()) == 1_549_462
    kinds = [type(m).__name__ for m in generator.modules()]
    assert kinds.count("ResidualBlock") == 16
    assert kinds.count("PixelShuffle") == 2
    assert kinds.count("BatchNorm2d") == 33
    assert kinds.count("PReLU") == 1 + 16 + 2


FORMS = [(2, 1), (3, 1), (4, 1), (8, 1), (1, 4), (1, 2), (2, 2)]  # scale and unshuffle


@pytest.mark.parametrize(("scale", "unshuffle"), FORMS)
def test_output_shape_and_range(scale: int, unshuffle: int) -> None:
    """Of LR of any size, also where it is no multiple of unshuffle."""
    architecture = Architecture(blocks=1, channels=8, scale=scale, unshuffle=unshuffle)
    generator = Generator(architecture).eval()
    with torch.inference_mode():
        sr = generator(torch.rand(2, 3, 11, 7))
    assert sr.shape == (2, 3, 11 * scale, 7 * scale)
    assert 0 <= sr.min() <= sr.max() <= 1


@pytest.mark.parametrize(("scale", "unshuffle"), FORMS)
def test_model_file_layout_is_the_networks(scale: int, unshuffle: int) -> None:
    architecture = Architecture(blocks=2, channels=8, scale=scale, unshuffle=unshuffle)
    state = Generator(architecture).state_dict()
    layout = {k: tuple(v.shape) for k, v in state.items() if not k.endswith("_tracked")}
    assert layout == expected_shapes(architecture)


def test_generator_from_the_shipped_file_is_in_evaluation_mode() -> None:
    generator = Generator.from_checkpoint(load_checkpoint("srresnet-x4"))
    assert not generator.training


@pytest.mark.parametrize("step", [2, 3])
@pytest.mark.parametrize("kernel", [3, 5, 7, 9])
def test_shuffled_tail_is_exact(kernel: int, step: int) -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(3, 4, kernel, kernel)).astype(np.float32)
    bias = rng.normal(size=3).astype(np.float32)
    x = torch.from_numpy(rng.normal(size=(1, 4 * step**2, 6, 9)))
    expected = functional.conv2d(
        functional.pixel_shuffle(x, step),
        torch.from_numpy(weight).double(),
        torch.from_numpy(bias).double(),
        padding=kernel // 2,
    )
    new_weight, new_bias = (torch.from_numpy(a).double() for a in shuffled_tail(weight, bias, step))
    result = functional.conv2d(x, new_weight, new_bias, padding=new_weight.shape[-1] // 2)
    torch.testing.assert_close(functional.pixel_shuffle(result, step), expected)


@pytest.mark.parametrize("steps", [(5,), (2, 3)])
def test_a_new_scale_is_two_entries(
    steps: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else knows the steps of a scale."""
    scale = math.prod(steps)
    monkeypatch.setattr(module, "SCALES", (*module.SCALES, scale))
    monkeypatch.setitem(module.STEPS, scale, steps)
    checkpoint = random_checkpoint(Architecture(1, 4, scale))
    lr = np.random.default_rng(0).random((1, 3, 9, 7), np.float32)
    expected = network(checkpoint, lr)
    assert expected.shape == (1, 3, 9 * scale, 7 * scale)
    for engine in ("openvino", "torch"):
        sr = create_engine(checkpoint, EngineOptions(engine, "fp32"))(lr)  # type: ignore[arg-type]
        np.testing.assert_allclose(sr, expected, atol=1e-4)


def test_folding_keeps_channels_of_little_variance() -> None:
    """Where the running variance is near BN's epsilon, folding must add it too."""
    checkpoint = random_checkpoint(Architecture(1, 4, 2))
    for name, tensor in checkpoint.tensors.items():
        if name.endswith("running_var"):
            tensor[:] = 1e-5
    conv1, _ = fold(checkpoint).blocks[0]
    gain = checkpoint.tensors["blocks.0.bn1.weight"] / np.sqrt(2e-5)
    weight = checkpoint.tensors["blocks.0.conv1.weight"] * gain[:, None, None, None]
    np.testing.assert_allclose(conv1.weight, weight, rtol=1e-5)


@pytest.mark.parametrize(("scale", "halo"), [(2, 3), (3, 3), (4, 3), (8, 3)])
def test_tail_halo_is_the_receptive_field(scale: int, halo: int) -> None:
    """One LR feature further away changes nothing; at the halo it does."""
    torch.manual_seed(0)
    generator = Generator(Architecture(blocks=1, channels=4, scale=scale)).eval()
    state = {k: v.numpy() for k, v in generator.state_dict().items() if "_tracked" not in k}
    assert tail_halo(fold(Checkpoint(generator.architecture, state))) == halo
    x = torch.rand(1, 4, 15, 15, requires_grad=True)
    sr = generator.tail(generator.upsample(x))
    sr[:, :, 7 * scale : 8 * scale, 7 * scale : 8 * scale].sum().backward()
    assert x.grad is not None
    reached = x.grad.abs().sum((0, 1)).nonzero()
    assert (reached - 7).abs().max() == halo


@pytest.mark.parametrize(("scale", "kernel"), [(2, 3), (4, 3), (8, 3), (2, 1)])
def test_tail_halo_with_a_convolution_at_the_size_of_sr(scale: int, kernel: int) -> None:
    """Features, LR and edges further away than the halo change nothing."""
    options = {"trunk": "none", "hr_conv": True, "bilinear": True, "output": "clamp"}
    architecture = Architecture(1, 4, scale, kernel, tail_kernel=kernel, **options)  # type: ignore[arg-type]
    generator = fold(random_checkpoint(architecture))
    halo = tail_halo(generator)
    ops = TorchOperations(torch.device("cpu"), torch.float32)
    for convolution in convolutions(generator):
        ops.prepare(convolution)
    x = torch.rand(1, 7, 15, 15, generator=torch.Generator().manual_seed(0), requires_grad=True)
    sr = reconstruct(generator, ops, x)
    part = reconstruct(generator, ops, x[:, :, 7 - halo : 8 + halo, 7 - halo : 8 + halo])
    middle, inner = (slice(start * scale, (start + 1) * scale) for start in (7, halo))
    torch.testing.assert_close(part[..., inner, inner], sr[..., middle, middle])
    sr[..., middle, middle].sum().backward()
    assert x.grad is not None
    assert (x.grad.abs().sum((0, 1)).nonzero() - 7).abs().max() == halo
