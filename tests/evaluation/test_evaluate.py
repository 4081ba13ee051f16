"""`srgan evaluate` and `srgan degrade`: figures of the literature, and what cannot be measured."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srgan.cli.evaluate import degrade
from srgan.cli.evaluate import evaluate as command
from srgan.evaluation.benchmark import find_benchmark, read_8bit, read_pair
from srgan.evaluation.evaluate import evaluate, most_detailed
from srgan.evaluation.registry import load_metrics
from srgan.evaluation.results import BICUBIC
from srgan.models.file import save_checkpoint
from srgan.networks.architecture import Architecture
from srgan.pictures.resample import bicubic_8bit
from tests.support.command import Command
from tests.support.networks import random_checkpoint

MEASURES, _ = load_metrics(["psnr_y", "ssim_y"], None)


@pytest.fixture
def benchmark_folder(tmp_path: Path, astronaut: np.ndarray) -> Path:
    """A set of three pictures with the LR of two of them."""
    folder = tmp_path / "Set"
    (folder / "HR").mkdir(parents=True)
    (folder / "LRx4").mkdir()
    for number in range(3):
        hr = np.roll(astronaut, 7 * number, axis=1)
        Image.fromarray(hr).save(folder / f"HR/{number}.png")
        Image.fromarray(bicubic_8bit(hr, 24, 30)).save(folder / f"LRx4/{number}.png")
    return folder


@pytest.mark.parametrize(
    ("name", "psnr", "ssim"),
    [("Set5", 28.42, 0.8104), ("Set14", 26.00, 0.7027), ("BSD100", 25.96, 0.6675)],
)
def test_bicubic_is_that_of_the_literature(
    shared: Path, name: str, psnr: float, ssim: float
) -> None:
    benchmark = find_benchmark(shared / "bench" / name, 4)
    means = evaluate([benchmark], {}, {}, MEASURES, scale=4).means(name, BICUBIC)
    assert means["psnr_y"] == pytest.approx(psnr, abs=0.02)
    assert means["ssim_y"] == pytest.approx(ssim, abs=0.002)


@pytest.mark.parametrize("name", ["Set5", "Set14", "BSD100"])
def test_our_lr_is_matlabs(shared: Path, name: str) -> None:
    benchmark = find_benchmark(shared / "bench" / name, 4)
    assert benchmark.lr is not None
    for path in benchmark.hr:
        ours, matlabs = read_pair(path, None, 4), read_pair(path, benchmark.lr, 4)
        np.testing.assert_array_equal(ours.lr, matlabs.lr, err_msg=path.name)


def test_a_model_is_measured_on_every_picture_once(benchmark_folder: Path) -> None:
    seen = []

    def nearest(lr: np.ndarray) -> np.ndarray:
        seen.append(lr.shape)
        return lr.repeat(4, 0).repeat(4, 1)

    progress = []
    evaluation = evaluate(
        [find_benchmark(benchmark_folder, 4)],
        {"nearest": nearest},
        {},
        MEASURES,
        scale=4,
        examples=2,
        progress=lambda done, total: progress.append((done, total)),
    )
    assert evaluation.methods == [BICUBIC, "nearest"]
    assert seen == [(24, 30, 3)] * 3
    assert progress == [(1, 3), (2, 3), (3, 3)]
    assert not evaluation.problems
    means = [evaluation.means("Set", method)["psnr_y"] for method in evaluation.methods]
    assert means[0] > means[1] > 15
    scores = evaluation.select("Set", "nearest")
    assert means[1] == pytest.approx(np.mean([score.values["psnr_y"] for score in scores]))
    assert [list(example.crops) for example in evaluation.examples] == 2 * [
        ["HR", BICUBIC, "nearest"]
    ]


def test_pictures_that_cannot_be_measured_are_named_and_the_others_count(
    benchmark_folder: Path,
) -> None:
    (benchmark_folder / "HR/3.png").write_bytes(b"no picture")
    Image.new("RGB", (120, 96)).save(benchmark_folder / "HR/4.png")  # no LR
    Image.new("RGB", (120, 96)).save(benchmark_folder / "HR/5.png")
    Image.new("RGB", (29, 24)).save(benchmark_folder / "LRx4/5.png")
    evaluation = evaluate([find_benchmark(benchmark_folder, 4)], {}, {}, MEASURES, scale=4)
    assert len(evaluation.select("Set", BICUBIC)) == 3
    reasons = {problem.picture: problem.reason for problem in evaluation.problems}
    assert set(reasons) == {"3.png", "4.png", "5.png"}
    assert "no LR picture" in reasons["4.png"]
    assert "29 x 24 pixels, not 30 x 24" in reasons["5.png"]


def test_results_of_others(benchmark_folder: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs" / "Set"
    theirs.mkdir(parents=True)
    hr = read_8bit(benchmark_folder / "HR/0.png")
    Image.fromarray(hr).save(theirs / "0_x4.png")
    Image.fromarray(hr[:-4]).save(theirs / "1.png")
    evaluation = evaluate(
        [find_benchmark(benchmark_folder, 4)],
        {},
        {"theirs": tmp_path / "theirs"},
        MEASURES,
        scale=4,
    )
    (score,) = evaluation.select("Set", "theirs")
    assert score.values == {"psnr_y": float("inf"), "ssim_y": pytest.approx(1)}
    reasons = [problem.reason for problem in evaluation.problems]
    assert "120 x 92 pixels, not 120 x 96 as HR" in reasons[0]
    assert "no picture 2 of set Set" in reasons[1]
    assert len(evaluation.select("Set", BICUBIC)) == 3


def test_a_gray_file_is_its_own_y(tmp_path: Path, astronaut: np.ndarray) -> None:
    """As in the field's MATLAB code; a gray picture in an RGB file is RGB."""
    gray = astronaut.mean(2).astype(np.uint8)
    for name, picture in (("gray", gray), ("rgb", np.stack(3 * [gray], 2))):
        (tmp_path / name).mkdir()
        Image.fromarray(picture).save(tmp_path / name / "a.png")
    sets = [find_benchmark(tmp_path / name, 4) for name in ("gray", "rgb")]
    metrics, _ = load_metrics(["psnr_y", "psnr_rgb", "colour_drift"], None)
    evaluation = evaluate(sets, {}, {}, metrics, scale=4, examples=1)
    own, rgb = (evaluation.means(name, BICUBIC) for name in ("gray", "rgb"))
    assert rgb["psnr_y"] - own["psnr_y"] == pytest.approx(20 * np.log10(255 / 219), abs=0.05)
    assert rgb["psnr_rgb"] == pytest.approx(own["psnr_rgb"])
    assert rgb["colour_drift"] == pytest.approx(own["colour_drift"])
    assert {crop.shape for e in evaluation.examples for crop in e.crops.values()} == {(96, 96, 3)}


