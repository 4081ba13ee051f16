import csv
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

import srgan
from srgan.evaluation.files import write_csv, write_json
from srgan.evaluation.registry import METRICS
from srgan.evaluation.results import Evaluation, MissingResult, PictureResult
from srgan.evaluation.tables import mean_rows
from srgan.evaluation.terminal import print_tables
from srgan.pictures.images import PictureError

FACTS = {"python": "3.12", "mine": "openvino bf16"}


@pytest.fixture
def evaluation() -> Evaluation:
    """Set5 whole; of Set14 zebra has no LR, and `mine` failed on the difficult baboon."""
    result = Evaluation(["bicubic", "mine"], ["psnr_y", "ssim_y", "lpips_alex"])
    for set, picture, method, values in [
        ("Set5", "baby.png", "bicubic", (31.781, 0.85, 0.41)),
        ("Set5", "baby.png", "mine", (33.412, 0.90, 0.20)),
        ("Set5", "bird.png", "bicubic", (30.180, 0.84, 0.43)),
        ("Set5", "bird.png", "mine", (34.014, 0.80, 0.22)),
        ("Set14", "baboon.png", "bicubic", (22.0, 0.5, 0.6)),
        ("Set14", "lenna.png", "bicubic", (30.0, 0.8, 0.4)),
        ("Set14", "lenna.png", "mine", (32.0, 0.9, 0.3)),
    ]:
        named = dict(zip(result.metrics, values, strict=True))
        result.results.append(PictureResult(set, picture, method, named))
    result.problems = [
        MissingResult("Set14", "zebra.png", None, "LR is 100 x 100,\nHR 400 x 398"),
        MissingResult("Set14", "baboon.png", "mine", "no such picture"),
    ]
    result.unavailable = {"lpips_vgg": "pip install 'srgan[train]'"}
    return result


def lines_of(text: str, start: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.startswith(start)]


def test_means_of_each_set(evaluation: Evaluation, capsys: pytest.CaptureFixture[str]) -> None:
    print_tables(evaluation, per_image=False)
    text = capsys.readouterr().out
    assert lines_of(text, "bicubic") == [
        ["bicubic", "30.98", "0.8450", "0.4200", "2"],
        ["bicubic", "26.00", "0.6500", "0.5000", "2", "of", "3"],
    ]
    assert lines_of(text, "mine") == [
        ["mine", "33.71", "0.8500", "0.2100", "2"],
        ["mine", "32.00", "0.9000", "0.3000", "1", "of", "3"],
    ]
    assert "Set5" in text and "Set14" in text and "baby.png" not in text
    for name in evaluation.metrics:
        title = next(figure.title for figure in METRICS if figure.name == name)
        assert lines_of(text, f"{title} "), f"no protocol of {title}"
    assert "higher is better" in text and "lower is better" in text
    assert lines_of(text, "LPIPS-VGG") == [
        ["LPIPS-VGG", "not", "computed:", "pip", "install", "'srgan[train]'"]
    ]


def test_problems_are_one_line_each_on_stderr(
    evaluation: Evaluation, capsys: pytest.CaptureFixture[str]
) -> None:
    print_tables(evaluation, per_image=False)
    assert capsys.readouterr().err.splitlines() == [
        "Set14/zebra.png: LR is 100 x 100, HR 400 x 398",
        "Set14/baboon.png by mine: no such picture",
    ]


def test_best_of_each_column(evaluation: Evaluation) -> None:
    bicubic, mine = mean_rows(evaluation, "Set5")
    assert bicubic.best == [False, False, False]
    assert mine.best == [True, True, True]


def test_a_mean_over_fewer_pictures_is_not_the_best(evaluation: Evaluation) -> None:
    bicubic, mine = mean_rows(evaluation, "Set14")
    assert (bicubic.pictures, mine.pictures) == ("2 of 3", "1 of 3")
    assert bicubic.best == [True, True, True]
    assert mine.best == [False, False, False]


def test_values_shown_alike_are_both_best() -> None:
    evaluation = Evaluation(["bicubic", "mine"], ["psnr_y"])
    evaluation.results = [
        PictureResult("a", "b", "bicubic", {"psnr_y": 30.001}),
        PictureResult("a", "b", "mine", {"psnr_y": 30.002}),
    ]
    assert [row.best for row in mean_rows(evaluation, "a")] == [[True], [True]]


def test_per_image(evaluation: Evaluation, capsys: pytest.CaptureFixture[str]) -> None:
    print_tables(evaluation, per_image=True)
    text = capsys.readouterr().out
    assert lines_of(text, "bird.png") == [
        ["bird.png", "bicubic", "30.18", "0.8400", "0.4300"],
        ["bird.png", "mine", "34.01", "0.8000", "0.2200"],
    ]
    assert lines_of(text, "baboon.png") == [["baboon.png", "bicubic", "22.00", "0.5000", "0.6000"]]
    assert len(lines_of(text, "mine")) == 2


