"""JPEG on the device: compresses and decompresses a batch without writing a bit stream.

It computes what libjpeg computes (ITU-T T.81, JFIF): YCbCr, colours at half size for 4:2:0, 8x8
DCT, the standard tables scaled by the quality. The DCT of a batch is one product with a 64 x 64
matrix.
"""

import functools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from srgan.degradation.device import on_device
from srgan.pictures.jpeg_tables import CHROMA, LUMA, scaled

MCU = 16  # side of JPEG's minimum coded unit at 4:2:0, in pixels

_TO_YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))


def jpeg(images: Tensor, quality: np.ndarray, full_chroma: np.ndarray) -> Tensor:
    """Compress and decompress each picture.

    Args:
        images: N x 3 x H x W, RGB in [0, 1]; H and W are multiples of 16.
        quality: (N,) whole numbers, 1 to 100, as libjpeg counts it.
        full_chroma: (N,) bool: 4:4:4 if true, 4:2:0 if false.

    Returns:
        Pictures in [0, 1] with 8-bit levels. They are within half a level of libjpeg's on
        average: a coefficient near the edge of a step may round to the other side.
    """
    pixels = (images * 255).round().clamp(0, 255)
    ycbcr = _colours(pixels, _TO_YCBCR)  # Y from 0 to 255, Cb and Cr around 0
    luma, chroma = ycbcr[:, :1].round(), ycbcr[:, 1:].round()
    luma_table, chroma_table = (
        on_device(scaled(each, quality), images.device, torch.float32).flatten(1)
        for each in (LUMA, CHROMA)
    )
    luma = _quantised(luma - 128, luma_table) + 128
    coarse = _quantised(functional.avg_pool2d(chroma, 2).round(), chroma_table)
    coarse = _upsampled(coarse.round())
    if full_chroma.any():
        fine = _quantised(chroma, chroma_table)
        full = on_device(full_chroma, images.device)
        coarse = torch.where(full[:, None, None, None], fine, coarse)
    decoded = _colours(torch.cat([luma.round().clamp(0, 255), coarse.round()], 1), _TO_RGB)
    return decoded.round().clamp(0, 255) / 255


def _colours(images: Tensor, matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    return torch.einsum("dc,nchw->ndhw", _on(images.device, matrix), images)


@functools.lru_cache(maxsize=8)
def _on(device: torch.device, matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    return torch.tensor(matrix, device=device)


def _upsampled(chroma: Tensor) -> Tensor:
    """Double the size by libjpeg's "fancy" upsampling: 3/4 near sample, 1/4 next sample."""
    return functional.interpolate(chroma, scale_factor=2, mode="bilinear", align_corners=False)


def _quantised(channels: Tensor, table: Tensor) -> Tensor:
    """Transform 8x8 blocks by DCT, round to multiples of the table, and transform back.

    Args:
        channels: N x C x H x W in 8-bit levels around 0; H and W are multiples of 8.
        table: N x 64, the quantisation steps.
    """
    count, bands, height, width = channels.shape
    blocks = channels.reshape(count, bands, height // 8, 8, width // 8, 8)
    blocks = blocks.transpose(3, 4).reshape(count, -1, 64)
    transform = _dct(channels.device)
    steps = table[:, None]
    coefficients = (blocks @ transform.T / steps).round() * steps
    blocks = (coefficients @ transform).view(count, bands, height // 8, width // 8, 8, 8)
    return blocks.transpose(3, 4).reshape(count, bands, height, width)


@functools.lru_cache(maxsize=4)
def _dct(device: torch.device) -> Tensor:
    """The orthonormal DCT of an 8x8 block as a matrix, 64 x 64; each row is a frequency."""
    k, x = np.mgrid[:8, :8]
    rows: NDArray[np.float64] = np.cos((2 * x + 1) * k * math.pi / 16) / 2
    rows[0] /= math.sqrt(2)
    return torch.as_tensor(np.kron(rows, rows), device=device, dtype=torch.float32)
