"""Bicubic reduction on the device: 8-bit LR as MATLAB makes it, as in the field's benchmarks."""

import functools

import torch
from torch import Tensor

from srgan.pictures.resample import bicubic_matrix


def unit(hr: Tensor) -> Tensor:
    """uint8 or uint16 to float32 in [0, 1]. Shape and memory format stay."""
    return hr.to(torch.float32) / (65535 if hr.dtype == torch.uint16 else 255)


@torch.no_grad()
def bicubic_lr(hr: Tensor, scale: int) -> Tensor:
    """The LR of a batch. Every sample equals the result of `resample.bicubic_8bit`.

    Args:
        hr: uint8, N x C x H x W, on any device; H and W are multiples of `scale`. Or uint16,
            whose reduction is clipped, but not rounded.

    Returns:
        float32 in [0, 1], N x C x H/scale x W/scale; of uint8, multiplied by 255 they are integers.

    Raises:
        ValueError: H or W is not a multiple of `scale`.
    """
    height, width = lr_size(hr, scale)
    if hr.dtype == torch.uint16:
        return reduced(unit(hr), scale).clamp_(0, 1)
    # In float64 the products are exact, for any setting of TF32 and autocast. Apple's GPUs have
    # only float32, in which the products are exact for scales 2 and 4.
    dtype = torch.float32 if hr.device.type == "mps" else torch.float64
    pixels = hr.to(dtype, memory_format=torch.contiguous_format)  # twice as fast as channels_last
    rows = round_to_8_bits(_matrix(height * scale, scale, hr.device, dtype) @ pixels)
    lr = round_to_8_bits(rows @ _matrix(width * scale, scale, hr.device, dtype).T)
    return unit(lr)


def lr_size(hr: Tensor, scale: int) -> tuple[int, int]:
    """Height and width of the LR of a batch N x 3 x H x W.

    Raises:
        ValueError: H or W is not a multiple of `scale`.
    """
    height, width = hr.shape[2:]
    if height % scale or width % scale:
        raise ValueError(f"HR of {height} x {width} is not a multiple of the scale, {scale}")
    return height // scale, width // scale


def reduced(hr: Tensor, scale: int) -> Tensor:
    """The reduction of `bicubic_lr` without rounding and clipping, so that gradients pass.

    Args:
        hr: float32, N x 3 x H x W; H and W are multiples of `scale`.

    Returns:
        float32, N x 3 x H/scale x W/scale.
    """
    height, width = hr.shape[2:]
    rows = _matrix(height, scale, hr.device, hr.dtype) @ hr
    return rows @ _matrix(width, scale, hr.device, hr.dtype).T


def round_to_8_bits(image: Tensor) -> Tensor:
    """Clip to [0, 255] and round half up, in place."""
    return image.clamp_(0, 255).add_(0.5).floor_()


@functools.lru_cache(maxsize=8)
def _matrix(size: int, scale: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The matrix (size / scale, size) that reduces `size` samples."""
    _, matrix = bicubic_matrix(size, size // scale)
    return torch.as_tensor(matrix, device=device, dtype=dtype)
