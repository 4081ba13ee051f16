"""The compiled kernels against PyTorch's own operators."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from srgan.networks import activation, elementwise
from srgan.networks.activation import PReLU
from srgan.networks.discriminator import FeatureDiscriminator
from srgan.training.losses import content_loss
from tests.support.compiler import needs_compiler

pytestmark = pytest.mark.xdist_group("compiled")  # one worker compiles them

TYPES = [torch.float32, torch.bfloat16]


@pytest.fixture(autouse=True)
def compiled() -> None:
    needs_compiler()
    assert elementwise.is_compiled()


def random(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
    return x.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else x


def without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elementwise, "is_compiled", lambda: False)


def values_and_gradients(function: Any, x: Tensor, *parameters: Tensor) -> list[Tensor]:
    x = x.detach().requires_grad_()
    y = function(x)
    pull = random(*y.shape, seed=9) if y.ndim else torch.tensor(1.5)
    return [y, *torch.autograd.grad((y.float() * pull).sum(), [x, *parameters])]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("slope", [0.25, 0.0, -0.5])
@pytest.mark.parametrize("shape", [(2, 64, 33, 35), (3, 5, 7, 11), (1, 3), (70001,)])
def test_prelu_is_pytorchs(shape: tuple[int, ...], slope: float, dtype: torch.dtype) -> None:
    x = random(*shape, dtype=dtype)
    ours, theirs = PReLU(init=slope), nn.PReLU(init=slope)
    y, grad_x, grad_weight = values_and_gradients(ours, x, ours.weight)
    expected = values_and_gradients(lambda x: theirs(x.float()), x, theirs.weight)
    assert y.dtype == grad_x.dtype == dtype and y.stride() == x.stride()
    assert torch.equal(y, expected[0].to(dtype))
    assert torch.equal(grad_x, expected[1].to(dtype))
    torch.testing.assert_close(grad_weight, expected[2], rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", TYPES)
def test_bfloat16_keeps_what_is_not_a_number(dtype: torch.dtype) -> None:
    odd = [float("nan"), float("inf"), -float("inf"), 3.4e38, -0.0, 1e-40, 1.0039062, -1.0039062]
    x = torch.tensor(odd * 4, dtype=dtype)
    expected = nn.functional.leaky_relu(x, 0.25)
    assert torch.equal(elementwise.prelu(x, 0.25), expected.where(~expected.isnan(), expected)) or (
        torch.equal(elementwise.prelu(x, 0.25).isnan(), expected.isnan())
        and torch.equal(elementwise.prelu(x, 0.25).nan_to_num(7), expected.nan_to_num(7))
    )


def test_what_lies_otherwise_in_memory() -> None:
    part = random(2, 16, 9, 9)[:, 2:9, 1:6]
    assert torch.equal(elementwise.prelu(part, 0.5), nn.functional.leaky_relu(part, 0.5))
    x, gradient = random(2, 16, 9, 9), random(2, 16, 9, 9, seed=1).contiguous()
    assert gradient.stride() != x.stride()
    grad_x, _ = elementwise.prelu_gradients(gradient, x, 0.5)
    assert torch.equal(grad_x, torch.where(x > 0, gradient, gradient * 0.5))


@pytest.mark.parametrize("target_dtype", TYPES)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [(2, 64, 23, 25), (3, 512, 2, 3), (1, 16, 1, 1)])
def test_unit_distance_is_pytorchs(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], dtype: Any, target_dtype: Any
) -> None:
    x, target = (
        random(*shape, dtype=dtype).relu(),
        random(*shape, dtype=target_dtype, seed=1).relu(),
    )
    x[0, :, 0, 0] = 0  # a place without length

    def loss(x: Tensor) -> Tensor:
        return content_loss([x], [target], "unit")

    ours = values_and_gradients(loss, x)
    without(monkeypatch)
    theirs = values_and_gradients(loss, x)
    torch.testing.assert_close(ours[0], theirs[0], rtol=1e-5, atol=1e-7)
    rtol, atol = (1e-4, 1e-8) if dtype == torch.float32 else (1.6e-2, 1e-5)
    torch.testing.assert_close(ours[1], theirs[1], rtol=rtol, atol=atol)


def test_equal_features_have_no_distance() -> None:
    x = random(2, 64, 9, 9)
    assert elementwise.unit_distance(x, x.clone(), 1e-6) < 1e-12


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("dtype", TYPES)
def test_the_feature_discriminator_is_the_same(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, autocast: bool
) -> None:
    torch.manual_seed(0)
    network = FeatureDiscriminator([64]).to(memory_format=torch.channels_last)
    features = random(3, 64, 20, 22, dtype=dtype).relu()
    features[1] *= 1000
    features[2] = 0  # a black picture

    def logits(x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            return network([x])[0]

    ours = values_and_gradients(logits if autocast else lambda x: logits(x.float()), features)
    without(monkeypatch)
    theirs = values_and_gradients(lambda x: logits(x.float()), features)
    rough = autocast or dtype == torch.bfloat16
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == b.dtype
        for of_a, of_b in zip(a, b, strict=True):  # samples, of other sizes each
            scale = of_b.abs().max().item()
            torch.testing.assert_close(of_a, of_b, rtol=0, atol=scale * (2e-2 if rough else 1e-5))


def test_any_number_of_threads_gives_the_same_bits() -> None:
    x, target = random(4, 64, 33, 35), random(4, 64, 33, 35, seed=1)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(
                [
                    *elementwise.prelu_gradients(target, x, 0.3),
                    *values_and_gradients(lambda x: elementwise.unit_distance(x, target, 1e-6), x),
                    *values_and_gradients(lambda x: elementwise.by_mean(x.relu(), 1e-6), x),
                ]
            )
    finally:
        torch.set_num_threads(before)
    assert all(map(torch.equal, *found))


def test_inference_compiles_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail() -> bool:
        raise AssertionError("compiled")

    monkeypatch.setattr(activation.elementwise, "is_compiled", fail)
    x = random(1, 16, 4, 4)
    assert torch.equal(PReLU().eval()(x), nn.functional.leaky_relu(x, 0.25))
