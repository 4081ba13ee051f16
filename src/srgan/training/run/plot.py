"""Curves of one run or, to compare, of several, drawn from their metrics.jsonl."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from srgan.errors import need
from srgan.pictures.files import replace_file
from srgan.training.run.files import CURVES
from srgan.training.run.logbook import RunError, read_metrics

COLUMNS = 2
PANEL = (8.0, 4.0)  # inches
DPI = 100  # so 1600 pixels wide
FEW = 40  # points that are marked, since a line would hide them
SMOOTHING = 40  # a smoothed curve is the running mean over 1 / SMOOTHING of the points
Curves = list[dict[str, Any]]


@dataclass(frozen=True)
class Kind:
    """Values that are drawn together: those whose names begin with `prefix`.

    Attributes:
        best: finds the best value, which is marked: np.nanargmax or np.nanargmin.
        noisy: draw a running mean over the values.
        log: use a logarithmic axis.
    """

    title: str
    prefix: str
    best: Callable[[np.ndarray], np.intp] | None = None
    noisy: bool = False
    log: bool = False


KINDS = (
    Kind("validation PSNR-Y (dB)", "validation/psnr", best=np.nanargmax),
    Kind("validation SSIM-Y", "validation/ssim", best=np.nanargmax),
    Kind("validation content loss", "validation/content", best=np.nanargmin),
    Kind("loss", "loss/", noisy=True, log=True),
    Kind("D, mean probability of being real", "d_", noisy=True),
    Kind("gradient norm", "gradient/", noisy=True, log=True),
    Kind("learning rate, factor", "schedule/factor"),
)


@dataclass(frozen=True)
class Curve:
    """Values of one name in one run; NaN for values that were not finite."""

    label: str
    colour: str
    iterations: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class Panel:
    """A coordinate system with its curves."""

    title: str
    kind: Kind
    curves: list[Curve]


def plot_runs(folders: Sequence[Path], output: Path | None = None) -> Path:
    """Draw the curves of one run, or of several with a colour for each.

    For one run, the losses share a panel; so do D(HR) and D(SR), and the gradient norms. For
    several runs, every name has its own panel.

    Args:
        folders: of the runs.
        output: the picture's path; its suffix decides the format. By default curves.png in the
            first folder. An existing file is replaced.

    Returns:
        The picture's path.

    Raises:
        RunError: a folder has no metrics, or the picture cannot be drawn or written.
    """
    need("train", "drawing curves")
    # Imported here since it is slow. pyplot would need a display and keep its figures.
    from matplotlib.figure import Figure

    labelled = _labelled(folders)
    runs = {label: read_metrics(folder) for label, folder in labelled.items()}
    for label, folder in labelled.items():
        if not _panels({label: runs[label]}):
            raise RunError(f"{folder}: no metrics yet: they come with the first logged iteration")
    panels = _panels(runs)
    rows = -(-len(panels) // COLUMNS)
    size = PANEL[0] * COLUMNS, PANEL[1] * rows
    figure: Any = Figure(size, dpi=DPI, layout="constrained")
    title = next(iter(runs)) if len(runs) == 1 else f"{len(runs)} runs"
    figure.suptitle(title, fontsize=16, fontweight="bold")
    first = None
    for i, panel in enumerate(panels):
        axes = figure.add_subplot(rows, COLUMNS, i + 1, sharex=first)
        _draw(axes, panel)
        first = first or axes
    path = output or folders[0] / CURVES
    _save(figure, path)
    return path


def _labelled(folders: Sequence[Path]) -> dict[str, Path]:
    """The folders by their names, or by their paths if two names are equal."""
    names = {folder.resolve().name: folder for folder in folders}
    return names if len(names) == len(folders) else {str(folder): folder for folder in folders}


def _panels(runs: Mapping[str, Curves]) -> list[Panel]:
    panels: list[Panel] = []
    for kind in KINDS:
        names = _names(kind, runs)
        if len(runs) == 1:
            metrics = next(iter(runs.values()))
            curves = [
                _curve(name.rsplit("/")[-1], i, name, metrics) for i, name in enumerate(names)
            ]
            panels.append(_panel(kind.title, kind, curves))
        else:
            for name in names:
                curves = [_curve(run, i, name, runs[run]) for i, run in enumerate(runs)]
                panels.append(_panel(kind.title if kind.best else name, kind, curves))
    return [panel for panel in panels if panel.curves]


def _panel(title: str, kind: Kind, curves: list[Curve]) -> Panel:
    return Panel(title, kind, [curve for curve in curves if np.isfinite(curve.values).any()])


def _names(kind: Kind, runs: Mapping[str, Curves]) -> list[str]:
    """The names of a kind that occur in any run, in the order of the logs."""
    lines = [line for metrics in runs.values() for line in metrics]
    return list(dict.fromkeys(n for line in lines for n in line if n.startswith(kind.prefix)))


def _curve(label: str, number: int, name: str, metrics: Curves) -> Curve:
    points = [(line["iteration"], line[name]) for line in metrics if name in line]
    iterations, values = zip(*points, strict=True) if points else ((), ())
    # None, a value that was not finite, becomes NaN.
    return Curve(label, f"C{number}", np.array(iterations, float), np.array(values, float))


def _draw(axes: Any, panel: Panel) -> None:
    for curve in panel.curves:
        _draw_curve(axes, panel.kind, curve)
    everything = np.concatenate([curve.values for curve in panel.curves])
    # A loss of 0 or below has no logarithm.
    if panel.kind.log and not (everything <= 0).any():
        axes.set_yscale("log")
    axes.set_title(panel.title, loc="left")
    axes.set_xlim(left=0)
    axes.locator_params(axis="x", integer=True)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("iteration")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(edgecolor="none")


def _draw_curve(axes: Any, kind: Kind, curve: Curve) -> None:
    x, y, label = curve.iterations, curve.values, curve.label
    if kind.best:
        best = kind.best(y)
        label += f", best {y[best]:.4g} at {x[best]:,.0f}"
        axes.plot(x[best], y[best], f"{curve.colour}*", markersize=14)
    if kind.noisy:
        axes.plot(x, y, curve.colour, alpha=0.25, linewidth=0.8)
        y = _running_mean(y)
    # Few points are marked: a single one would have no line.
    axes.plot(x, y, curve.colour, marker="." if x.size <= FEW else "", label=label)


def _running_mean(values: np.ndarray) -> np.ndarray:
    """The centred mean over 1 / SMOOTHING of the values; NaN values are left out."""
    window = np.ones(max(len(values) // SMOOTHING, 1))
    finite = np.isfinite(values)
    sums = np.convolve(np.where(finite, values, 0), window, "same")
    counts = np.convolve(finite, window, "same")
    return np.divide(sums, counts, where=counts > 0, out=np.full(len(values), np.nan))


def _save(figure: Any, path: Path) -> None:
    content = io.BytesIO()
    try:
        figure.savefig(content, format=path.suffix[1:] or "png")
        replace_file(path, content.getbuffer())
    except (OSError, ValueError) as error:  # ValueError: a format that matplotlib does not know
        reason = error.strerror if isinstance(error, OSError) else error
        raise RunError(f"{path}: cannot be written: {reason}") from error
