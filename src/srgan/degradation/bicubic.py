"""Bicubic reduction on the device: the LR of the field's benchmarks, MATLAB's, 8 bits."""

import functools

import torch
from torch import Tensor

from srgan.pictures.resample import bicubic_matrix


def unit(hr: Tensor) -> Tensor:
    """uint8 to float32 in [0, 1], in the same shape and memory format."""
    return hr.to(torch.float32) / 255


@torch.no_grad()
def bicubic_lr(hr: Tensor, scale: int) -> Tensor:
    """The LR of a batch, sample by sample what `resample.bicubic_8bit` gives.

    Args:
        hr: uint8, N x 3 x H x W, on any device; H and W are multiples of `scale`.

    Returns:
        float32 in [0, 1], N x 3 x H/scale x W/scale; times 255 these are whole numbers.

    Raises:
        ValueError: H or W is no multiple of `scale`.
    """
    height, width = _lr_size(hr, scale)
    # In float64 the products are exact, whatever TF32 and autocast are set to. Apple's GPUs have
    # float32 only, in which they are exact too, for scales 2 and 4.
    dtype = torch.float32 if hr.device.type == "mps" else torch.float64
    pixels = hr.to(dtype, memory_format=torch.contiguous_format)  # half the time of channels_last
    rows = _eight_bits(_matrix(height * scale, scale, hr.device, dtype) @ pixels)
    lr = _eight_bits(rows @ _matrix(width * scale, scale, hr.device, dtype).T)
    return unit(lr)


def _lr_size(hr: Tensor, scale: int) -> tuple[int, int]:
    height, width = hr.shape[2:]
    if height % scale or width % scale:
        raise ValueError(f"HR of {height} x {width} is no multiple of the scale, {scale}")
    return height // scale, width // scale


def reduced(hr: Tensor, scale: int) -> Tensor:
    """The same reduction without the rounding and clipping, for gradients to go through.

    Args:
        hr: float32, N x 3 x H x W; H and W are multiples of `scale`.
    """
    height, width = hr.shape[2:]
    rows = _matrix(height, scale, hr.device, hr.dtype) @ hr
    return rows @ _matrix(width, scale, hr.device, hr.dtype).T


def _eight_bits(image: Tensor) -> Tensor:
    """Clip to 0..255 and round half up."""
    return image.clamp_(0, 255).add_(0.5).floor_()


@functools.lru_cache(maxsize=8)
def _matrix(size: int, scale: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """(size / scale, size): the matrix that shrinks `size` samples."""
    _, matrix = bicubic_matrix(size, size // scale)
    return torch.from_numpy(matrix).to(device, dtype)
