"""`--model auto`: chooses the model for each picture by its condition and the size asked for.

The picture decides the family, clean or blurry. The size decides the member of the family: the one
with the smallest scale that is large enough. Only shipped models are members.
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from srgan.engines.base import Engine
from srgan.engines.options import EngineOptions
from srgan.models.file import shipped_models
from srgan.models.load import load_model
from srgan.models.mix import with_detail
from srgan.pictures.pixels import Pixels
from srgan.upscaling.condition import Condition, inspect_condition
from srgan.upscaling.dither import is_dithered
from srgan.upscaling.options import AUTO, DEFAULT_MODEL
from srgan.upscaling.upscaler import Upscaler

THRESHOLDS = Path(__file__).parent / "auto.toml"
# Families of models: their members are NAME-x2, NAME-x4, ...
CLEAN, BLURRY, BLURRY_FAITHFUL = "srgan", "srgan-blurry", "srresnet-blurry"


@dataclass(frozen=True)
class Thresholds:
    """Thresholds of the clean model: a picture beyond any of them gets the blurry model.

    Attributes:
        quality: lowest JPEG quality, 1 to 100.
        traces: most traces of JPEG, for files that are not JPEG themselves. A JPEG file states
            its quality in its tables, which is more reliable.
        blur: most blur, in pixels.
        noise: most noise, in 8-bit levels.
    """

    quality: float
    traces: float
    blur: float
    noise: float

    def passed_by(self, condition: Condition) -> dict[str, str]:
        """The thresholds that a picture passes; empty for a clean picture.

        Returns:
            A sign in a word, such as "blurred", and its figure in words.
        """
        quality = condition.quality
        reasons: dict[str, str] = {}
        if quality is not None and quality < self.quality:
            reasons["compressed"] = f"JPEG of quality {quality}"
        if quality is None and condition.traces > self.traces:
            reasons["compressed"] = f"traces of JPEG, {condition.traces:.2f}"
        if condition.blur > self.blur:
            reasons["blurred"] = f"blur of {condition.blur:.1f} pixels"
        if condition.noise > self.noise:
            reasons["noisy"] = f"noise of {condition.noise:.1f} levels"
        return reasons


class Choice(NamedTuple):
    """The model chosen for a picture, and the reason in words.

    Attributes:
        signs: of a picture that is not clean: "compressed", "blurred", "noisy", "dithered".
    """

    model: str
    why: str
    signs: tuple[str, ...] = ()


def members(family: str) -> dict[int, str]:
    """The shipped models of a family by their scale, in rising order."""
    found = (re.fullmatch(rf"{family}-x(\d+)", name) for name in shipped_models())
    return dict(sorted((int(match[1]), match[0]) for match in found if match))


def read_thresholds(path: Path = THRESHOLDS) -> Thresholds:
    """Read the thresholds from a file that `benchmarks/auto.py --fit` wrote."""
    return Thresholds(**tomllib.loads(path.read_text(encoding="utf-8")))


class ModelChooser:
    """Chooses the model for each picture: for "auto" one of two families, otherwise one model.

    Not for use by two threads at once.
    """

    def __init__(
        self,
        model: str,
        detail: float | None,
        options: EngineOptions,
        upscalers: dict[str, Upscaler] | None = None,
    ) -> None:
        """Load the model, for "auto" the clean one, so that errors appear before any work.

        Args:
            model: the same values as `load_model`, or "auto".
            detail: see `with_detail`; for "auto" it holds for all models.
            options: of the engines.
            upscalers: by model name. Choosers with the same detail and options can share one
                dictionary, so that each model is in memory once.

        Raises:
            CheckpointError: the model does not exist, or its file is damaged.
            OptionError: `detail` is out of range.
        """
        self._model, self._detail, self._options = model, detail, options
        self._usual = DEFAULT_MODEL if model == AUTO else model
        self._checkpoint = with_detail(load_model(self._usual), detail)
        self._upscalers = {} if upscalers is None else upscalers
        self.scale = self._checkpoint.scale

    @property
    def description(self) -> str | None:
        """The model's purpose in a sentence; None where its file does not say."""
        if self._model == AUTO:
            return f"{self._usual} or its sibling for blurry pictures or for another size"
        return self._checkpoint.info.get("description")

    @property
    def detail(self) -> float | None:
        """The detail, 0 to 1, of the first model; None if it has no partner to be mixed with."""
        info = self._checkpoint.info
        return float(info.get("detail", 1)) if "partner" in info else None

    def choose(self, picture: Pixels, size: tuple[int, int] | None = None) -> Choice:
        """Choose the model for a picture.

        Args:
            size: (height, width) of the result; the default is 4 times the picture's.
        """
        if self._model != AUTO:
            return Choice(self._model, "as requested")
        sides = picture.shape[:2]
        size = size or (self.scale * sides[0], self.scale * sides[1])
        family, why, signs = self._family(picture, same_size=size == sides)
        known = members(family)
        enough = (n for n in known if size[0] <= n * sides[0] and size[1] <= n * sides[1])
        scale = next(enough, max(known))
        if size != (scale * sides[0], scale * sides[1]):
            why += f"; computed at x{scale} and resized"
        return Choice(known[scale], why, signs)

    def _family(self, picture: Pixels, *, same_size: bool) -> Choice:
        """The family of models for a picture.

        At the same size the user wants it sharper. The clean models do not sharpen.
        """
        if same_size:
            return Choice(BLURRY, "to sharpen at the same size")
        if is_dithered(picture):
            # The vivid model draws texture where the dots were, unless --detail asks for it.
            faithful = self._detail is None
            family = BLURRY_FAITHFUL if faithful else BLURRY
            return Choice(family, "dithered with two levels", ("dithered",))
        condition = inspect_condition(picture)
        reasons = read_thresholds().passed_by(condition)
        if reasons:
            return Choice(BLURRY, ", ".join(reasons.values()), tuple(reasons))
        return Choice(CLEAN, f"clean: {condition}")

    def upscaler(self, model: str | None = None) -> Upscaler:
        """The upscaler of a model, built at its first use; by default the first model's."""
        model = model or self._usual
        if model not in self._upscalers:
            checkpoint = self._checkpoint
            if model != self._usual:
                checkpoint = with_detail(load_model(model), self._detail)
            self._upscalers[model] = Upscaler(checkpoint, self._options)
        return self._upscalers[model]

    def engine_for(self, dtype: np.dtype) -> Engine:
        """See `Upscaler.engine_for`; of the first model."""
        return self.upscaler().engine_for(dtype)

    def __call__(self, image: np.ndarray, scale: int | None = None) -> np.ndarray:
        """Upscale a picture (H, W, bands) in memory with the model chosen for it.

        Args:
            scale: result pixels per pixel; the default is `self.scale`.
        """
        scale = scale or self.scale
        choice = self.choose(image, (scale * image.shape[0], scale * image.shape[1]))
        return self.upscaler(choice.model)(image, scale=scale)
