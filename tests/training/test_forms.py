"""What training computes in another form is what torch's plain modules compute."""

import numpy as np
import pytest
import torch
from skimage import data
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.plain import PlainGenerator
from srgan.networks.activation import PReLU
from srgan.networks.architecture import Architecture
from srgan.networks.folding import shuffled_tail
from srgan.networks.generator import Generator
from srgan.networks.tail import shuffled, tail_after_shuffle

SLOPES = [0.25, 0.0, -0.5, 1.0, 1.5]


def generators(scale: int = 4, dtype: torch.dtype = torch.float32) -> tuple[Generator, Generator]:
    """A generator and the plain one with the same parameters, none of them at its default."""
    torch.manual_seed(0)
    architecture = Architecture(blocks=2, channels=8, scale=scale)
    ours, plain = Generator(architecture).to(dtype), PlainGenerator(architecture).to(dtype)
    for name, parameter in ours.named_parameters():
        if name.endswith("prelu.weight"):
            nn.init.uniform_(parameter, -0.3, 0.3)
        elif ".bn" in name:
            nn.init.uniform_(parameter, 0.5, 1.5)
    plain.load_state_dict(ours.state_dict())
    return ours, plain


def pairs(height: int = 14, width: int = 18) -> Tensor:
    """Two LR patches of a photograph, (2, 3, height, width) in [0, 1]."""
    photo = torch.from_numpy(data.astronaut()[:256, :256].copy()).permute(2, 0, 1) / 255
    lr = functional.avg_pool2d(photo, 4)
    return torch.stack([lr[:, 8 : 8 + height, 8 : 8 + width], lr[:, -height:, -width:]])


def gradients(generator: Generator, lr: Tensor, channels_last: bool = False) -> dict[str, Tensor]:
    """The SR batch, the gradient of the input and of every parameter for one step."""
    lr = lr.clone().requires_grad_()
    x = lr.contiguous(memory_format=torch.channels_last) if channels_last else lr
    sr = generator(x)
    target = torch.linspace(0, 1, sr.numel(), dtype=torch.float64).view(sr.shape)
    functional.mse_loss(sr.double(), target).backward()
    assert lr.grad is not None
    found = {"sr": sr.detach(), "lr": lr.grad}
    return found | {n: p.grad for n, p in generator.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("slope", SLOPES)
def test_prelu_is_torchs(slope: float) -> None:
    x = torch.tensor([-3.0, -1e-30, -0.0, 0.0, 1e-30, 2.0, -torch.inf], dtype=torch.float64)
    results = []
    for module in (PReLU().double(), nn.PReLU().double()):
        nn.init.constant_(module.weight, slope)
        leaf = x[:-1].clone().requires_grad_()
        module(leaf).square().sum().backward()
        assert leaf.grad is not None
        assert module.weight.grad is not None
        results.append((module(x).detach(), leaf.grad, module.weight.grad))
    torch.testing.assert_close(results[0], results[1], equal_nan=True)


@pytest.mark.parametrize("slope", SLOPES)
def test_prelu_passes_gradcheck(slope: float) -> None:
    torch.manual_seed(0)
    module = PReLU().double()
    nn.init.constant_(module.weight, slope)
    x = torch.randn(2, 3, 5, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, _: module(x), (x, module.weight))


def test_prelu_takes_x_without_a_gradient_and_a_slope_without_one() -> None:
    x = torch.tensor([-2.0, 1.0])
    module = PReLU()
    module(x).sum().backward()
    torch.testing.assert_close(module.weight.grad, torch.tensor([-2.0]))
    x.requires_grad_()
    module = PReLU().requires_grad_(False)
    module(x).sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([0.25, 1.0]))
    assert module.weight.grad is None


def test_prelu_adds_the_slopes_gradient_up_in_float32() -> None:
    """A sum of 2 million equal bf16 terms stops at 256 where it is kept in bf16."""
    x = torch.full((16, 32, 64, 64), -1.0, dtype=torch.bfloat16).to(
        memory_format=torch.channels_last
    )
    module = PReLU()
    y = module(x)
    assert y.dtype == torch.bfloat16
    y.backward(torch.ones_like(x))
    assert module.weight.grad is not None
    assert module.weight.grad.dtype == torch.float32
    assert module.weight.grad.item() == -x.numel()


