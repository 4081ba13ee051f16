"""Resizes the pictures of a batch, each to its own size and with its own kernel.

The batch stays one tensor. Each picture lies in a window of a canvas; around the window its edges
are repeated. Two matrix products per picture, for rows and columns, resize it from one window to
another.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from srgan.degradation.device import on_device

KERNELS = ("box", "triangle", "cubic", "lanczos")


class Windows(NamedTuple):
    """The places of N pictures on a canvas.

    Attributes:
        canvas: height and width of the canvas, the same for all pictures.
        top, left, height, width: of each picture's window, (N,) integers.
    """

    canvas: tuple[int, int]
    top: np.ndarray
    left: np.ndarray
    height: np.ndarray
    width: np.ndarray

    @classmethod
    def whole(cls, images: Tensor) -> "Windows":
        """The windows of pictures N x C x H x W that fill their canvas."""
        count, _, height, width = images.shape
        none = np.zeros(count, int)
        return cls((height, width), none, none, none + height, none + width)


def resize(images: Tensor, source: Windows, target: Windows, kernel: np.ndarray) -> Tensor:
    """Resize each picture from its `source` window to its `target` window, antialiased.

    Around the target window its edges are repeated.

    Args:
        images: N x C x H x W, float32; H and W are those of the source canvas.
        kernel: (N,), indices in KERNELS.

    Returns:
        N x C x H' x W', the size of the target canvas.
    """
    rows = _matrices(
        *(source.canvas[0], source.top, source.height),
        *(target.canvas[0], target.top, target.height),
        kernel,
        images.device,
    )
    columns = _matrices(
        *(source.canvas[1], source.left, source.width),
        *(target.canvas[1], target.left, target.width),
        kernel,
        images.device,
    )
    return rows[:, None] @ images @ columns[:, None].transpose(2, 3)


def take(images: Tensor, windows: Windows, height: int, width: int) -> Tensor:
    """Cut windows of one size out of their canvas: N x C x height x width."""
    picture = torch.arange(len(images), device=images.device)[:, None, None, None]
    band = torch.arange(images.shape[1], device=images.device)[:, None, None]
    rows = on_device(windows.top[:, None] + np.arange(height), images.device)
    columns = on_device(windows.left[:, None] + np.arange(width), images.device)
    return images[picture, band, rows[:, None, :, None], columns[:, None, None, :]]


def _matrices(
    inputs: int,
    source: np.ndarray,
    source_size: np.ndarray,
    outputs: int,
    target: np.ndarray,
    target_size: np.ndarray,
    kernel: np.ndarray,
    device: torch.device,
) -> Tensor:
    """The matrices that resize one axis, N x outputs x inputs; each row sums to 1.

    Args:
        inputs: samples of the source canvas along this axis.
        source: start of each source window, (N,); `source_size` is its length.
        outputs, target, target_size: the same for the target.
    """

    def column(values: np.ndarray) -> Tensor:
        return on_device(values, device, torch.float32)[:, None, None]

    scale = column(target_size / source_size)
    first, last = column(source), column(source + source_size - 1)
    place = torch.arange(outputs, device=device)[None, :, None] - column(target)
    place = place.clamp(min=0).minimum(column(target_size - 1))
    centre = (place + 0.5) / scale - 0.5 + first
    taps = torch.arange(inputs, device=device)[None, None]
    weights = _weight((centre - taps) * scale.clamp(max=1), column(kernel))
    weights = weights * ((taps >= first) & (taps <= last))
    return weights / weights.sum(2, keepdim=True)


def _weight(x: Tensor, kernel: Tensor) -> Tensor:
    """The values of the kernels at distance x, before normalisation.

    Args:
        x: N x outputs x inputs, signed, in samples.
        kernel: N x 1 x 1, indices in KERNELS.
    """
    signed, x = x, x.abs()
    box = ((signed >= -0.5) & (signed < 0.5)).to(x.dtype)
    triangle = (1 - x).clamp(min=0)
    inner = (1.5 * x - 2.5) * x * x + 1  # Keys (1981), a = -0.5
    outer = ((-0.5 * x + 2.5) * x - 4) * x + 2
    cubic = torch.where(x <= 1, inner, torch.where(x < 2, outer, 0))
    lanczos = torch.where(x < 3, torch.sinc(x) * torch.sinc(x / 3), 0)
    weights = torch.where(kernel == 1, triangle, box)
    return torch.where(kernel == 2, cubic, torch.where(kernel == 3, lanczos, weights))
