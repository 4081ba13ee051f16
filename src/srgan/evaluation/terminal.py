"""An evaluation as tables on the terminal."""

import sys

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from srgan.evaluation.results import Evaluation
from srgan.evaluation.tables import (
    Row,
    direction_of,
    mean_rows,
    picture_rows,
    printable,
    problem_line,
    protocol_of,
    title_of,
)

WIDE = 5  # with more metrics than this, headings take two lines, to fit 100 columns


def print_tables(evaluation: Evaluation, per_image: bool) -> None:
    """Print a table for each set and the metrics' protocols on stdout, problems on stderr.

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
        padding=(0, 0) if len(evaluation.metrics) > WIDE else (0, 1),
        collapse_padding=True,
    )
    for name in names:
        table.add_column(name, overflow="fold")
    for name in evaluation.metrics:
        title = title_of(name)
        if len(evaluation.metrics) > WIDE:
            title = title.replace("-", "\n").replace(" ", "\n")
        table.add_column(Text(title), justify="right", no_wrap=True)
    return table


def _cells(row: Row) -> list[Text]:
    return [
        Text(cell, style="bold" if best else "")
        for cell, best in zip(row.cells, row.best, strict=True)
    ]


def _legend(evaluation: Evaluation) -> Table:
    """Each metric's protocol, once for all sets, and metrics that could not be computed."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column()
    for name in evaluation.metrics:
        words = filter(None, [protocol_of(name), direction_of(name)])
        table.add_row(Text(title_of(name)), Text("; ".join(words)))
    for name, remedy in evaluation.unavailable.items():
        note = printable(f"not computed: {' '.join(remedy.split())}")
        table.add_row(Text(title_of(name)), Text(note))
    return table


def _print(console: Console, table: Table) -> None:
    """Print a table; in a pipe or a file, as wide as it needs to be."""
    if not console.is_terminal:
        unlimited = console.options.update(width=10_000)
        if table.columns and table.box is not None:
            needed = Measurement.get(console, unlimited, table).maximum
            console.width = max(console.width, needed)
    console.print(table)
    console.print()
