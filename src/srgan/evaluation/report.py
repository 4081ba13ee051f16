"""An evaluation as one self-contained HTML page: it loads nothing.

This module computes the page's contents; report.html.j2 and report.css have its form.
"""

import base64
import io
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image

from srgan.evaluation.files import write_text
from srgan.evaluation.results import Evaluation, Example
from srgan.evaluation.scatter import Plot, Point, scatter
from srgan.evaluation.tables import (
    Row,
    direction_of,
    mean_rows,
    picture_rows,
    printable,
    problem_line,
    protocol_of,
    shown_value,
    title_of,
)

ROW = 4  # up to this many crops stand side by side and are enlarged 3 times; more, 2 times
ARROWS = {"higher is better": "↑", "lower is better": "↓"}


def write_report(
    evaluation: Evaluation,
    path: Path,
    title: str,
    facts: Mapping[str, str],
    *,
    overwrite: bool = False,
) -> None:
    """Write tables, scatter plots, examples and protocols as one HTML page.

    Args:
        facts: the versions, the processor and the command that computed it, by name.
        overwrite: replace an existing file.

    Raises:
        PictureError: the file exists or cannot be written.
    """
    template = _environment().get_template("report.html.j2")
    page = template.render(
        title=title,
        lead=_lead(evaluation),
        columns=[_column(name) for name in evaluation.metrics],
        tables=_tables(evaluation),
        plots=_plots(evaluation),
        examples=[_example(evaluation, example) for example in evaluation.examples],
        unavailable={title_of(n): " ".join(r.split()) for n, r in evaluation.unavailable.items()},
        problems=[problem_line(problem) for problem in evaluation.problems],
        facts=facts,
    )
    write_text(path, page, overwrite=overwrite)


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=_printable_text,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _printable_text(value: object) -> object:
    """The value of an expression as it is shown; file names may hold any character."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return printable(value)


def _lead(evaluation: Evaluation) -> str:
    pictures = {(result.set, result.picture) for result in evaluation.results}
    sets = ", ".join(evaluation.sets) or "no set"
    methods = ", ".join(evaluation.methods)
    count = f"{len(pictures)} picture{'' if len(pictures) == 1 else 's'}"
    return f"{methods}: SR compared with HR on {count} of {sets}."


@dataclass(frozen=True)
class _Column:
    """A metric, as the tables and the list of protocols show it."""

    title: str
    direction: str
    arrow: str
    protocol: Markup


def _column(name: str) -> _Column:
    direction = direction_of(name)
    # Words in backticks are code.
    protocol = Markup(re.sub(r"`(\w+)`", r"<code>\1</code>", str(escape(protocol_of(name)))))
    return _Column(title_of(name), direction, ARROWS.get(direction, ""), protocol)


@dataclass(frozen=True)
class _SetTables:
    """The tables of a benchmark set: means, and each picture's values."""

    set: str
    means: list[Row]
    pictures: dict[str, list[Row]]


def _tables(evaluation: Evaluation) -> list[_SetTables]:
    if not evaluation.results:
        return []
    return [
        _SetTables(set, mean_rows(evaluation, set), picture_rows(evaluation, set))
        for set in evaluation.sets
    ]


def _plots(evaluation: Evaluation) -> list[Plot]:
    """PSNR-Y against LPIPS, a plot for each set; none where either was not computed."""
    lpips = next((name for name in evaluation.metrics if name.startswith("lpips")), None)
    if lpips is None or "psnr_y" not in evaluation.metrics:
        return []
    points = {set: _points(evaluation, set, lpips) for set in evaluation.sets}
    return [scatter(set, of_set, lpips) for set, of_set in points.items() if of_set]


def _points(evaluation: Evaluation, set: str, lpips: str) -> list[Point]:
    """A point for each method whose means are finite."""
    counts = {method: len(evaluation.select(set, method)) for method in evaluation.methods}
    most = max(counts.values())
    points: list[Point] = []
    for method, count in counts.items():
        if not count:
            continue
        means = evaluation.means(set, method)
        label = method if count == most else f"{method} ({count} of {most})"
        if "psnr_y" in means and lpips in means:
            points.append(Point(label, means["psnr_y"], means[lpips]))
    return [point for point in points if math.isfinite(point.x + point.y)]


@dataclass(frozen=True)
class _Crop:
    """A method's part of a picture; width and height in pixels of the page."""

    method: str
    values: list[str]
    png: str
    width: int
    height: int


@dataclass(frozen=True)
class _ShownExample:
    set: str
    picture: str
    crops: list[_Crop]


def _example(evaluation: Evaluation, example: Example) -> _ShownExample:
    values = {
        result.method: result.values
        for result in evaluation.results
        if (result.set, result.picture) == (example.set, example.picture)
    }
    zoom = 3 if len(example.crops) <= ROW else 2
    crops = [
        _Crop(
            method,
            [f"{title_of(n)} {shown_value(n, v)}" for n, v in values.get(method, {}).items()],
            _png(crop),
            crop.shape[1] * zoom,
            crop.shape[0] * zoom,
        )
        for method, crop in example.crops.items()
    ]
    return _ShownExample(example.set, example.picture, crops)


def _png(image: np.ndarray) -> str:
    """The picture as PNG in base64."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()
