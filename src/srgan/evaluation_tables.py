"""An evaluation as tables on the terminal, as JSON and as CSV."""

import csv
import io
import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

import srgan
from srgan.codec.files import new_file, write_error
from srgan.evaluation import Evaluation, Problem
from srgan.metrics import FIGURES, Figure

KNOWN = {figure.name: figure for figure in FIGURES}
WIDE = 5  # with more figures than this, headings take two lines, to fit 100 columns
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


def problem_line(problem: Problem) -> str:
    """Which picture does not count, for which method, and why."""
    method = f" by {problem.method}" if problem.method is not None else ""
    return printable(f"{problem.set}/{problem.picture}{method}: {' '.join(problem.reason.split())}")


def printable(text: str) -> str:
    """Without what would break a line or steer a terminal: file names may hold anything."""
    return "".join(character if character.isprintable() else "?" for character in text)


def print_tables(evaluation: Evaluation, per_image: bool) -> None:
    """Print a table for each set on stdout, what its figures are, and problems on stderr.

    Args:
        per_image: before the means of a set, a table with a row for each picture and method.
    """
    console = Console(highlight=False)
    if not evaluation.sets:
        console.print("No pictures were evaluated.")
    for set in evaluation.sets:
        if per_image:
            _print(console, _picture_table(evaluation, set))
        _print(console, _mean_table(evaluation, set))
    _print(console, _legend(evaluation))
    console.file.flush()  # so that on a terminal the problems come last
    for problem in evaluation.problems:
        print(problem_line(problem), file=sys.stderr)


def _mean_table(evaluation: Evaluation, set: str) -> Table:
    table = _table(evaluation, f"{set}: mean over the pictures", ["method"])
    table.add_column("pictures", justify="right", no_wrap=True)
    for row in mean_rows(evaluation, set):
        table.add_row(Text(printable(row.method)), *_cells(row), Text(row.pictures))
    return table


def _picture_table(evaluation: Evaluation, set: str) -> Table:
    table = _table(evaluation, f"{set}: each picture", ["picture", "method"])
    for picture, rows in picture_rows(evaluation, set).items():
        for row in rows:
            table.add_row(Text(printable(picture)), Text(printable(row.method)), *_cells(row))
    return table


def _table(evaluation: Evaluation, title: str, names: list[str]) -> Table:
    heading = Text(printable(title), style="bold")
    table = Table(
        title=heading,
        title_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    for name in names:
        table.add_column(name, overflow="fold")
    for name in evaluation.figures:
        title = title_of(name)
        if len(evaluation.figures) > WIDE:
            title = title.replace("-", "\n").replace(" ", "\n")
        table.add_column(Text(title), justify="right", no_wrap=True)
    return table


def _cells(row: Row) -> list[Text]:
    return [
        Text(cell, style="bold" if best else "")
        for cell, best in zip(row.cells, row.best, strict=True)
    ]


def _legend(evaluation: Evaluation) -> Table:
    """What each figure is, once for all sets, and which could not be computed."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column()
    for name in evaluation.figures:
        direction = direction_of(name)
        note = f"{protocol_of(name)}; {direction}" if direction else protocol_of(name)
        table.add_row(Text(title_of(name)), Text(note))
    for name, remedy in evaluation.unavailable.items():
        table.add_row(
            Text(title_of(name)), Text(printable(f"not computed: {' '.join(remedy.split())}"))
        )
    return table


def _print(console: Console, table: Table) -> None:
    """Print a table; a pipe or a file has no width that a table would have to fit."""
    if not console.is_terminal:
        unlimited = console.options.update(width=10_000)
        if table.columns and table.box is not None:
            needed = Measurement.get(console, unlimited, table).maximum
            console.width = max(console.width, needed)
    console.print(table)
    console.print()


def write_json(
    evaluation: Evaluation, path: Path, facts: Mapping[str, str], *, overwrite: bool = False
) -> None:
    """Write everything but the examples as JSON; a figure that is not finite is null.

    PSNR is infinite where SR equals HR.

    Args:
        facts: what it was computed with, such as versions and engine.
        overwrite: replace an existing file.

    Raises:
        PictureError: the file exists or cannot be written.
    """
    content = {
        "srgan": srgan.__version__,
        "facts": dict(facts),
        "figures": {name: _description(KNOWN.get(name), name) for name in evaluation.figures},
        "unavailable": evaluation.unavailable,
        "methods": evaluation.methods,
        "sets": {set: _means(evaluation, set) for set in evaluation.sets},
        "pictures": [{**vars(s), "figures": _finite(s.figures)} for s in evaluation.scores],
        "problems": [vars(problem) for problem in evaluation.problems],
    }
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n", overwrite=overwrite)


def _description(figure: Figure | None, name: str) -> dict[str, object]:
    return {
        "title": title_of(name),
        "protocol": protocol_of(name),
        "higher_is_better": figure.higher_is_better if figure else None,
    }


def _means(evaluation: Evaluation, set: str) -> dict[str, object]:
    return {
        method: {
            "pictures": len(evaluation.select(set, method)),
            "means": _finite(evaluation.means(set, method)),
        }
        for method in evaluation.methods
    }


def _finite(figures: Mapping[str, float]) -> dict[str, float | None]:
    return {n: float(v) if math.isfinite(v) else None for n, v in figures.items()}


def write_csv(evaluation: Evaluation, path: Path, *, overwrite: bool = False) -> None:
    """Write a line for each picture and method: set, picture, method, figures; all digits.

    Args:
        overwrite: replace an existing file.

    Raises:
        PictureError: the file exists or cannot be written.
    """
    buffer = io.StringIO()
    lines = csv.writer(buffer, lineterminator="\n")
    lines.writerow(["set", "picture", "method", *evaluation.figures])
    for score in evaluation.scores:
        figures = [float(score.figures[name]) for name in evaluation.figures]
        lines.writerow([score.set, score.picture, score.method, *figures])
    write_text(path, buffer.getvalue(), overwrite=overwrite)


def write_text(path: Path, text: str, *, overwrite: bool) -> None:
    """Write a UTF-8 file, whole or not at all.

    Raises:
        PictureError: the file exists and is not to be overwritten, or cannot be written.
    """
    # File names that are not Unicode reach us with lone surrogates.
    content = text.encode("utf-8", errors="backslashreplace")
    with new_file(path, overwrite) as part:
        try:
            part.write_bytes(content)
        except OSError as error:
            raise write_error(path, error) from error
