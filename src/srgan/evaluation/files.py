"""An evaluation as JSON and CSV files."""

import csv
import io
import json
import math
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from srgan.evaluation.registry import find_metric
from srgan.evaluation.results import Evaluation, PictureResult
from srgan.evaluation.tables import protocol_of, title_of
from srgan.pictures.files import new_file, write_error


def write_json(
    evaluation: Evaluation, path: Path, facts: Mapping[str, str], *, overwrite: bool = False
) -> None:
    """Write everything but the examples as JSON; a value that is not finite is null.

    PSNR is infinite where SR equals HR.

    Args:
        facts: the versions, the engine and the command that computed it.
        overwrite: replace an existing file.

    Raises:
        PictureError: the file exists or cannot be written.
    """
    content = {
        "srgan": version("srgan"),
        "facts": dict(facts),
        "figures": {name: _description(name) for name in evaluation.metrics},
        "unavailable": evaluation.unavailable,
        "methods": evaluation.methods,
        "sets": {set: _means(evaluation, set) for set in evaluation.sets},
        "pictures": [_picture(result) for result in evaluation.results],
        "problems": [vars(problem) for problem in evaluation.problems],
    }
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n", overwrite=overwrite)


def _description(name: str) -> dict[str, object]:
    return {
        "title": title_of(name),
        "protocol": protocol_of(name),
        "higher_is_better": find_metric(name).higher_is_better,
    }


def _picture(result: PictureResult) -> dict[str, object]:
    return {
        "set": result.set,
        "picture": result.picture,
        "method": result.method,
        "figures": _finite(result.values),
    }


def _means(evaluation: Evaluation, set: str) -> dict[str, object]:
    return {
        method: {
            "pictures": len(evaluation.select(set, method)),
            "means": _finite(evaluation.means(set, method)),
            **_fewer(evaluation, set, method),
        }
        for method in evaluation.methods
    }


def _fewer(evaluation: Evaluation, set: str, method: str) -> dict[str, object]:
    """The number of pictures of each metric that some pictures lack; nothing if none is."""
    whole = len(evaluation.select(set, method))
    counts = {name: len(evaluation.values(set, method, name)) for name in evaluation.metrics}
    fewer = {name: count for name, count in counts.items() if count < whole}
    return {"pictures_by_metric": fewer} if fewer else {}


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    return {n: float(v) if math.isfinite(v) else None for n, v in values.items()}


def write_csv(evaluation: Evaluation, path: Path, *, overwrite: bool = False) -> None:
    """Write a line for each picture and method: set, picture, method, values; all digits.

    A metric that cannot be computed of a picture is empty.

    Args:
        overwrite: replace an existing file.

    Raises:
        PictureError: the file exists or cannot be written.
    """
    buffer = io.StringIO()
    lines = csv.writer(buffer, lineterminator="\n")
    lines.writerow(["set", "picture", "method", *evaluation.metrics])
    for result in evaluation.results:
        known = result.values
        values = [float(known[name]) if name in known else "" for name in evaluation.metrics]
        lines.writerow([result.set, result.picture, result.method, *values])
    write_text(path, buffer.getvalue(), overwrite=overwrite)


def write_text(path: Path, text: str, *, overwrite: bool) -> None:
    """Write a UTF-8 file; it appears whole or not at all.

    Raises:
        PictureError: the file exists and is not to be overwritten, or cannot be written.
    """
    # A file name that is not Unicode holds lone surrogates.
    content = text.encode("utf-8", errors="backslashreplace")
    with new_file(path, overwrite) as part:
        try:
            part.write_bytes(content)
        except OSError as error:
            raise write_error(path, error) from error
