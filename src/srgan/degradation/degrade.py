"""HR batches to LR batches, on the device that trains.

`bicubic` is the reduction of the field's benchmarks: MATLAB's, 8 bits after each pass. `blurry`
makes pictures as they are found: blurred, resized, noisy, saved as JPEG, maybe twice, in the
spirit of Real-ESRGAN (arXiv:2107.10833) and BSRGAN (arXiv:2103.14006). Every sample has its own
blur, sizes, noise and quality; what they are comes from a generator of random numbers that the
caller seeds, so that a batch can be made again.
"""

import functools
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from srgan.degradation.bicubic import _lr_size, bicubic_lr
from srgan.degradation.blurry import _apply, blurry_lr
from srgan.degradation.ranges import BICUBIC, read_ranges

# HR, uint8 N x 3 x H x W, H and W multiples of the scale; the scale; what is random; to LR,
# float32 in [0, 1] of 8 bits, N x 3 x H/scale x W/scale.
Degrade = Callable[[Tensor, int, np.random.Generator], Tensor]

# What a generator of random numbers is for, beside those of data.py.
_TRAINING, _FIXED = 4, 5


def make_degrade(name: str, *, whole: bool = False) -> Degrade:
    """`bicubic`, or `blurry` by a preset or TOML file; of several, by commas, a sample gets one.

    Args:
        whole: pictures are whole, and their JPEG blocks start at their corner; in crops blocks
            start anywhere.

    Raises:
        OptionError: no such degradation.
    """
    parts = [_one_degrade(part, whole=whole) for part in name.split(",")]
    return functools.partial(_mixed_lr, parts=parts) if len(parts) > 1 else parts[0]


def _one_degrade(name: str, *, whole: bool) -> Degrade:
    if name == BICUBIC:
        return lambda hr, scale, _rng: bicubic_lr(hr, scale)
    return functools.partial(blurry_lr, ranges=read_ranges(name), whole=whole)


def _mixed_lr(hr: Tensor, scale: int, rng: np.random.Generator, *, parts: list[Degrade]) -> Tensor:
    """Every sample by one of the parts, each as probable."""
    height, width = _lr_size(hr, scale)
    lr = torch.empty((len(hr), 3, height, width), device=hr.device)
    chosen = rng.integers(len(parts), size=len(hr))
    for i, degrade in enumerate(parts):
        _apply(lr, chosen == i, lambda _, on, degrade=degrade: degrade(hr[on], scale, rng))
    return lr


def training_rng(seed: int, iteration: int, stream: int) -> np.random.Generator:
    """Of a micro-batch: `stream` counts those of an iteration, over all processes."""
    return np.random.default_rng((seed, _TRAINING, iteration, stream))


def fixed_rng(seed: int, name: str) -> np.random.Generator:
    """Of a picture by its name, whatever other pictures there are."""
    return np.random.default_rng((seed, _FIXED, *name.encode(errors="surrogateescape")))


def degrade_picture(
    degrade: Degrade, hr: np.ndarray, scale: int, rng: np.random.Generator
) -> np.ndarray:
    """The LR of a picture in memory, both uint8 (H, W, 3); sides are multiples of the scale."""
    lr = degrade(torch.from_numpy(hr).permute(2, 0, 1)[None], scale, rng)[0]
    return (lr * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
