"""Which HR, LR and SR files belong together, and the names of the sets."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srgan.evaluation.benchmark import (
    EvaluationError,
    distinct_names,
    find_benchmark,
    find_benchmarks,
    find_result,
    read_pair,
)
from srgan.evaluation.evaluate import evaluate
from srgan.evaluation.registry import load_metrics
from srgan.evaluation.results import BICUBIC
from srgan.evaluation.tables import mean_rows
from srgan.pictures.resample import bicubic_8bit
from tests.support.command import Command

PSNR, _ = load_metrics(["psnr_y"], None)


def save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


@pytest.fixture
def two_sets(tmp_path: Path, astronaut: np.ndarray) -> list[Path]:
    """A/HR and B/HR: one folder name and one file name, but different pictures."""
    save(tmp_path / "A/HR/a.png", astronaut)
    save(tmp_path / "B/HR/a.png", np.full_like(astronaut, 90))
    save(tmp_path / "B/HR/b.png", astronaut[::-1].copy())
    return [tmp_path / "A/HR", tmp_path / "B/HR"]


def test_sets_of_one_name_are_told_apart(two_sets: list[Path]) -> None:
    evaluation = evaluate(find_benchmarks(two_sets, 4), {}, {}, PSNR, scale=4)
    assert evaluation.sets == ["A/HR", "B/HR"]
    for name, folder in zip(evaluation.sets, two_sets, strict=True):
        alone = evaluate([find_benchmark(folder, 4)], {}, {}, PSNR, scale=4)
        assert evaluation.means(name, BICUBIC) == alone.means("HR", BICUBIC)
        assert len(evaluation.select(name, BICUBIC)) == len(alone.select("HR", BICUBIC))


def test_a_folder_named_twice_counts_once(two_sets: list[Path]) -> None:
    found = find_benchmarks([two_sets[0], two_sets[0] / ".." / "HR"], 4)
    assert [benchmark.name for benchmark in found] == ["HR"]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/b/Set5", "/b/Set14"], ["Set5", "Set14"]),
        (["/p/val/HR", "/q/val/HR", "/p/HR"], ["p/val/HR", "q/val/HR", "p/HR"]),
        (["/p/val", "/q/val", "/q/x"], ["p/val", "q/val", "x"]),
    ],
)
def test_names_have_as_many_parts_as_they_need(paths: list[str], names: list[str]) -> None:
    assert distinct_names([Path(path) for path in paths]) == names


def test_results_of_sets_of_one_name(two_sets: list[Path], tmp_path: Path) -> None:
    save(tmp_path / "sr/A/a.png", np.zeros((96, 120, 3), np.uint8))
    save(tmp_path / "sr/B/HR/a.png", np.zeros((96, 120, 3), np.uint8))
    for name in ("A/HR", "B/HR"):
        place = find_result(tmp_path / "sr", name, Path("a.png"), 4)
        assert place.is_relative_to(tmp_path / "sr" / name[0])


@pytest.mark.parametrize(
    ("hr", "lr"),
    [
        ("HR/a.png", "LRx4/a.PNG"),
        ("HR/A.png", "LRx4/a.jpg"),
        ("HR/0001.png", "LRx4/0001x4.png"),
        ("HR/0001.png", "LRx4/0001X4.PNG"),
        ("HR/0001x4.png", "LRx4/0001.png"),
        ("HR/img_001_SRF_4_HR.png", "LRx4/img_001_SRF_4_LR.png"),
        ("HR/Canon_001_HR.png", "LRx4/Canon_001_LR4.png"),
        ("HR/a_HR.png", "LRx4/a.png"),
        ("img_001_SRF_4_HR.png", "img_001_SRF_4_LR.png"),
        ("0001.png", "0001x4.png"),
    ],
)
def test_the_usual_names_of_lr(tmp_path: Path, astronaut: np.ndarray, hr: str, lr: str) -> None:
    save(tmp_path / hr, astronaut)
    small = bicubic_8bit(astronaut, 24, 30) // 2  # not what srgan itself would make
    save(tmp_path / lr, small)
    benchmark = find_benchmark(tmp_path, 4)
    assert benchmark.hr == (tmp_path / hr,)
    pair = read_pair(benchmark.hr[0], benchmark.lr, 4)
    assert abs(pair.lr.astype(int) - small).mean() < 8  # one of them is a JPEG


def test_pictures_of_other_methods_beside_hr_do_not_count(
    tmp_path: Path, astronaut: np.ndarray
) -> None:
    for number in range(2):
        for ending in ("HR", "bicubic", "SRCNN"):
            save(tmp_path / f"img_{number}_SRF_4_{ending}.png", astronaut)
        save(tmp_path / f"img_{number}_SRF_4_LR.png", bicubic_8bit(astronaut, 24, 30))
    evaluation = evaluate([find_benchmark(tmp_path, 4)], {}, {}, PSNR, scale=4)
    assert not evaluation.problems
    names = [result.picture for result in evaluation.results]
    assert names == ["img_0_SRF_4_HR.png", "img_1_SRF_4_HR.png"]


@pytest.mark.parametrize("names", [("box.png", "box4.png"), ("a.png", "b_x4.png"), ("a_HR.png",)])
def test_other_names_are_all_hr(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        save(tmp_path / name, np.zeros((40, 40, 3), np.uint8))
    benchmark = find_benchmark(tmp_path, 4)
    assert (benchmark.lr, [path.name for path in benchmark.hr]) == (None, list(names))


def test_lr_of_another_picture_is_not_taken(tmp_path: Path) -> None:
    save(tmp_path / "HR/box4.png", np.zeros((40, 40, 3), np.uint8))
    save(tmp_path / "LRx4/bo.png", np.zeros((10, 10, 3), np.uint8))
    with pytest.raises(EvaluationError, match="no LR picture of that name"):
        read_pair(tmp_path / "HR/box4.png", tmp_path / "LRx4", 4)


def test_hidden_files_are_left_out(tmp_path: Path, astronaut: np.ndarray) -> None:
    save(tmp_path / "HR/a.png", astronaut)
    (tmp_path / "HR/._a.png").write_bytes(b"macOS keeps its own notes so")
    assert [path.name for path in find_benchmark(tmp_path, 4).hr] == ["a.png"]


def test_names_of_results(tmp_path: Path) -> None:
    for name in ("a.png", "b_x4.jpg", "c_SR.png", "e.PNG", "f_SR.png"):
        (tmp_path / name).touch()
    for stem in "abce":
        assert find_result(tmp_path, "Set", Path(f"{stem}.png"), 4).stem.startswith(stem)
    assert find_result(tmp_path, "Set", Path("f_HR.png"), 4).name == "f_SR.png"
    with pytest.raises(EvaluationError, match="no picture d"):
        find_result(tmp_path, "Set", Path("d.png"), 4)


def test_each_metric_counts_by_itself(
    srgan: Command, tmp_path: Path, astronaut: np.ndarray
) -> None:
    """16 x 16 pixels leave 8 x 8 without the border: enough for PSNR, not for SSIM."""
    save(tmp_path / "Set/a.png", astronaut)
    save(tmp_path / "Set/tiny.png", astronaut[:16, :16])
    metrics, _ = load_metrics(["psnr_y", "ssim_y"], None)
    evaluation = evaluate([find_benchmark(tmp_path / "Set", 4)], {}, {}, metrics, scale=4)
    large, tiny = evaluation.select("Set", BICUBIC)
    assert list(tiny.values) == ["psnr_y"]
    means = evaluation.means("Set", BICUBIC)
    assert means["psnr_y"] == (large.values["psnr_y"] + tiny.values["psnr_y"]) / 2
    assert means["ssim_y"] == large.values["ssim_y"]
    (problem,) = evaluation.problems
    assert (problem.picture, problem.method, problem.metric) == ("tiny.png", BICUBIC, "ssim_y")
    (row,) = mean_rows(evaluation, "Set")
    assert row.pictures == "2"
    assert row.cells[1] == f"{means['ssim_y']:.4f} (1 of 2)"
    done = srgan(
        *("evaluate", "-b", "Set", "--results", "theirs=Set", "--metrics", "psnr_y,ssim_y"),
        *("--per-image", "--json", "e.json", "--csv", "e.csv", "--report", "e.html"),
    )
    assert done.returncode == 1
    assert "Set/tiny.png by theirs, SSIM-Y: " in done.stderr
    table = json.loads((tmp_path / "e.json").read_text())["sets"]["Set"]["theirs"]
    assert (table["pictures"], table["pictures_by_metric"]) == (2, {"ssim_y": 1})
    assert (tmp_path / "e.csv").read_text().splitlines()[-1] == "Set,tiny.png,theirs,inf,"


@pytest.mark.parametrize(
    "metrics", [["psnr_y,psnr_rgb"], ["psnr_y", "psnr_rgb"], ["psnr_y,", "psnr_rgb"]]
)
def test_lists_with_spaces_or_commas(
    srgan: Command, tmp_path: Path, metrics: list[str], astronaut: np.ndarray
) -> None:
    save(tmp_path / "Set/a.png", astronaut)
    done = srgan("evaluate", "-b", "Set", "--results", "own=Set", "--metrics", *metrics)
    assert done.returncode == 0, done.stderr
    assert "PSNR-Y" in done.stdout and "PSNR-RGB" in done.stdout


@pytest.mark.parametrize("results", [["bicubic=Set"], ["own=Set", "own=other"]])
def test_two_rows_never_share_a_name(srgan: Command, tmp_path: Path, results: list[str]) -> None:
    save(tmp_path / "Set/a.png", np.zeros((40, 40, 3), np.uint8))
    (tmp_path / "other").mkdir()
    done = srgan("evaluate", "-b", "Set", "--results", *results)
    assert done.returncode == 2
    assert "another row is named" in done.stderr
