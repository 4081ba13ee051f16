"""Validation: the model upscales held-out pictures, as its users run it."""

import hashlib
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from srgan.degradation.bicubic import unit
from srgan.degradation.degrade import Degrade, degrade_picture, fixed_rng
from srgan.engines.base import EngineError
from srgan.engines.options import EngineOptions
from srgan.evaluation.evaluate import upscale_bicubic
from srgan.evaluation.metrics import psnr_y, ssim_y
from srgan.networks.architecture import Checkpoint
from srgan.pictures.images import PictureError
from srgan.pictures.pixels import gray_uint16, rgb_uint8
from srgan.training.data.pairs import BothSizes, Pairs
from srgan.training.data.stored import Pictures, StoredPicture, open_training_picture
from srgan.training.samples import SampleRow, sample_grid
from srgan.training.step import Step
from srgan.upscaling.upscaler import Upscaler

LARGEST = 384  # HR pixels a side; of a larger picture the middle is used, to save time
SMALLEST = 48  # HR pixels a side
SHOWN = 4  # pictures in the sample grid
SHOWN_SIDE = 192  # HR pixels a side that the grid shows of each

log = logging.getLogger("srgan")

# Computes the metrics that the method adds, for (SR, HR), uint8 (H, W, 3).
Measure = Callable[[np.ndarray, np.ndarray], dict[str, float]]


class ValidationPair(NamedTuple):
    """LR (h, w, 3) and HR (scale * h, scale * w, 3), RGB uint8."""

    lr: np.ndarray
    hr: np.ndarray


def read_pairs(
    files: Pictures,
    scale: int,
    degrade: Degrade,
    given: Pairs | None = None,
    *,
    gray: bool = False,
) -> list[ValidationPair]:
    """HR pictures, or their middles, and their LR: made from HR, or from the LR that is given.

    The LR of a picture is the same in every run: its name decides the random numbers. A picture
    that cannot be read or is too small is left out with a warning. So is, without one, a picture
    that scale 1 and the degradation leave as it is.

    Args:
        gray: colours become gray. Pictures of 16 bits, too, are validated in 8.
    """
    pairs: list[ValidationPair] = []
    for path in files:
        try:
            hr, lr = _middle(path, scale, given, gray=gray)
        except PictureError as error:
            log.warning("%s; left out of validation", error)
            continue
        height, width, _ = hr.shape
        if min(height, width) < SMALLEST:
            log.warning("%s: under %d pixels; left out of validation", path, SMALLEST)
            continue
        rng = fixed_rng(0, path.name)
        if lr is None:
            lr = degrade_picture(degrade, hr, scale, rng)
        else:
            lr = degrade_picture(degrade, lr, 1, rng)
        if np.array_equal(lr, hr):  # at scale 1, undamaged: its PSNR would be infinite
            continue
        pairs.append(ValidationPair(lr, hr))
    return pairs


