"""An evaluation as rows of text, for the terminal and for the report."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from srgan.evaluation.registry import FIGURES
from srgan.evaluation.results import Evaluation, MissingResult

KNOWN = {figure.name: figure for figure in FIGURES}


MISSING = "-"


@dataclass(frozen=True)
class Row:
    """What a table shows of a method.

    Attributes:
        cells: a text for each figure of the evaluation.
        best: whether that figure is the best of those it may be compared with.
        pictures: how many count: "14", or "13 of 14".
    """

    method: str
    cells: list[str]
    best: list[bool]
    pictures: str


def mean_rows(evaluation: Evaluation, set: str) -> list[Row]:
    """A row for each method: means over the pictures of a set that count.

    Means over fewer pictures than another method's are never marked as best: they may lack the
    difficult ones.
    """
    counts = {method: len(evaluation.select(set, method)) for method in evaluation.methods}
    entries = [*evaluation.scores, *evaluation.problems]
    total = len({entry.picture for entry in entries if entry.set == set})
    means = {method: evaluation.means(set, method) for method in evaluation.methods}
    full = [method for method, count in counts.items() if count == max(counts.values())]
    pictures = {m: f"{n}" if n == total else f"{n} of {total}" for m, n in counts.items()}
    return _rows(evaluation, means, full, pictures)


def picture_rows(evaluation: Evaluation, set: str) -> dict[str, list[Row]]:
    """By picture of a set: a row for each method that has figures of it."""
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for score in evaluation.scores:
        if score.set == set:
            figures.setdefault(score.picture, {})[score.method] = score.figures
    return {
        picture: _rows(evaluation, methods, list(methods), dict.fromkeys(methods, "1"))
        for picture, methods in figures.items()
    }


def _rows(
    evaluation: Evaluation,
    figures: Mapping[str, Mapping[str, float]],
    compared: list[str],
    pictures: Mapping[str, str],
) -> list[Row]:
    rows: dict[str, Row] = {
        method: Row(method, [], [], pictures[method])
        for method in evaluation.methods
        if method in figures
    }
    for name in evaluation.figures:
        shown = {m: shown_value(name, figures[m].get(name)) for m in rows}
        best = _best(name, [figures[m][name] for m in compared if name in figures[m]])
        for method, row in rows.items():
            row.cells.append(shown[method])
            row.best.append(method in compared and shown[method] == best)
    return list(rows.values())


def _best(name: str, values: list[float]) -> str | None:
    """The best value as it is shown; None for a figure of which we do not know the direction."""
    values = [value for value in values if not math.isnan(value)]
    if not values or name not in KNOWN:
        return None
    return shown_value(name, max(values) if KNOWN[name].higher_is_better else min(values))


def shown_value(name: str, value: float | None) -> str:
    """A figure with the decimals that it is given with."""
    if value is None:
        return MISSING
    return f"{value:.{KNOWN[name].decimals if name in KNOWN else 4}f}"


def title_of(name: str) -> str:
    """The heading of a figure's column."""
    return KNOWN[name].title if name in KNOWN else printable(name)


def protocol_of(name: str) -> str:
    """How a figure is computed, in one line."""
    if name in KNOWN:
        return KNOWN[name].protocol
    return f"{printable(name.partition(':')[2] or name)} as pyiqa computes it: RGB, 8 bit"


def direction_of(name: str) -> str:
    """Which values of a figure are better, in words; empty where we do not know."""
    if name not in KNOWN:
        return ""
    return "higher is better" if KNOWN[name].higher_is_better else "lower is better"


def problem_line(problem: MissingResult) -> str:
    """Which picture does not count, for which method, and why."""
    method = f" by {problem.method}" if problem.method is not None else ""
    return printable(f"{problem.set}/{problem.picture}{method}: {' '.join(problem.reason.split())}")


def printable(text: str) -> str:
    """Without what would break a line or steer a terminal: file names may hold anything."""
    return "".join(character if character.isprintable() else "?" for character in text)