def test_the_most_detailed_part_is_found() -> None:
    image = np.zeros((100, 140, 3), np.uint8)
    image[60:80:2, 90:110:2] = 255
    rows, columns = most_detailed(image, 24)
    assert rows.start <= 60 and rows.stop >= 79
    assert columns.start <= 90 and columns.stop >= 109
    assert most_detailed(image, 200) == (slice(0, 100), slice(0, 140))


def test_the_command(
    srgan: Command, benchmark_folder: Path, small_model: Path, tmp_path: Path
) -> None:
    done = srgan(
        *("evaluate", "--benchmark", benchmark_folder, "--model", small_model, "--metrics"),
        *("psnr_y", "ssim_y", "colour_drift", "consistency", "--json", "out.json"),
        *("--csv", "out.csv", "--report", "out.html", "--per-image", "--precision", "fp32"),
    )
    assert done.returncode == 0, done.stderr
    assert "bicubic" in done.stdout
    assert "small" in done.stdout
    table = json.loads((tmp_path / "out.json").read_text())
    assert "Set" in json.dumps(table)
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 1 + 2 * 3
    assert "<html" in (tmp_path / "out.html").read_text()
    again = srgan("evaluate", "--benchmark", benchmark_folder, "--json", "out.json")
    assert again.returncode == 2
    assert "out.json: exists; use --overwrite" in again.stderr
    nowhere = srgan("evaluate", "--benchmark", benchmark_folder, "--json", "nowhere/out.json")
    assert nowhere.returncode == 2
    assert "nowhere/out.json: its folder does not exist" in nowhere.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--benchmark", "nowhere"), "nowhere"),
        (("--benchmark", "empty"), "no pictures"),
        (("--benchmark", "Set", "--metrics", "beauty"), "--metrics must be of"),
        (("--benchmark", "Set", "--model", "nothing"), "no such model"),
        (("--benchmark", "Set", "--results", "theirs"), "NAME=DIR"),
        (("--benchmark", "Set", "--results", "theirs=nowhere"), "is not a folder"),
        (
            ("--benchmark", "Set", "--model", "srgan-x4", "x2.safetensors"),
            "one with --scale",
        ),
        (("--benchmark", "Set", "--scale", "-2"), "--scale must be at least 1"),
    ],
)
def test_mistakes_are_explained(
    srgan: Command,
    benchmark_folder: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    (tmp_path / "empty").mkdir()
    save_checkpoint(tmp_path / "x2.safetensors", random_checkpoint(Architecture(1, 8, scale=2)))
    done = srgan("evaluate", *arguments)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_models_of_any_scale_are_measured_at_one(
    benchmark_folder: Path, small_model: Path, tmp_path: Path
) -> None:
    """At scale 1: of LR that equals HR, and of LR that a degradation made."""
    architecture = Architecture(1, 8, scale=1, unshuffle=4, bilinear=True, output="clamp")
    save_checkpoint(tmp_path / "x1.safetensors", random_checkpoint(architecture))
    models = [str(small_model), str(tmp_path / "x1.safetensors")]

    def means(name: str) -> dict[str, float | None]:
        table = tmp_path / f"{name}.json"
        command(benchmark=[benchmark_folder], model=models, metrics=["psnr_y"], scale=1, json=table)
        methods = json.loads(table.read_text())["sets"]["Set"]
        assert all(values["pictures"] == 3 for values in methods.values())
        return {method: values["means"]["psnr_y"] for method, values in methods.items()}

    same = means("same")
    assert same.pop("bicubic") is None  # infinite
    assert all(isinstance(value, float) for value in same.values())
    degrade(benchmark_folder / "HR", benchmark_folder / "LRx1", preset="blurry", scale=1)
    blurry = means("blurry")
    assert {"bicubic", "small", "x1"} == set(blurry)
    assert all(value is not None and 5 < value < 50 for value in blurry.values())


def test_a_problem_makes_exit_code_1(srgan: Command, benchmark_folder: Path) -> None:
    (benchmark_folder / "HR/1.png").write_bytes(b"no picture")
    done = srgan("evaluate", "-b", benchmark_folder, "--metrics", "psnr_y", "--precision", "fp32")
    assert done.returncode == 1
    assert "1.png" in done.stderr
    assert "2 of 3" in done.stdout


def test_every_model_has_a_row(
    srgan: Command, benchmark_folder: Path, tmp_path: Path, small_model: Path
) -> None:
    (tmp_path / "srgan-x4.safetensors").write_bytes(small_model.read_bytes())
    arguments = (
        "-m",
        "srgan-x4.safetensors",
        "srgan-x4",
        "--metrics",
        "psnr_y",
        "--json",
        "a.json",
    )
    done = srgan("evaluate", "-b", benchmark_folder, *arguments)
    assert done.returncode == 0, done.stderr
    methods = json.loads((tmp_path / "a.json").read_text())["sets"]["Set"]
    assert set(methods) == {"bicubic", "srgan-x4.safetensors", "srgan-x4"}


def test_a_metric_that_was_asked_for_and_is_missing(srgan: Command, benchmark_folder: Path) -> None:
    arguments = ("-b", benchmark_folder, "--lpips-weights", "none")
    done = srgan("evaluate", *arguments, "--metrics", "psnr_y", "lpips_alex")
    assert done.returncode == 1
    assert srgan("evaluate", *arguments).returncode == 0  # the default takes what there is


def test_degrade_writes_the_lr_of_the_benchmarks(
    srgan: Command, benchmark_folder: Path, tmp_path: Path
) -> None:
    wrong = srgan("degrade", benchmark_folder / "HR", "lr", "--preset", "blurry", "--seed", "-1")
    assert wrong.returncode == 2
    assert "--seed must be 0 or more" in wrong.stderr
    done = srgan("degrade", benchmark_folder / "HR", "lr")
    assert done.returncode == 0, done.stderr
    for number in range(3):
        np.testing.assert_array_equal(
            read_8bit(tmp_path / f"lr/{number}.png"),
            read_8bit(benchmark_folder / f"LRx4/{number}.png"),
        )
    again = srgan("degrade", benchmark_folder / "HR", "lr")
    assert again.returncode == 1
    assert "exists" in again.stderr


def test_degrade_with_todays_edges_differs_at_the_edges_only(
    srgan: Command, benchmark_folder: Path, tmp_path: Path
) -> None:
    assert srgan("degrade", benchmark_folder / "HR", "lr", "--edges", "symmetric").returncode == 0
    today = read_8bit(tmp_path / "lr/0.png").astype(int)
    before = read_8bit(benchmark_folder / "LRx4/0.png").astype(int)
    assert (today != before).any()
    np.testing.assert_array_equal(today[2:-2, 2:-2], before[2:-2, 2:-2])
    mirrored = np.pad(
        read_8bit(benchmark_folder / "HR/0.png"), ((8, 8), (8, 8), (0, 0)), "symmetric"
    )
    expected = bicubic_8bit(mirrored, 28, 34)[2:-2, 2:-2]
    np.testing.assert_array_equal(today, expected)