def _middle(
    picture: Path | StoredPicture, scale: int, given: Pairs | None, *, gray: bool
) -> BothSizes:
    def rgb(pixels: np.ndarray) -> np.ndarray:
        return rgb_uint8(gray_uint16(pixels) if gray else pixels)

    opened = open_training_picture(picture)
    height, width = (min(side, LARGEST) // scale * scale for side in opened.shape[:2])
    top, left = (opened.shape[0] - height) // 2, (opened.shape[1] - width) // 2
    if given is None:
        return BothSizes(rgb(opened[top : top + height, left : left + width]))
    whole = rgb(opened[:, :])
    lr = rgb(given.lr_of(picture, whole))
    first, start = top // scale, left // scale
    rows = slice(first, first + height // scale)
    columns = slice(start, start + width // scale)
    top, left = first * scale, start * scale
    return BothSizes(whole[top : top + height, left : left + width], lr[rows, columns])


def validate(
    checkpoint: Checkpoint,
    pairs: Sequence[ValidationPair],
    measure: Measure,
    interrupted: Callable[[], bool] = lambda: False,
    threads: int | None = None,
) -> tuple[dict[str, float], np.ndarray] | None:
    """Mean values over the pairs, and a grid of the first few: LR, bicubic, SR, HR.

    PSNR and SSIM are computed on Y with `scale` pixels cropped.

    Args:
        measure: computes the values of a method's own metrics.
        interrupted: asked before every picture; once it is true, the result is None.
        threads: of the CPU; None for all cores.
    """
    upscaler = Upscaler(checkpoint, EngineOptions(threads=threads))
    scale = checkpoint.architecture.scale
    values: list[dict[str, float]] = []
    shown: list[SampleRow] = []
    for lr, hr in pairs:
        if interrupted():
            return None
        sr = upscaler(lr)
        common = {"psnr_y": psnr_y(sr, hr, scale), "ssim_y": ssim_y(sr, hr, scale)}
        values.append(common | measure(sr, hr))
        if len(shown) < SHOWN:
            small = slice(SHOWN_SIDE // scale)
            large = slice(SHOWN_SIDE)
            shown.append((lr[small, small], sr[large, large], hr[large, large]))
    means = {name: float(np.mean([each[name] for each in values])) for name in values[0]}
    return means, sample_grid(shown)


class Validation:
    """The validations of a run: its pictures, the last values and the best one.

    Attributes:
        pairs: the pictures; there may be none.
        iteration: iteration of the last validation.
        values: the last values, by metric.
        waited: validations in a row that were no better than the best one before them.

    Args:
        step: says which metric selects the best model, and computes the method's own.
    """

    def __init__(
        self,
        pairs: Sequence[ValidationPair],
        step: Step,
        device: torch.device,
        threads: int | None = None,
    ) -> None:
        self.iteration = 0
        self.values: dict[str, float] = {}
        self.waited = 0
        # Negated where lower is better, so that higher is better for every metric.
        self._best: float | None = None
        self.pairs = pairs
        self._step, self._device, self._threads = step, device, threads
        self._digest = _digest(pairs)

    @cached_property
    def bicubic(self) -> dict[str, float]:
        """The values of bicubic enlargement of the same LR."""
        return _bicubic(self.pairs, self._measure)

    @property
    def has_best(self) -> bool:
        """Whether a best model exists that is better than bicubic enlargement."""
        return self._best is not None and self._best > self._score(self.bicubic)

    @property
    def is_best(self) -> bool:
        """Whether the last values are better than those of the best model."""
        score = self._score(self.values)
        return not math.isnan(score) and (self._best is None or score > self._best)

    @property
    def beats_bicubic(self) -> bool:
        """Whether the last values are better than those of bicubic enlargement."""
        return self._score(self.values) > self._score(self.bicubic)

    def run(
        self, checkpoint: Checkpoint, iteration: int, interrupted: Callable[[], bool]
    ) -> np.ndarray | None:
        """Validate a model on at least one pair; its values are then in `values`.

        Args:
            iteration: the one that the model comes from.
            interrupted: asked before every picture.

        Returns:
            The sample grid; None if it was interrupted, or if the model does not run because its
            weights have exploded.
        """
        try:
            found = validate(checkpoint, self.pairs, self._measure, interrupted, self._threads)
        except (EngineError, ValueError) as error:
            log.warning("validation at %d: %s", iteration, error)
            return None
        if found is None:
            return None
        self.values, grid = found
        self.iteration = iteration
        self.waited = 0 if self.is_best else self.waited + 1
        return grid

    def keep_best(self) -> None:
        """The model of the last values has been written as the best."""
        self._best = self._score(self.values)

    def forget_best(self) -> None:
        """The best model does not exist any more."""
        self._best = None
        self.waited = 0

    def _score(self, values: Mapping[str, float]) -> float:
        """The value that selects the best model; higher is better."""
        name = self._step.criterion.removeprefix("-")
        return values[name] if name == self._step.criterion else -values[name]

    def _measure(self, sr: np.ndarray, hr: np.ndarray) -> dict[str, float]:
        return self._step.measure(self._tensor(sr), self._tensor(hr))

    def _tensor(self, picture: np.ndarray) -> Tensor:
        """uint8 (H, W, 3) as float32 1 x 3 x H x W in [0, 1]."""
        pixels = torch.as_tensor(picture).permute(2, 0, 1)[None]
        return unit(pixels.to(self._device))

    def state_dict(self) -> dict[str, Any]:
        """The state, with the names that a training state has for it."""
        return {
            "validated": self.iteration,
            "figures": self.values,
            "best": self._best,
            "waited": self.waited,
            "validation_pictures": self._digest,
            "measured_by": self._step.measured_by,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> str | None:
        """Load a training state's values; the pictures stay.

        Returns:
            What has changed, if the values of the state, such as the best, say nothing about
            those to come: they are not loaded then. Older states tell less: those of srgan 0.1.0
            nothing.
        """
        if state.get("validation_pictures", self._digest) != self._digest:
            return "the validation pictures have changed"
        measured_by = self._step.measured_by
        if state.get("measured_by", measured_by) != measured_by:
            name = self._step.criterion.removeprefix("-")
            return f'validation computes "{name}" in another way than before'
        self.iteration, self.values = state["validated"], state["figures"]
        self._best = state["best"]
        self.waited = state.get("waited", 0)
        return None


def _bicubic(pairs: Sequence[ValidationPair], measure: Measure) -> dict[str, float]:
    """Mean values of bicubic enlargement over the pairs; see `validate`."""
    values: list[dict[str, float]] = []
    for lr, hr in pairs:
        scale = hr.shape[0] // lr.shape[0]
        sr = upscale_bicubic(lr, scale)
        values.append({"psnr_y": psnr_y(sr, hr, scale)} | measure(sr, hr))
    return {name: float(np.mean([each[name] for each in values])) for name in values[0]}


def _digest(pairs: Sequence[ValidationPair]) -> str:
    """Identify the pictures by their pixels, LR's included."""
    digest = hashlib.sha256()
    for pair in pairs:
        for picture in pair:
            digest.update(str(picture.shape).encode() + picture.tobytes())
    return digest.hexdigest()
