"""The result of an evaluation: values by set, picture and method, and why some are missing."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

BICUBIC = "bicubic"


@dataclass(frozen=True)
class PictureResult:
    """The values of one picture by one method.

    Attributes:
        set: name of the benchmark set, such as Set5.
        picture: file name of the HR picture, such as baby.png.
        method: "bicubic", a model's name, or the name given with --results.
        values: by the metric's name, such as psnr_y; see `srgan.evaluation.registry.METRICS`.
            A metric that cannot be computed of this picture is missing.
    """

    set: str
    picture: str
    method: str
    values: dict[str, float]


@dataclass(frozen=True)
class MissingResult:
    """A picture left out of the means, and why.

    Attributes:
        method: for which it is left out; None: for all of them.
        metric: in which it is left out; None: in all of them.
    """

    set: str
    picture: str
    method: str | None
    reason: str
    metric: str | None = None


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
        metrics: names of the metrics that were computed, in that order.
        results: one for each picture and method that count.
        problems: one for each picture that does not count.
        unavailable: metrics that could not be computed here, and what to install.
        examples: parts of chosen pictures, for the report.
    """

    methods: list[str]
    metrics: list[str]
    results: list[PictureResult] = field(default_factory=list[PictureResult])
    problems: list[MissingResult] = field(default_factory=list[MissingResult])
    unavailable: dict[str, str] = field(default_factory=dict[str, str])
    examples: list[Example] = field(default_factory=list[Example])

    @property
    def sets(self) -> list[str]:
        """Names of the benchmark sets, in the order in which they were evaluated."""
        return list(dict.fromkeys(entry.set for entry in [*self.results, *self.problems]))

    def select(self, set: str, method: str) -> Sequence[PictureResult]:
        """The results of a method on a set."""
        return [each for each in self.results if (each.set, each.method) == (set, method)]

    def means(self, set: str, method: str) -> dict[str, float]:
        """Mean of each metric over the pictures that have it; a metric of none is missing."""
        values = {name: self.values(set, method, name) for name in self.metrics}
        return {name: float(np.mean(each)) for name, each in values.items() if each}

    def values(self, set: str, method: str, metric: str) -> list[float]:
        """A metric of each picture that has it."""
        results = self.select(set, method)
        return [result.values[metric] for result in results if metric in result.values]
