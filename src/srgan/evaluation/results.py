"""What an evaluation found: figures by set, picture and method, and why some are missing."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

BICUBIC = "bicubic"


@dataclass(frozen=True)
class Score:
    """Figures of one picture by one method.

    Attributes:
        set: name of the benchmark set, such as Set5.
        picture: file name of the HR picture, such as baby.png.
        method: "bicubic", a model's name, or that of a folder of results.
        figures: by name, such as psnr_y; see `srgan.evaluation.registry.PROTOCOLS`.
    """

    set: str
    picture: str
    method: str
    figures: dict[str, float]


@dataclass(frozen=True)
class MissingResult:
    """A picture that does not count, with the method (None: for all of them), and why."""

    set: str
    picture: str
    method: str | None
    reason: str


@dataclass(frozen=True)
class Example:
    """A part of a picture as HR and by every method: uint8 (h, w, 3), of one size."""

    set: str
    picture: str
    crops: dict[str, np.ndarray]  # "HR" first, then by method


@dataclass
class Evaluation:
    """The result of `srgan evaluate`.

    Attributes:
        methods: in the order in which they are shown.
        figures: names of the figures that were computed, in that order.
        unavailable: figures that could not be computed here, and what to install.
        examples: parts of chosen pictures, for the report.
    """

    methods: list[str]
    figures: list[str]
    scores: list[Score] = field(default_factory=list)
    problems: list[MissingResult] = field(default_factory=list)
    unavailable: dict[str, str] = field(default_factory=dict)
    examples: list[Example] = field(default_factory=list)

    @property
    def sets(self) -> list[str]:
        """Names of the benchmark sets, in the order in which they were evaluated."""
        return list(dict.fromkeys(entry.set for entry in [*self.scores, *self.problems]))

    def select(self, set: str, method: str) -> Sequence[Score]:
        """The scores of a method on a set."""
        return [s for s in self.scores if s.set == set and s.method == method]

    def means(self, set: str, method: str) -> dict[str, float]:
        """Mean of each figure over the pictures that count; empty where none does."""
        scores = self.select(set, method)
        return {
            name: float(np.mean([score.figures[name] for score in scores]))
            for name in self.figures
            if scores
        }
