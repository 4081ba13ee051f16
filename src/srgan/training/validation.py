"""Validation: held-out pictures through the model as its users run it."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from srgan.degradation.degrade import Degrade, degrade_picture, fixed_rng
from srgan.engines.options import EngineOptions
from srgan.evaluation.metrics import psnr_y, ssim_y
from srgan.networks.architecture import Checkpoint
from srgan.pictures.images import PictureError
from srgan.pictures.pixels import rgb_uint8
from srgan.training.data.stored import Pictures, StoredPicture, open_training_picture
from srgan.training.samples import sample_grid
from srgan.upscaling.upscaler import Upscaler

LARGEST = 384  # HR pixels: larger pictures are cut to their middle, so that it takes seconds
SMALLEST = 48  # HR pixels
SHOWN = 4  # pictures in the sample grid
SHOWN_SIDE = 192  # HR pixels of them

log = logging.getLogger("srgan")

Validate = Callable[[np.ndarray, np.ndarray], dict[str, float]]


class ValidationPair(NamedTuple):
    """uint8 RGB, (h, w, 3) and (scale * h, scale * w, 3)."""

    lr: np.ndarray
    hr: np.ndarray


def read_pairs(files: Pictures, scale: int, degrade: Degrade) -> list[ValidationPair]:
    """HR pictures, or their middles, and their LR; what cannot be read is reported.

    The LR of a picture of some name is the same in every run.
    """
    pairs = []
    for path in files:
        try:
            hr = _middle(path, scale)
        except PictureError as error:
            log.warning("%s; left out of validation", error)
            continue
        height, width, _ = hr.shape
        if min(height, width) < SMALLEST:
            log.warning("%s: under %d pixels; left out of validation", path, SMALLEST)
            continue
        pairs.append(
            ValidationPair(degrade_picture(degrade, hr, scale, fixed_rng(0, path.name)), hr)
        )
    return pairs


def _middle(picture: Path | StoredPicture, scale: int) -> np.ndarray:
    opened = open_training_picture(picture)
    height, width = (min(side, LARGEST) // scale * scale for side in opened.shape[:2])
    top, left = (opened.shape[0] - height) // 2, (opened.shape[1] - width) // 2
    return rgb_uint8(opened[top : top + height, left : left + width])


def validate(
    checkpoint: Checkpoint,
    pairs: Sequence[ValidationPair],
    measure: Validate,
    interrupted: Callable[[], bool] = lambda: False,
) -> tuple[dict[str, float], np.ndarray] | None:
    """Mean figures over the pairs, and a grid of the first few: LR, bicubic, SR, HR.

    PSNR and SSIM are on Y with `scale` pixels cropped.

    Args:
        measure: gives a method's own figures of (SR, HR), uint8.
        interrupted: asked before every picture; if so, there is no result.
    """
    upscaler = Upscaler(checkpoint, EngineOptions())
    scale = checkpoint.architecture.scale
    figures, shown = [], []
    for lr, hr in pairs:
        if interrupted():
            return None
        sr = upscaler(lr)
        scores = {"psnr_y": psnr_y(sr, hr, scale), "ssim_y": ssim_y(sr, hr, scale)}
        figures.append(scores | measure(sr, hr))
        if len(shown) < SHOWN:
            small = slice(SHOWN_SIDE // scale)
            large = slice(SHOWN_SIDE)
            shown.append((lr[small, small], sr[large, large], hr[large, large]))
    means = {name: float(np.mean([each[name] for each in figures])) for name in figures[0]}
    return means, sample_grid(shown)
