"""Sub-pixel blocks, and the tail computed before the last PixelShuffle: the same result, faster."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from srgan.networks.activation import PReLU
from srgan.networks.architecture import Architecture
from srgan.networks.winograd import WinogradTail, convolve, suits


class SubpixelBlock(nn.Module):
    """Convolution, PixelShuffle, PReLU: N x C x H x W to N x C x step*H x step*W."""

    def __init__(self, architecture: Architecture, step: int) -> None:
        super().__init__()
        channels, kernel = architecture.channels, architecture.kernel
        self.conv = nn.Conv2d(channels, step**2 * channels, kernel, padding=kernel // 2)
        self.shuffle = nn.PixelShuffle(step)
        self.prelu = PReLU() if architecture.shuffle_prelu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.prelu(self.shuffle(self.conv(x)))


def block_and_tail(block: SubpixelBlock, tail: nn.Conv2d, x: Tensor) -> Tensor:
    """`tail(block(x))`, faster: a PReLU with one slope commutes with the shuffle."""
    return tail_after_shuffle(tail, block.prelu(block.conv(x)), block.shuffle.upscale_factor)


def shuffled(weight: Tensor, step: int) -> Tensor:
    """The weight of the tail before PixelShuffle(step); gradients reach the original weight.

    `folding.shuffled_tail` does the same for NumPy arrays and has the derivation.

    Args:
        weight: (outputs, C, k, k) with odd k.

    Returns:
        Weight (step^2 * outputs, step^2 * C, k', k'), k' = 2 * ceil((k // 2) / step) + 1.
    """
    outputs, channels, kernel, _ = weight.shape
    radius = -(-(kernel // 2) // step)
    size = 2 * radius + 1
    before = step * radius - kernel // 2
    after = step * size - kernel - before
    # Output row step*i + a reads from a rows further down, and likewise for columns.
    rows = [functional.pad(weight, (0, 0, before + a, after - a)) for a in range(step)]
    weight = torch.stack(rows, 1)
    columns = [functional.pad(weight, (before + b, after - b)) for b in range(step)]
    weight = torch.stack(columns, 2)
    # The row and column read, modulo the step, name the channel before the shuffle.
    weight = weight.view(outputs, step, step, channels, size, step, size, step)
    weight = weight.permute(0, 1, 2, 3, 5, 7, 4, 6)
    return weight.reshape(step**2 * outputs, step**2 * channels, size, size)


def tail_after_shuffle(tail: nn.Conv2d, x: Tensor, step: int) -> Tensor:
    """`tail(pixel_shuffle(x, step))`, exactly: (N, step^2 C, H, W) to (N, outputs, step*H, step*W).

    A convolution to 3 channels leaves most of a vector unit idle; one to 12 channels uses more
    of it. On a CPU (bf16, AVX-512) forward and backward of the 9x9 tail take 40 % of the time
    that they take after a shuffle by 2. The channels of x are never shuffled.

    Args:
        tail: a square convolution from C channels, with odd kernel size k, stride 1 and padding
            k // 2.
        x: (N, step^2 C, H, W).
    """
    weight = shuffled(tail.weight, step)
    bias = None if tail.bias is None else tail.bias.repeat_interleave(step**2)
    if isinstance(tail, WinogradTail) and suits(weight):
        result = convolve(x, weight, bias)
    else:
        result = functional.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)
    return functional.pixel_shuffle(result, step)
