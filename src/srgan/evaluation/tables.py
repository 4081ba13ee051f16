"""An evaluation as rows of text, for the terminal and for the report."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from srgan.evaluation.registry import find_metric
from srgan.evaluation.results import Evaluation, MissingResult

MISSING = "-"


@dataclass(frozen=True)
class Row:
    """A method's row of a table.

    Attributes:
        cells: a text for each metric of the evaluation; a mean over fewer pictures than the
            row's says over how many.
        best: whether the value in that cell is the best among the methods that cover the most
            pictures.
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
    methods = evaluation.methods
    counts = {method: len(evaluation.select(set, method)) for method in methods}
    entries = [*evaluation.results, *evaluation.problems]
    total = len({entry.picture for entry in entries if entry.set == set})
    means = {method: evaluation.means(set, method) for method in methods}
    pictures = {m: f"{n}" if n == total else f"{n} of {total}" for m, n in counts.items()}
    full: dict[str, list[str]] = {}
    notes: dict[tuple[str, str], str] = {}
    for name in evaluation.metrics:
        number = {method: len(evaluation.values(set, method, name)) for method in methods}
        full[name] = [m for m in methods if number[m] == max(number.values())]
        fewer = [m for m in methods if 0 < number[m] < counts[m]]
        notes |= {(m, name): f" ({number[m]} of {total})" for m in fewer}
    rows = _rows(evaluation, means, full, pictures)
    for row in rows:
        own = [notes.get((row.method, name), "") for name in evaluation.metrics]
        row.cells[:] = [cell + note for cell, note in zip(row.cells, own, strict=True)]
    return rows


def picture_rows(evaluation: Evaluation, set: str) -> dict[str, list[Row]]:
    """By picture of a set: a row for each method that has values for it."""
    values: dict[str, dict[str, dict[str, float]]] = {}
    for result in evaluation.results:
        if result.set == set:
            values.setdefault(result.picture, {})[result.method] = result.values
    return {
        picture: _rows(
            evaluation,
            methods,
            {name: list(methods) for name in evaluation.metrics},
            dict.fromkeys(methods, "1"),
        )
        for picture, methods in values.items()
    }


def _rows(
    evaluation: Evaluation,
    values: Mapping[str, Mapping[str, float]],
    compared: Mapping[str, list[str]],
    pictures: Mapping[str, str],
) -> list[Row]:
    """A row for each method.

    Args:
        values: by method and metric.
        compared: by metric, the methods whose values may be the best.
        pictures: by method.
    """
    rows: dict[str, Row] = {
        method: Row(method, [], [], pictures[method])
        for method in evaluation.methods
        if method in values
    }
    for name in evaluation.metrics:
        shown = {method: shown_value(name, values[method].get(name)) for method in rows}
        among = [method for method in compared[name] if name in values[method]]
        best = _best(name, [values[method][name] for method in among])
        for method, row in rows.items():
            row.cells.append(shown[method])
            row.best.append(method in among and shown[method] == best)
    return list(rows.values())


def _best(name: str, values: list[float]) -> str | None:
    """The best value as it is shown; None where the metric's direction is unknown."""
    values = [value for value in values if not math.isnan(value)]
    higher_is_better = find_metric(name).higher_is_better
    if not values or higher_is_better is None:
        return None
    return shown_value(name, max(values) if higher_is_better else min(values))


def shown_value(name: str, value: float | None) -> str:
    """A metric's value with the metric's decimals."""
    return MISSING if value is None else f"{value:.{find_metric(name).decimals}f}"


def title_of(name: str) -> str:
    """The heading of a metric's column."""
    return printable(find_metric(name).title)


def protocol_of(name: str) -> str:
    """How a metric is computed, in one line."""
    return printable(find_metric(name).protocol)


def direction_of(name: str) -> str:
    """Which values of a metric are better, in words; empty where that is unknown."""
    higher_is_better = find_metric(name).higher_is_better
    if higher_is_better is None:
        return ""
    return "higher is better" if higher_is_better else "lower is better"


def problem_line(problem: MissingResult) -> str:
    """A picture that does not count, for which method, and why, in one line."""
    method = f" by {problem.method}" if problem.method is not None else ""
    metric = f", {title_of(problem.metric)}" if problem.metric is not None else ""
    reason = " ".join(problem.reason.split())
    return printable(f"{problem.set}/{problem.picture}{method}{metric}: {reason}")


def printable(text: str) -> str:
    """Text with "?" for characters that break a line or steer a terminal: file names hold any."""
    return "".join(character if character.isprintable() else "?" for character in text)
