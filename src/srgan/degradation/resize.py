"""Resizing where every picture of a batch has sizes and a kernel of its own.

The batch stays one tensor: each picture lies in a window of a canvas, its edges repeated to all
sides, and goes from one window to the other by two matrix products of its own.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

KERNELS = ("box", "triangle", "cubic", "lanczos")


class Windows(NamedTuple):
    """Where the pictures lie on a canvas; (N,) integers each, but for the canvas's size."""

    canvas: tuple[int, int]
    top: np.ndarray
    left: np.ndarray
    height: np.ndarray
    width: np.ndarray

    @classmethod
    def whole(cls, images: Tensor) -> "Windows":
        """Pictures that fill their canvas."""
        count, _, height, width = images.shape
        none = np.zeros(count, int)
        return cls((height, width), none, none, none + height, none + width)


def resize(images: Tensor, source: Windows, target: Windows, kernel: np.ndarray) -> Tensor:
    """From windows to windows of other sizes, antialiased; what lies around repeats the edges.

    Args:
        images: N x C x H x W, float32.
        kernel: (N,), places in KERNELS.
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
    """The windows, all of them `height` x `width`, cut out of their canvas."""
    picture = torch.arange(len(images), device=images.device)[:, None, None, None]
    band = torch.arange(images.shape[1], device=images.device)[:, None, None]
    rows = torch.from_numpy(windows.top[:, None] + np.arange(height)).to(images.device)
    columns = torch.from_numpy(windows.left[:, None] + np.arange(width)).to(images.device)
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
    """N x outputs x inputs; each row sums to 1."""

    def column(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(device, torch.float32)[:, None, None]

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
    """The kernels at distance x, each at its own reach."""
    signed, x = x, x.abs()
    box = ((signed >= -0.5) & (signed < 0.5)).to(x.dtype)
    triangle = (1 - x).clamp(min=0)
    inner = (1.5 * x - 2.5) * x * x + 1  # Keys (1981), a = -0.5
    outer = ((-0.5 * x + 2.5) * x - 4) * x + 2
    cubic = torch.where(x <= 1, inner, torch.where(x < 2, outer, 0))
    lanczos = torch.where(x < 3, torch.sinc(x) * torch.sinc(x / 3), 0)
    weights = torch.where(kernel == 1, triangle, box)
    return torch.where(kernel == 2, cubic, torch.where(kernel == 3, lanczos, weights))
