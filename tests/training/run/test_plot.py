import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srgan.training.run import plot
from srgan.training.run.logbook import RunError
from srgan.training.run.plot import plot_runs

pytest.importorskip("matplotlib")

SRRESNET = {"loss/pixel": 0.1, "validation/psnr_y": 20.0, "schedule/factor": 1.0, "speed/x": 3.0}
SRGAN = SRRESNET | {
    "loss/content": 1.0,
    "validation/content": 2.0,
    "d_hr": 0.7,
    "d_sr": 0.3,
    "gradient/content": 0.1,
}


def run(folder: Path, values: dict[str, float], count: int = 5) -> Path:
    """A run in which every value rises, to 1 + 1/10 of itself each time."""
    folder.mkdir(parents=True)
    lines = [
        {"iteration": i, **{name: value * (1 + i / 10) for name, value in values.items()}}
        for i in range(1, count + 1)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def titles(*folders: Path) -> list[str]:
    runs = {folder.name: plot.read_metrics(folder) for folder in folders}
    return [panel.title for panel in plot._panels(runs)]


@pytest.mark.parametrize("count", [1, 300])
def test_one_run(tmp_path: Path, count: int) -> None:
    folder = run(tmp_path / "srgan-1", SRGAN, count)
    path = plot_runs([folder])
    assert path == folder / "curves.png"
    with Image.open(path) as picture:
        assert picture.width == 1600
        assert len(picture.convert("RGB").getcolors(2**24) or ()) > 10  # curves
    assert sorted(p.name for p in folder.iterdir()) == ["curves.png", "metrics.jsonl"]
    plot_runs([folder])  # it may replace its own


def test_only_panels_with_data(tmp_path: Path) -> None:
    srresnet, srgan = run(tmp_path / "a", SRRESNET), run(tmp_path / "b", SRGAN)
    shared = ["validation PSNR-Y (dB)", "loss", "learning rate, factor"]
    assert titles(srresnet) == shared
    assert titles(srgan) == [
        "validation PSNR-Y (dB)",
        "validation content loss",
        "loss",
        "D, mean probability of being real",
        "gradient norm",
        "learning rate, factor",
    ]


def test_best_is_marked(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    folder = run(tmp_path / "a", SRGAN)
    panels = plot._panels({"a": plot.read_metrics(folder)})
    legends = []
    for panel in panels[:2]:
        axes = Figure().add_subplot()
        plot._draw(axes, panel)
        legends.append(axes.get_legend_handles_labels()[1])
    assert legends == [["psnr_y, best 30 at 5"], ["content, best 2.2 at 1"]]


def test_several_runs(tmp_path: Path) -> None:
    folders = [run(tmp_path / "a", SRRESNET), run(tmp_path / "b", SRGAN)]
    runs = {folder.name: plot.read_metrics(folder) for folder in folders}
    panels = {panel.title: panel.curves for panel in plot._panels(runs)}
    pixel = panels["loss/pixel"]
    assert [(curve.label, curve.colour) for curve in pixel] == [("a", "C0"), ("b", "C1")]
    # A run keeps its colour where the other has no such value.
    assert [(curve.label, curve.colour) for curve in panels["d_hr"]] == [("b", "C1")]
    output = tmp_path / "comparison.png"
    assert plot_runs(folders, output) == output
    assert output.stat().st_size
    assert plot_runs(folders) == folders[0] / "curves.png"


def test_runs_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    folders = [run(tmp_path / "a" / "run", SRRESNET), run(tmp_path / "b" / "run", SRRESNET)]
    assert list(plot._labelled(folders)) == [str(folder) for folder in folders]
    plot_runs(folders)
    plot_runs([folders[0], folders[0]])  # one run, if named twice


def test_values_that_were_not_finite(tmp_path: Path) -> None:
    lines = [{"iteration": i, "loss/pixel": 0.1, "loss/content": -1} for i in range(1, 100)]
    lines[50]["loss/pixel"] = None  # type: ignore
    (tmp_path / "metrics.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    (panel,) = plot._panels({"run": plot.read_metrics(tmp_path)})
    values = panel.curves[0].values
    assert math.isnan(values[50])
    np.testing.assert_allclose(plot._running_mean(values), 0.1)
    plot_runs([tmp_path])


def test_no_metrics_yet(tmp_path: Path) -> None:
    good, empty = run(tmp_path / "good", SRRESNET), tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(RunError, match=r"empty: not a run folder: metrics\.jsonl is missing"):
        plot_runs([empty])
    (empty / "metrics.jsonl").touch()
    with pytest.raises(RunError, match="empty: no metrics yet"):
        plot_runs([empty])
    with pytest.raises(RunError, match="empty: no metrics yet"):
        plot_runs([good, empty])
    assert not list(tmp_path.rglob("*.png"))


def test_output_that_cannot_be_written(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", SRRESNET)
    with pytest.raises(RunError, match=r"curves\.docx: cannot be written: Format 'docx'"):
        plot_runs([folder], tmp_path / "curves.docx")
    with pytest.raises(RunError, match=r"nowhere/curves\.png: cannot be written"):
        plot_runs([folder], tmp_path / "nowhere" / "curves.png")
    taken = tmp_path / "taken.png"
    taken.mkdir()
    with pytest.raises(RunError, match=r"taken\.png: cannot be written"):
        plot_runs([folder], taken)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "taken.png"]
