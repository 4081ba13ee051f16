"""Blurs each picture of a batch with its own kernel."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class Blur(NamedTuple):
    """Describes the kernels of N pictures. Each field is (N,); lengths are in pixels.

    Attributes:
        kind: index in `ranges.KINDS`: 0 and 1 are a Gaussian, 2 is a disc, 3 is a line (motion).
        angle: direction of the Gaussian's long axis, or of the line, in radians.
        sigma: standard deviation of the Gaussian along the angle.
        across: its standard deviation perpendicular to the angle.
        radius: of the disc.
        length: of the line.
    """

    kind: Tensor
    angle: Tensor
    sigma: Tensor
    across: Tensor
    radius: Tensor
    length: Tensor


def kernels(blur: Blur, reach: int) -> Tensor:
    """The kernels, N x K x K with K = 2 reach + 1: centred, antialiased, each sums to 1."""
    kind, angle, sigma, across, radius, length = (each[:, None, None] for each in blur)
    offsets = torch.arange(-reach, reach + 1, device=angle.device, dtype=angle.dtype)
    y, x = offsets[:, None], offsets[None, :]
    along = x * angle.cos() + y * angle.sin()
    beside = y * angle.cos() - x * angle.sin()
    gaussian = torch.exp(-0.5 * ((along / sigma) ** 2 + (beside / across) ** 2))
    disc = (radius + 0.5 - torch.hypot(along, beside)).clamp(0, 1)
    beyond = (along.abs() - (length - 1).clamp(min=0) / 2).clamp(min=0)  # a point is 1 long
    motion = (1 - torch.hypot(beyond, beside)).clamp(min=0)
    kernel = torch.where(kind == 3, motion, torch.where(kind == 2, disc, gaussian))
    return kernel / kernel.sum((1, 2), keepdim=True)


def convolve(images: Tensor, kernel: Tensor) -> Tensor:
    """Convolve each picture with its own kernel, by FFT. Edges are replicated.

    Args:
        images: N x C x H x W.
        kernel: N x K x K, K odd.

    Returns:
        N x C x H x W.
    """
    height, width = images.shape[2:]
    reach = kernel.shape[-1] // 2
    padded = functional.pad(images, (reach,) * 4, mode="replicate")
    size = padded.shape[2:]
    # The FFT's convolution is circular: it wraps around in the padding only, which is cut off.
    # The kernel's centre moves to the origin.
    kernel = functional.pad(kernel, (0, size[1] - kernel.shape[2], 0, size[0] - kernel.shape[1]))
    kernel = kernel.roll((-reach, -reach), (1, 2))
    fft: Any = torch.fft  # untyped
    spectrum = fft.rfft2(padded) * fft.rfft2(kernel)[:, None]
    blurred = fft.irfft2(spectrum, s=size)
    return blurred[..., reach : reach + height, reach : reach + width]