def test_prelu_loads_torchs_parameter() -> None:
    module = PReLU()
    module.load_state_dict(nn.PReLU(init=0.125).state_dict())
    assert module.weight.item() == 0.125


@pytest.mark.parametrize("step", [2, 3])
@pytest.mark.parametrize("kernel", [3, 5, 7, 9])
def test_shuffled_weight_is_foldings(kernel: int, step: int) -> None:
    weight = torch.randn(3, 4, kernel, kernel)
    expected, _ = shuffled_tail(weight.numpy(), np.zeros(3, np.float32), step)
    np.testing.assert_array_equal(shuffled(weight, step).numpy(), expected)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 6), (5, 3), (6, 7)])
@pytest.mark.parametrize(("kernel", "step"), [(3, 2), (9, 2), (9, 3)])
def test_tail_after_shuffle_is_exact(kernel: int, step: int, height: int, width: int) -> None:
    torch.manual_seed(0)
    tail = nn.Conv2d(2, 3, kernel, padding=kernel // 2).double()
    x = torch.randn(2, 2 * step**2, height, width, dtype=torch.float64, requires_grad=True)
    assert tail.bias is not None
    inputs = (x, tail.weight, tail.bias)
    grad = torch.randn(2, 3, step * height, step * width, dtype=torch.float64)
    result = tail_after_shuffle(tail, x, step)
    expected = tail(functional.pixel_shuffle(x, step))
    torch.testing.assert_close(result, expected)
    torch.testing.assert_close(
        torch.autograd.grad(result, inputs, grad), torch.autograd.grad(expected, inputs, grad)
    )


def test_tail_after_shuffle_passes_gradcheck() -> None:
    torch.manual_seed(0)
    tail = nn.Conv2d(1, 2, 3, padding=1).double()
    x = torch.randn(1, 4, 2, 3, dtype=torch.float64, requires_grad=True)
    assert tail.bias is not None
    inputs = (x, tail.weight, tail.bias)
    assert torch.autograd.gradcheck(lambda x, *_: tail_after_shuffle(tail, x, 2), inputs)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("scale", [2, 4, 8])
def test_step_is_the_plain_modules(scale: int, training: bool) -> None:
    ours, plain = generators(scale, torch.float64)
    lr = pairs(11, 7).double()
    ours.train(training)
    plain.train(training)
    torch.testing.assert_close(gradients(ours, lr), gradients(plain, lr), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(ours.state_dict(), plain.state_dict())  # the running statistics


@pytest.mark.parametrize("channels_last", [False, True])
def test_step_is_the_plain_modules_in_float32(channels_last: bool) -> None:
    ours, plain = generators()
    found = gradients(ours, pairs(), channels_last)
    expected = gradients(plain, pairs())
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_step_under_autocast_is_as_close_to_float32_as_the_plain_modules() -> None:
    ours, plain = generators()
    ours.to(memory_format=torch.channels_last)
    exact = gradients(generators()[1], pairs())
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = gradients(ours, pairs(), True), gradients(plain, pairs(), True)

    def distance(step: dict[str, Tensor], name: str) -> float:
        return float((step[name].float() - exact[name]).norm() / exact[name].norm())

    assert distance(found, "sr") < 0.01
    # A convolution before a BN has no gradient of its bias but for rounding.
    names = [n for n in exact if n.endswith("weight")]
    ratios = [distance(found, n) / distance(expected, n) for n in names]
    assert np.median(ratios) < 1.2
    assert all(p.grad is not None and p.grad.dtype == p.dtype for p in ours.parameters())


def test_generator_without_a_gradient() -> None:
    ours, plain = generators()
    with torch.inference_mode():
        torch.testing.assert_close(ours.eval()(pairs()), plain.eval()(pairs()))
