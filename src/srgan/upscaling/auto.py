"""`--model auto`: for each picture the clean or the blurry model, by what it has been through."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from srgan.engines.base import Engine
from srgan.engines.options import EngineOptions
from srgan.models.load import load_checkpoint
from srgan.models.mix import with_detail
from srgan.pictures.pixels import Pixels
from srgan.upscaling.condition import Condition, inspect_condition
from srgan.upscaling.options import AUTO, DEFAULT_MODEL
from srgan.upscaling.upscaler import Upscaler

THRESHOLDS = Path(__file__).parent / "auto.toml"
BLURRY = "srgan-blurry-x4"


@dataclass(frozen=True)
class Thresholds:
    """A picture beyond any of them is for the blurry model; see `Condition`."""

    quality: float  # below it
    traces: float  # above it, as the others; of files that are no JPEG, whose tables say more
    blur: float
    noise: float

    def passed_by(self, condition: Condition) -> list[str]:
        """What is beyond its limit, in words."""
        quality = condition.quality
        reasons = []
        if quality is not None and quality < self.quality:
            reasons.append(f"JPEG of quality {quality}")
        if quality is None and condition.traces > self.traces:
            reasons.append(f"traces of JPEG, {condition.traces:.2f}")
        if condition.blur > self.blur:
            reasons.append(f"blur of {condition.blur:.1f} pixels")
        if condition.noise > self.noise:
            reasons.append(f"noise of {condition.noise:.1f} levels")
        return reasons


class Choice(NamedTuple):
    """A model's name, and why."""

    model: str
    why: str


def read_thresholds(path: Path = THRESHOLDS) -> Thresholds:
    """The fitted limits: `benchmarks/auto.py --fit` writes the file."""
    return Thresholds(**tomllib.loads(path.read_text(encoding="utf-8")))


class ModelChooser:
    """What `--model` names: one model, or for auto two, each loaded at its first picture."""

    def __init__(
        self,
        model: str,
        detail: float | None,
        options: EngineOptions,
        upscalers: dict[str, Upscaler] | None = None,
    ) -> None:
        """Load the model, or for auto the clean one, so that what cannot be fails before any work.

        Args:
            detail: of models with a partner; see `with_detail`. For auto, of both.
            upscalers: by model, shared among several choosers of the same detail and options:
                each model is in memory once.
        """
        self._model, self._detail, self._options = model, detail, options
        self._usual = DEFAULT_MODEL if model == AUTO else model
        self._checkpoint = with_detail(load_checkpoint(self._usual), detail)
        self._upscalers = {} if upscalers is None else upscalers
        self.scale = self._checkpoint.architecture.scale

    @property
    def description(self) -> str | None:
        """What the model is for, in a sentence."""
        if self._model == AUTO:
            return f"{self._usual} or, for blurry, noisy and compressed pictures, its sibling"
        return self._checkpoint.info.get("description")

    def choose(self, picture: Pixels, *, same_size: bool = False) -> Choice:
        """The model for a picture.

        Args:
            same_size: the result has the picture's size. It was asked for to be sharper, which
                the clean model cannot do.
        """
        if self._model != AUTO:
            return Choice(self._model, "as asked for")
        if same_size:
            return Choice(BLURRY, "a picture of the same size is to be sharper")
        condition = inspect_condition(picture)
        reasons = read_thresholds().passed_by(condition)
        if reasons:
            return Choice(BLURRY, ", ".join(reasons))
        return Choice(self._usual, f"clean: {condition}")

    def upscaler(self, model: str | None = None) -> Upscaler:
        """That of a chosen model; by default of the one that is loaded first."""
        model = model or self._usual
        if model not in self._upscalers:
            checkpoint = self._checkpoint
            if model != self._usual:
                checkpoint = with_detail(load_checkpoint(model), self._detail)
            self._upscalers[model] = Upscaler(checkpoint, self._options)
        return self._upscalers[model]

    def engine_for(self, dtype: np.dtype) -> Engine:
        """As of `Upscaler`."""
        return self.upscaler().engine_for(dtype)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Upscale a picture in memory by the model that suits it."""
        return self.upscaler(self.choose(image).model)(image)
