"""Turns HR batches into LR batches, on the device that trains.

`bicubic` is the reduction of the field's benchmarks: MATLAB's, rounded to 8 bits after each pass.
`blurry` makes LR like real small pictures: blurred, resized, noisy, saved as JPEG, often twice,
in the spirit of Real-ESRGAN (arXiv:2107.10833) and BSRGAN (arXiv:2103.14006). Every sample has
its own blur, sizes, noise and quality. They come from a random generator that the caller seeds,
so that a batch can be made again.
"""

import functools
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from srgan.degradation.bicubic import bicubic_lr, lr_size
from srgan.degradation.blurry import blurry_lr, replace_chosen
from srgan.degradation.ranges import BICUBIC, read_ranges

# Takes HR, the scale and a random generator; returns LR. HR is uint8, N x 3 x H x W, H and W are
# multiples of the scale. LR is float32 in [0, 1], 8-bit levels, N x 3 x H/scale x W/scale. HR may
# also be gray uint16, N x 1 x H x W; then LR is gray and has levels of its own.
Degrade = Callable[[Tensor, int, np.random.Generator], Tensor]

# Purposes of random generators, part of their seed. training/data/crops.py has the others.
_TRAINING, _FIXED = 4, 5


def make_degrade(name: str, *, whole: bool = False) -> Degrade:
    """The degradation of this name.

    Args:
        name: "bicubic", a preset of `blurry`, or a path of a TOML file of ranges. Several names
            are separated by commas; then each sample gets one of them at random.
        whole: the pictures are whole, so their JPEG blocks start at their corner. In crops the
            blocks start at a random place.

    Raises:
        OptionError: there is no such degradation, or its file is wrong.
    """
    parts = [_one_degrade(part, whole=whole) for part in name.split(",")]
    return functools.partial(_mixed_lr, parts=parts) if len(parts) > 1 else parts[0]


def _one_degrade(name: str, *, whole: bool) -> Degrade:
    if name == BICUBIC:
        return lambda hr, scale, _rng: bicubic_lr(hr, scale)
    return functools.partial(blurry_lr, ranges=read_ranges(name), whole=whole)


def _mixed_lr(hr: Tensor, scale: int, rng: np.random.Generator, *, parts: list[Degrade]) -> Tensor:
    """The LR of a batch in which each sample gets one of the parts, all equally probable."""
    height, width = lr_size(hr, scale)
    lr = torch.empty((len(hr), hr.shape[1], height, width), device=hr.device)
    chosen = rng.integers(len(parts), size=len(hr))
    for i, degrade in enumerate(parts):
        replace_chosen(lr, chosen == i, lambda _, on, degrade=degrade: degrade(hr[on], scale, rng))
    return lr


def training_rng(seed: int, iteration: int, stream: int) -> np.random.Generator:
    """The random generator for one micro-batch of training.

    Args:
        stream: number of the micro-batch in its iteration, counted over all processes.
    """
    return np.random.default_rng((seed, _TRAINING, iteration, stream))


def fixed_rng(seed: int, name: str) -> np.random.Generator:
    """The random generator for one picture. It depends only on the seed and the picture's name."""
    return np.random.default_rng((seed, _FIXED, *name.encode(errors="surrogateescape")))


def degrade_picture(
    degrade: Degrade, hr: np.ndarray, scale: int, rng: np.random.Generator
) -> np.ndarray:
    """The LR of one picture; both are uint8 (H, W, 3). HR's sides are multiples of the scale."""
    lr = degrade(torch.as_tensor(hr).permute(2, 0, 1)[None], scale, rng)[0]
    return (lr * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
