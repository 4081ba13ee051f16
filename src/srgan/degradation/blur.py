"""Blur with a kernel of its own for each picture of a batch."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class Blur(NamedTuple):
    """Kernels by their shape; (N,) each, lengths in pixels, the angle in radians.

    A Gaussian of `sigma` along the angle and `across` beside it, a disc of `radius`, or a line of
    `length` along the angle, by `kind`: 0 or 1, 2, 3, as `degrade_presets.KINDS`.
    """

    kind: Tensor
    angle: Tensor
    sigma: Tensor
    across: Tensor
    radius: Tensor
    length: Tensor


def kernels(blur: Blur, reach: int) -> Tensor:
    """N x (2 reach + 1) x (2 reach + 1), each summing to 1, centred; edges are antialiased."""
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
    """Each picture with its kernel, by FFT; edges are replicated.

    Args:
        images: N x C x H x W.
        kernel: N x K x K, K odd.
    """
    height, width = images.shape[2:]
    reach = kernel.shape[-1] // 2
    padded = functional.pad(images, (reach,) * 4, mode="replicate")
    size = padded.shape[2:]
    # Circular, which reaches into the padding only; the kernel's middle goes to the origin.
    kernel = functional.pad(kernel, (0, size[1] - kernel.shape[2], 0, size[0] - kernel.shape[1]))
    kernel = kernel.roll((-reach, -reach), (1, 2))
    spectrum = torch.fft.rfft2(padded) * torch.fft.rfft2(kernel)[:, None]
    blurred = torch.fft.irfft2(spectrum, s=size)
    return blurred[..., reach : reach + height, reach : reach + width]
