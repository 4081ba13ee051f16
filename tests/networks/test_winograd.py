"""Winograd's convolutions against PyTorch's, where they are taken, and without a compiler."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle

from srgan.models.load import load_checkpoint
from srgan.networks import winograd
from srgan.networks.generator import Generator
from srgan.networks.tail import tail_after_shuffle
from srgan.networks.winograd import WinogradConv2d, WinogradTail, use_winograd
from srgan.training.network import placed
from tests.support.compiler import needs_compiler

pytestmark = pytest.mark.xdist_group("compiled")  # one worker compiles them

# N, C, K, H, W: whole tiles, parts of tiles, one place, more rows than one, two kinds of blocks.
SHAPES = [(2, 64, 64, 24, 24), (1, 64, 128, 5, 7), (2, 256, 128, 1, 1), (3, 64, 256, 13, 30)]


@pytest.fixture
def compiled() -> None:
    needs_compiler()
    assert winograd.is_compiled()


def results(
    convolution: nn.Conv2d, x: Tensor, forward: Callable[[Tensor], Tensor] | None = None
) -> list[Tensor]:
    """Output, by the convolution's own forward or another, and gradients by x, weight and bias."""
    x = x.to(memory_format=torch.channels_last).requires_grad_()
    y = (forward or convolution)(x)
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y).sin()
    return [y, *torch.autograd.grad((y * weights).sum(), [x, *convolution.parameters()])]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_gradients_are_pytorchs(shape: tuple[int, ...], compiled: None) -> None:
    n, inputs, outputs, height, width = shape
    torch.manual_seed(0)
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1)
    x = torch.randn(n, inputs, height, width)
    truth = results(convolution.double(), x.double())
    use_winograd(convolution.float())
    assert type(convolution) is WinogradConv2d
    found = results(convolution, x)
    for name, a, b in zip(("y", "x", "weight", "bias"), found, truth, strict=True):
        assert a.shape == b.shape
        assert (a - b).abs().max() < 5e-5 * b.abs().max(), name
    again = results(convolution, x)
    assert all(map(torch.equal, found, again))  # resumed runs are the same to the bit


@pytest.mark.parametrize(
    ("step", "shape"), [(2, (2, 256, 48, 48)), (2, (1, 64, 5, 9)), (3, (1, 576, 5, 9))], ids=str
)
def test_the_tail_is_pytorchs(step: int, shape: tuple[int, ...], compiled: None) -> None:
    torch.manual_seed(0)
    tail = nn.Conv2d(shape[1] // step**2, 3, 9, padding=4)
    x = torch.randn(shape)
    truth = results(tail.double(), pixel_shuffle(x.double(), step))
    use_winograd(tail.float())
    assert type(tail) is WinogradTail
    y, grad_x, *grads = results(tail, x, lambda x: tail_after_shuffle(tail, x, step))
    found = [y, pixel_shuffle(grad_x, step), *grads]
    for name, a, b in zip(("y", "x", "weight", "bias"), found, truth, strict=True):
        assert a.shape == b.shape
        assert (a - b).abs().max() < 5e-5 * b.abs().max(), name


def test_frozen_kernels_take_no_gradient_and_an_activation_may_overwrite(compiled: None) -> None:
    """As in VGG."""
    convolution = nn.Conv2d(64, 64, 3, padding=1).requires_grad_(False)
    use_winograd(convolution)
    x = torch.randn(1, 64, 8, 8, requires_grad=True)
    nn.ReLU(inplace=True)(convolution(x)).sum().backward()
    assert x.grad is not None and convolution.weight.grad is None


@pytest.mark.parametrize(
    "other",
    [
        nn.Conv2d(3, 64, 3, padding=1),
        nn.Conv2d(16, 64, 3, padding=1),  # backward 64 to 16
        nn.Conv2d(64, 12, 3, padding=1),
        nn.Conv2d(512, 512, 3, padding=1),
        nn.Conv2d(64, 64, 5, padding=2),
        nn.Conv2d(3, 64, 9, padding=4),  # a head
        nn.Conv2d(64, 64, 3, padding=1, stride=2),
        nn.Conv2d(64, 64, 3, padding=2, dilation=2),
        nn.Conv2d(64, 64, 3, padding=1, groups=2),
        nn.Conv2d(64, 64, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(64, 64, 3),
    ],
    ids=str,
)
def test_other_convolutions_stay(other: nn.Conv2d) -> None:
    use_winograd(other)
    assert type(other) is nn.Conv2d


def test_a_generator_in_training_computes_the_same(astronaut: np.ndarray, compiled: None) -> None:
    lr = torch.from_numpy(astronaut[:40, :40].copy()).permute(2, 0, 1)[None] / 255
    generator = Generator.from_checkpoint(load_checkpoint("srresnet-x4"))
    with torch.no_grad():
        before = generator(lr)
        placed(generator, Accelerator(cpu=True, mixed_precision="no"))
        after = generator(lr)
    taken = [module for module in generator.modules() if type(module) is WinogradConv2d]
    assert len(taken) == 2 * 16 + 1 + 2 and type(generator.tail) is WinogradTail
    assert 0 < (after - before).abs().max() < 1e-4


SCRIPT = """
from torch import nn
from srgan.networks.winograd import use_winograd
convolution = nn.Conv2d(64, 64, 3, padding=1)
use_winograd(convolution)
print(type(convolution).__name__)
"""


def start(cache: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "XDG_CACHE_HOME": str(cache), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("compiler", ["missing", "failing"])
def test_without_a_compiler_pytorchs_stay(compiler: str, tmp_path: Path, compiled: None) -> None:
    """A line says so, and what the compiler said."""
    script = tmp_path / "failing"
    script.write_text("#!/bin/sh\necho 'winograd.cpp:8: fatal error: no such header' >&2\nexit 1\n")
    script.chmod(0o755)
    output, errors = start(tmp_path, CXX=str(tmp_path / compiler)).communicate(timeout=60)
    assert output == "Conv2d\n"
    assert errors.count("\n") == 1 and errors.startswith("convolutions run at PyTorch's speed")
    assert ("no such header" if compiler == "failing" else "No such file") in errors
    assert not list(tmp_path.glob("srgan/*"))


def test_a_cache_that_cannot_be_written(tmp_path: Path, compiled: None) -> None:
    (tmp_path / "file").write_text("")
    output, errors = start(tmp_path / "file").communicate(timeout=60)
    assert output == "Conv2d\n" and errors.count("\n") == 1


def test_a_damaged_library_goes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    compiled: None,
) -> None:
    """So that the next process compiles it anew."""
    library = tmp_path / "winograd-0.so"
    library.write_bytes(b"damaged")
    monkeypatch.setattr("srgan.networks.compiled.compiled", lambda *_: library)
    with caplog.at_level(logging.WARNING):
        assert not winograd.is_loaded.__wrapped__(winograd.SOURCE, "convolutions")
    assert not library.exists() and "the faster ones do not load" in caplog.text


def test_no_such_processor(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    monkeypatch.setattr(winograd, "is_compiled", winograd.is_compiled.__wrapped__)
    monkeypatch.setattr(winograd, "is_loaded", winograd.is_loaded.__wrapped__)
    convolution = nn.Conv2d(64, 64, 3, padding=1)
    with caplog.at_level(logging.WARNING):
        use_winograd(convolution)
    assert type(convolution) is nn.Conv2d and not caplog.records
