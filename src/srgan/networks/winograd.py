"""3x3 and 5x5 convolutions with a fifth of the products, for training in float32 on a CPU.

winograd.cpp implements Winograd's algorithm (Lavin and Gray 2016, arXiv:1509.09308). This
machine's C++ compiler compiles it on first use. PyTorch's own convolutions are direct on x86-64.
"""

import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional

from srgan.networks.compiled import is_loaded
from srgan.networks.kernel_transform import kernel_transform

SOURCE = Path(__file__).with_suffix(".cpp")
# Input and output channels must be multiples of 64, to fill whole registers. Backward swaps them.
MULTIPLE = 64
MOST = 256  # channels; beyond, most time goes into the transformed kernels, 7 times as large
LANES = 16  # the output channels of the tail are padded to a multiple of it
TAIL = (9, 9)


def use_winograd(network: nn.Module) -> None:
    """Compute the convolutions of a network by Winograd's algorithm where that is faster.

    Works on x86-64 Linux with AVX2 and a C++ compiler. Elsewhere nothing changes. Values and
    gradients differ from PyTorch's by about 1e-5 of the largest. Names and parameters stay. On
    two cores with AVX-512 a convolution takes half the time, forward and backward.

    Args:
        network: in float32, on the CPU; changed in place.
    """
    hidden = [module for module in network.modules() if _gains(module)]
    tails = [module for module in network.modules() if _is_tail(module)]
    if hidden + tails and is_compiled():
        for module in hidden:
            module.__class__ = WinogradConv2d
        for module in tails:
            module.__class__ = WinogradTail


def _gains(module: nn.Module) -> bool:
    return (
        type(module) is nn.Conv2d
        and module.kernel_size == (3, 3)
        and module.stride == module.dilation == (1, 1)
        and module.padding == (1, 1)
        and module.padding_mode == "zeros"
        and module.groups == 1
        and gain(module.in_channels, module.out_channels)
    )


def gain(inputs: int, outputs: int) -> bool:
    """Whether Winograd's algorithm is faster for 3x3 convolutions with these channels."""
    return inputs % MULTIPLE == outputs % MULTIPLE == 0 and max(inputs, outputs) <= MOST


def _is_tail(module: nn.Module) -> bool:
    return type(module) is nn.Conv2d and module.kernel_size == TAIL and module.out_channels < LANES


def suits(weight: Tensor) -> bool:
    """Whether `convolve` can take the weight of a tail as `tail_after_shuffle` rewrites it."""
    inputs = weight.shape[1]
    return weight.shape[-1] in (3, 5) and inputs % MULTIPLE == 0 and inputs <= MOST


class WinogradConv2d(nn.Conv2d):
    """A 3x3 convolution that `use_winograd` has switched to Winograd's algorithm."""

    def forward(self, input: Tensor) -> Tensor:
        return convolve(input, self.weight, self.bias)


class WinogradTail(nn.Conv2d):
    """A generator's tail that `use_winograd` has marked.

    `tail_after_shuffle` turns it into a 5x5 convolution and computes that by `convolve` if it
    `suits`.
    """


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`functional.conv2d(x, weight, bias, padding="same")` by Winograd's algorithm.

    `is_compiled` must have returned true before.

    Args:
        x: (N, C, H, W), float32, C a multiple of 16.
        weight: (K, C, 3, 3) or (K, C, 5, 5).
        bias: (K,).
    """
    outputs = len(weight)
    missing = -outputs % LANES
    if not missing:
        return _WinogradFunction.apply(x, weight, bias)
    weight = functional.pad(weight, (0, 0, 0, 0, 0, 0, 0, missing))
    bias = None if bias is None else functional.pad(bias, (0, missing))
    return _WinogradFunction.apply(x, weight, bias)[:, :outputs]


class _WinogradFunction(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        x = _channels_last(x)
        ctx.save_for_backward(x, weight)
        kernels = weight.permute(2, 3, 1, 0).contiguous()
        return torch.ops.srgan_winograd.convolve(x, kernels, _transform(len(kernels)), bias)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] - from torch's decorator
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        grad = _channels_last(grads[0])
        x, weight = ctx.saved_tensors
        transform = _transform(weight.shape[-1])
        grad_x = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            turned = weight.flip(2, 3).permute(2, 3, 0, 1).contiguous()
            grad_x = torch.ops.srgan_winograd.convolve(grad, turned, transform, None)
        if ctx.needs_input_grad[1]:
            kernels = torch.ops.srgan_winograd.kernel_gradient(x, grad, transform)
            grad_weight = kernels.permute(3, 2, 0, 1)
        if ctx.needs_input_grad[2]:
            grad_bias = grad.sum((0, 2, 3))
        return grad_x, grad_weight, grad_bias


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


@functools.cache
def _transform(side: int) -> Tensor:
    return torch.tensor(kernel_transform(side), dtype=torch.float32)


@functools.cache
def is_compiled() -> bool:
    """Load torch.ops.srgan_winograd and say whether that worked. The first use compiles it."""
    return is_loaded(SOURCE, "convolutions")
