"""JPEG on the device: what compression and decompression do to a batch, without the bits.

As libjpeg computes it (ITU-T T.81, JFIF): YCbCr, colours at half size for 4:2:0, 8x8 DCT, the
standard tables scaled by the quality. A DCT of a batch is one matrix product with 64 x 64.
"""

import functools
import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from srgan.pictures.jpeg_tables import CHROMA, LUMA

MCU = 16  # pixels: sides are multiples of it

_TO_YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))


def jpeg(images: Tensor, quality: np.ndarray, full_chroma: np.ndarray) -> Tensor:
    """Compress and decompress each picture.

    Args:
        images: N x 3 x H x W, RGB in [0, 1]; H and W are multiples of 16.
        quality: (N,), 1 to 100, as libjpeg counts it.
        full_chroma: (N,) bool: 4:4:4, else 4:2:0.

    Returns:
        In [0, 1], of 8 bits: what libjpeg gives within half a level on average; a coefficient at
        the edge of a step may round to the other side.
    """
    pixels = (images * 255).round().clamp(0, 255)
    ycbcr = _colours(pixels, _TO_YCBCR)  # Y from 0 to 255, Cb and Cr around 0
    luma, chroma = ycbcr[:, :1].round(), ycbcr[:, 1:].round()
    tables = _tables(images.device)
    percent = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)  # as libjpeg scales tables
    scale = torch.from_numpy(percent).to(images.device, torch.float32)[:, None]
    luma_table, chroma_table = (
        ((each * scale + 50) / 100).floor().clamp(1, 255) for each in tables
    )
    luma = _quantised(luma - 128, luma_table) + 128
    coarse = _quantised(functional.avg_pool2d(chroma, 2).round(), chroma_table)
    coarse = _upsampled(coarse.round())
    if full_chroma.any():
        fine = _quantised(chroma, chroma_table)
        full = torch.from_numpy(full_chroma).to(images.device)
        coarse = torch.where(full[:, None, None, None], fine, coarse)
    decoded = _colours(torch.cat([luma.round().clamp(0, 255), coarse.round()], 1), _TO_RGB)
    return decoded.round().clamp(0, 255) / 255


def _colours(images: Tensor, matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    return torch.einsum("dc,nchw->ndhw", images.new_tensor(matrix), images)


def _upsampled(chroma: Tensor) -> Tensor:
    """To double size as libjpeg's "fancy" upsampling: 3/4 of the near sample, 1/4 of the next."""
    return functional.interpolate(chroma, scale_factor=2, mode="bilinear", align_corners=False)


def _quantised(channels: Tensor, table: Tensor) -> Tensor:
    """DCT of the 8x8 blocks, rounded to multiples of the table, and back.

    Args:
        channels: N x C x H x W in 8-bit levels around 0; H and W are multiples of 8.
        table: N x 64.
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
    """64 x 64: the orthonormal DCT of an 8x8 block, rows by frequency."""
    k, x = np.mgrid[:8, :8]
    rows = np.cos((2 * x + 1) * k * math.pi / 16) / 2
    rows[0] /= math.sqrt(2)
    return torch.from_numpy(np.kron(rows, rows)).to(device, torch.float32)


@functools.lru_cache(maxsize=4)
def _tables(device: torch.device) -> tuple[Tensor, Tensor]:
    """Luma's and chroma's standard tables, 64 steps each, row by row."""
    luma, chroma = (torch.from_numpy(t.ravel()).to(device, torch.float32) for t in (LUMA, CHROMA))
    return luma, chroma
