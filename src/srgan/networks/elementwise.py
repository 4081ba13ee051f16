"""Work on large tensors in one pass over memory, for training on a CPU; PyTorch takes many.

elementwise.cpp holds the kernels. This machine's C++ compiler compiles them on first use; without
one, callers keep to PyTorch.
"""

import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from srgan.networks.compiled import is_loaded

SOURCE = Path(__file__).with_suffix(".cpp")
TYPES = (torch.float32, torch.bfloat16)
LANES = 16  # channels fill whole registers

_ops: Any = torch.ops.srgan_elementwise


@functools.cache
def is_compiled() -> bool:
    """Load torch.ops.srgan_elementwise and say whether that worked."""
    return is_loaded(SOURCE, "activations and losses")


def takes(x: Tensor) -> bool:
    """Whether `prelu` and `prelu_gradients` can take a tensor."""
    return x.device.type == "cpu" and x.dtype in TYPES


def takes_features(*features: Tensor) -> bool:
    """Whether `unit_distance` and `by_mean` can take VGG's features, N x C x H x W."""
    suits = all(
        takes(x) and x.is_contiguous(memory_format=torch.channels_last) and x.shape[1] % LANES == 0
        for x in features
    )
    return suits and is_compiled()  # a GPU needs no compiler


def prelu(x: Tensor, slope: float) -> Tensor:
    """max(x, 0) + slope * min(x, 0)."""
    return _ops.prelu(x, slope)


def prelu_gradients(gradient: Tensor, x: Tensor, slope: float) -> tuple[Tensor, Tensor]:
    """The gradients of x and, as a float32 scalar, of the slope."""
    return _ops.prelu_backward(gradient, x, slope)


def unit_distance(x: Tensor, target: Tensor, tiny: float) -> Tensor:
    """The squared distance of x and target, both scaled to length 1 over C; the mean over N, H, W.

    Args:
        x, target: N x C x H x W. Gradients reach x only.
        tiny: added to squared lengths.
    """
    return _UnitDistance.apply(x, target, tiny)


def by_mean(x: Tensor, tiny: float) -> Tensor:
    """Each sample of x, N x C x H x W, divided by its mean, or by `tiny` where that is smaller.

    Under autocast the result has the type to which the next convolution would convert it.
    """
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    return _ByMean.apply(x, dtype if dtype in TYPES else x.dtype, tiny)


class _UnitDistance(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, target: Tensor, tiny: float) -> Tensor:
        distance, factors = _ops.unit_distance(x, target, tiny)
        ctx.save_for_backward(x, target, factors)
        return distance

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] - from torch's decorator
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor, None, None]:
        return _ops.unit_distance_backward(grads[0], *ctx.saved_tensors), None, None


class _ByMean(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dtype: torch.dtype, tiny: float) -> Tensor:
        result, divisors = _ops.by_mean(x, dtype, tiny)
        ctx.save_for_backward(x, divisors)
        ctx.tiny = tiny
        return result

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] - from torch's decorator
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor, None, None]:
        return _ops.by_mean_backward(grads[0], *ctx.saved_tensors, ctx.tiny), None, None
