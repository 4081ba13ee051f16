"""PReLU with one slope, as fast in training on a CPU as the other activations."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional

from srgan.networks import elementwise


class PReLU(nn.PReLU):
    """`nn.PReLU()`: max(x, 0) + slope * min(x, 0), with the same parameter, value and gradients.

    On a CPU, the gradient of torch 2.15's PReLU takes 15 to 30 times as long as LeakyReLU's. It
    was a sixth of the generator's training step. With one slope, PReLU and LeakyReLU are the same
    function of x, and the slope's gradient is a product and a sum. Other devices run torch's
    PReLU.
    """

    def forward(self, input: Tensor) -> Tensor:
        # The fast path reads the slope as a Python number, from this process's own memory: a GPU
        # would have to wait for it.
        # A TorchScript trace cannot hold a Python function.
        tracing = torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage] - documented
        if input.device.type != "cpu" or tracing:
            return super().forward(input)
        compiled = self.training and elementwise.takes(input) and elementwise.is_compiled()
        return _OneSlope.apply(input, self.weight, compiled)


class _OneSlope(Function):
    """PReLU by our kernels or LeakyReLU's. The result has the type of x, also under autocast."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, compiled: bool) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.compiled = compiled
        slope = _number(weight)
        return elementwise.prelu(x, slope) if compiled else functional.leaky_relu(x, slope)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] - from torch's decorator
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor, Tensor, None]:
        (grad,) = grads
        x, weight = ctx.saved_tensors
        if ctx.compiled:
            grad_x, grad_weight = elementwise.prelu_gradients(grad, x, _number(weight))
            return grad_x, grad_weight.to(weight.dtype).view_as(weight), None
        grad_x = torch.ops.aten.leaky_relu_backward(grad, x, _number(weight), False)
        # torch sums bf16 in float32.
        grad_weight = x.clamp(max=0).mul_(grad).sum()
        return grad_x, grad_weight.to(weight.dtype).view_as(weight), None


def _number(weight: Tensor) -> float:
    """The one value of a tensor in this process's memory."""
    return float(weight.detach().double().numpy()[0])