def test_bold_on_a_terminal_alone(
    evaluation: Evaluation, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    print_tables(evaluation, per_image=False)
    assert "\x1b" not in capsys.readouterr().out
    monkeypatch.setenv("FORCE_COLOR", "1")
    print_tables(evaluation, per_image=False)
    text = capsys.readouterr().out
    assert re.search(r"\x1b\[1m *33\.71", text)
    assert not re.search(r"\x1b\[1m *30\.98", text)


def test_all_metrics_fit_100_columns(capsys: pytest.CaptureFixture[str]) -> None:
    evaluation = Evaluation(["bicubic", "srresnet-x4-better"], [f.name for f in METRICS])
    values = {f.name: 25.99 if f.decimals == 2 else 0.8104 for f in METRICS}
    evaluation.results = [PictureResult("Set5", "a.png", m, values) for m in evaluation.methods]
    print_tables(evaluation, per_image=False)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


def test_no_width_breaks_a_number_in_a_pipe(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    evaluation = Evaluation(["bicubic", "m" * 90], ["psnr_y", "pyiqa:niqe"])
    values = {"psnr_y": 123.456, "pyiqa:niqe": -5.25}
    evaluation.results = [PictureResult("Set5", "a.png", m, values) for m in evaluation.methods]
    print_tables(evaluation, per_image=False)
    text = capsys.readouterr().out
    assert ["m" * 90, "123.46", "-5.2500", "1"] in [line.split() for line in text.splitlines()]
    # Nobody knows which NIQE is the better one: none is marked.
    assert [row.best for row in mean_rows(evaluation, "Set5")] == [[True, False]] * 2


def test_hostile_names(capsys: pytest.CaptureFixture[str]) -> None:
    method, picture = "[red]m[/]\x1b[2J", "a\nb\udcff.png"
    evaluation = Evaluation(["bicubic", method], ["psnr_y"])
    evaluation.results = [PictureResult("[b]", picture, method, {"psnr_y": 1.0})]
    evaluation.problems = [MissingResult("[b]", picture, "bicubic", "bad")]
    print_tables(evaluation, per_image=True)
    captured = capsys.readouterr()
    assert "a?b?.png  [red]m[/]?[2J    1.00" in captured.out
    assert captured.err == "[b]/a?b?.png by bicubic: bad\n"


def test_nothing_counts(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    print_tables(Evaluation(["bicubic"], ["psnr_y"]), per_image=True)
    assert "No pictures were evaluated." in capsys.readouterr().out
    evaluation = Evaluation(["bicubic"], ["psnr_y"])
    evaluation.problems = [MissingResult("Set5", "a.png", None, "cut short")]
    print_tables(evaluation, per_image=True)
    assert lines_of(capsys.readouterr().out, "bicubic") == [["bicubic", "-", "0", "of", "1"]]
    write_json(evaluation, tmp_path / "e.json", {})
    means = json.loads((tmp_path / "e.json").read_text())["sets"]["Set5"]
    assert means == {"bicubic": {"pictures": 0, "means": {}}}


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def test_json(evaluation: Evaluation, tmp_path: Path) -> None:
    evaluation.results.append(
        PictureResult(
            "Set5", "é.png", "mine", {"psnr_y": math.inf, "ssim_y": 1.0, "lpips_alex": 0.0}
        )
    )
    write_json(evaluation, tmp_path / "e.json", FACTS)
    content = json.loads((tmp_path / "e.json").read_text(), parse_constant=refuse)
    assert content["srgan"] == srgan.__version__
    assert content["facts"] == FACTS
    assert content["methods"] == ["bicubic", "mine"]
    assert "BT.601" in content["figures"]["psnr_y"]["protocol"]
    assert content["figures"]["lpips_alex"]["higher_is_better"] is False
    mine = content["sets"]["Set5"]["mine"]
    assert mine["pictures"] == 3 and mine["means"]["psnr_y"] is None
    assert mine["means"]["lpips_alex"] == pytest.approx(0.14)
    assert content["pictures"][1] == {
        "set": "Set5",
        "picture": "baby.png",
        "method": "mine",
        "figures": {"psnr_y": 33.412, "ssim_y": 0.90, "lpips_alex": 0.20},
    }
    assert content["pictures"][-1]["picture"] == "é.png"
    assert content["pictures"][-1]["figures"]["psnr_y"] is None
    assert content["problems"][0]["method"] is None
    assert content["unavailable"] == evaluation.unavailable


def test_csv(evaluation: Evaluation, tmp_path: Path) -> None:
    values = {"psnr_y": np.float64(math.inf), "ssim_y": 1 / 3, "lpips_alex": 0.0}
    evaluation.results.append(PictureResult("Set5", 'a,"b".png', "mine", values))
    write_csv(evaluation, tmp_path / "e.csv")
    with (tmp_path / "e.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(evaluation.results)
    assert list(lines[0]) == ["set", "picture", "method", "psnr_y", "ssim_y", "lpips_alex"]
    assert lines[0]["psnr_y"] == "31.781"
    assert lines[-1]["picture"] == 'a,"b".png'
    assert lines[-1]["psnr_y"] == "inf"
    assert float(lines[-1]["ssim_y"]) == 1 / 3


def test_existing_files_stay_unless_told(evaluation: Evaluation, tmp_path: Path) -> None:
    for name in ("e.json", "e.csv"):
        path = tmp_path / name
        path.write_text("mine")

        def write(overwrite: bool, path: Path = path) -> None:
            if path.suffix == ".json":
                write_json(evaluation, path, FACTS, overwrite=overwrite)
            else:
                write_csv(evaluation, path, overwrite=overwrite)

        with pytest.raises(PictureError, match=f"{name}: it already exists"):
            write(False)
        assert path.read_text() == "mine"
        write(True)
        assert path.read_text() != "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["e.csv", "e.json"]


def test_no_such_folder(evaluation: Evaluation, tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="its folder does not exist"):
        write_csv(evaluation, tmp_path / "nowhere" / "e.csv")
