"""Options of training: presets, the command line over them, mistakes; schedule and EMA."""

import math
import tomllib
from dataclasses import fields, replace
from pathlib import Path

import pytest
import tomli_w
import torch
from torch import nn

from srgan.errors import OptionError
from srgan.networks.architecture import Architecture
from srgan.training.checks import check_data
from srgan.training.config import PRESETS, TrainingConfig, check_resumed
from srgan.training.ema import EMA
from srgan.training.options import (
    DataOptions,
    OptimizerOptions,
    RunOptions,
    ScheduleOptions,
    SRGANData,
    SRGANOptimizer,
    SRGANOptions,
    SRGANSchedule,
    SRResNetOptions,
)
from srgan.training.schedule import rate_factor
from tests.support.command import Command

PARTS = {
    "srresnet": (SRResNetOptions, DataOptions, ScheduleOptions, OptimizerOptions, RunOptions),
    "srgan": (SRGANOptions, DataOptions, SRGANSchedule, SRGANOptimizer, RunOptions),
}


def test_presets_hold_known_options_only() -> None:
    paths = sorted(PRESETS.glob("*.toml"))
    assert len(paths) >= 2
    for path in paths:
        method, _ = path.stem.split("-")
        known = {field.name for part in PARTS[method] for field in fields(part)}
        assert set(tomllib.loads(path.read_text())) <= known


def test_presets_are_listed_with_a_line_each(srgan: Command) -> None:
    lines = srgan("train", "presets").stdout.splitlines()
    listed = [line.split(maxsplit=1) for line in lines if line.startswith(" ")]
    files = [path.stem.split("-", 1)[1] for path in sorted(PRESETS.glob("*.toml"))]
    assert sorted(name for name, _ in listed) == sorted(["fast", "fast", *files])
    assert all(len(purpose) > 20 and "#" not in purpose for _, purpose in listed)
    assert max(map(len, lines)) <= 100


def test_option_names_are_unique_over_all_parts() -> None:
    for parts in PARTS.values():
        names = [field.name for part in parts for field in fields(part)]
        assert len(names) == len(set(names))


def test_the_papers_preset_and_the_command_line_over_it(
    srgan: Command, tmp_path: Path, photo: Path
) -> None:
    (tmp_path / "pictures").mkdir()
    for number in range(3):
        photo_copy = tmp_path / "pictures" / f"{number}.jpg"
        photo_copy.write_bytes(photo.read_bytes())
    done = srgan(
        *("train", "srresnet", "--preset", "paper", "--data-folder", "pictures", "--rate", 2e-4),
        *("--blocks", 1, "--channels", 4, "--batch-size", 2, "--iterations", 1, "--workers", 0),
    )
    assert done.returncode == 0, done.stderr
    config = tomllib.loads((tmp_path / "runs/srresnet/config.toml").read_text())
    assert (config["optimizer"], config["betas"], config["ema"]) == ("adam", [0.9, 0.999], 0)
    assert (config["schedule"], config["pixel_loss"]) == ("constant", "mse")
    assert (config["rate"], config["iterations"]) == (2e-4, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("srresnet",), "--data-folder is missing"),
        (("srresnet", "--data-folder", "nowhere"), "nowhere"),
        (("srresnet", "--data-folder", "empty"), "no pictures"),
        (("srresnet", "--data-folder", "empty", "--preset", "slow"), "--preset must be"),
        (("srresnet", "--preset", "bad.toml"), "no_such_option"),
        (("srresnet", "--preset", "fraction.toml"), "--crop must be a whole number, not 48.5 (in "),
        (("srresnet", "--preset", "nested.toml"), "nested.toml: preset is for the command line"),
        (("srresnet", "--preset", "broken.toml"), "broken.toml: cannot be read (not TOML: "),
        (("srresnet", "--data-folder", "pictures", "--crop", "47.6"), "a whole number, not 47.6"),
        (("srgan", "--data-folder", "pictures", "--layer", "5", "3.5"), "whole number, not 3.5"),
        (
            ("srresnet", "--data-folder", "pictures", "--crop", "4", "--batch-size", "1"),
            "--crop 4 is too small for one crop at a time",
        ),
        (
            ("srresnet", "--data-folder", "pictures", "--freeze-bn"),
            "--freeze-bn needs a trained model: add --init or --no-freeze-bn",
        ),
        (
            ("srresnet", "--data-folder", "pictures/photo.jpg"),
            "pictures/photo.jpg: that is a file: give a folder",
        ),
        (("srresnet", "--resume"), "no run to resume"),
        (("srresnet", "--data-folder", "pictures", "--crop", "0"), "--crop must be above 0"),
        (("srresnet", "--data-folder", "pictures", "--crop", "50"), "multiple of 4"),
        (("srresnet", "--data-folder", "pictures", "--scale", "1"), "nothing to learn"),
        (
            (*("srresnet", "--data-folder", "pictures", "--degradation", "blurry"), "--scale", "6"),
            "--scale must be one of (1, 2, 3, 4, 8), not 6",
        ),
        (("srresnet", "--data-folder", "pictures", "--accumulate", "3"), "cannot be split"),
        (("srresnet", "--data-folder", "pictures", "--init", "nothing"), "no such model"),
        (
            ("srresnet", "--data-folder", "pictures", "--init", "srresnet-x4", "--channels", "8"),
            "--init srresnet-x4 has channels=64, this run has channels=8",
        ),
        (("srresnet", "--data-folder", "pictures", "--precision", "fp16"), "needs a GPU"),
        (("srresnet", "--data-folder", "pictures", "--degradation", "x"), "x: no such degradation"),
        (("srresnet", "--data-folder", ".", "--degradation", "bicubic", "x"), "x: no such degr"),
        (("srresnet", "--data-folder", ".", "--degradation", "bicubic,x"), "x: no such degr"),
        (("srgan", "--data-folder", "pictures"), "--srresnet is missing"),
        (
            ("srgan", "--data-folder", "pictures", "--srresnet", "srresnet-x4", "--features", "x"),
            "x: no such file",
        ),
    ],
)
def test_mistakes_are_explained_in_a_line(
    srgan: Command, tmp_path: Path, photo: Path, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/photo.jpg").write_bytes(photo.read_bytes())
    (tmp_path / "pictures/photo-2.jpg").write_bytes(photo.read_bytes())
    (tmp_path / "bad.toml").write_text("no_such_option = 1")
    (tmp_path / "fraction.toml").write_text("crop = 48.5")
    (tmp_path / "nested.toml").write_text('preset = "paper"')
    (tmp_path / "broken.toml").write_text("crop = [")
    done = srgan("train", *arguments)
    assert done.returncode in (1, 2)
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs/srresnet/config.toml").exists()


def test_a_run_folder_that_cannot_be_resumed(srgan: Command, tmp_path: Path) -> None:
    for table, message in (
        ("blocks = 16", "run: holds a run of srresnet: resume it with srgan train srresnet"),
        ("crop = [", "run/config.toml: cannot be read (not TOML: "),
    ):
        (tmp_path / "run").mkdir(exist_ok=True)
        (tmp_path / "run/config.toml").write_text(table)
        done = srgan("train", "srgan", "--resume", "--run-folder", "run")
        assert done.returncode == 2 and message in " ".join(done.stderr.split())


def test_the_smallest_crop_of_a_batch_of_one() -> None:
    """BN needs more than one value: the last of the picture discriminator sees 1 of 16 x 16."""
    paper = SRGANOptions(discriminator="picture", layer=((5, 4),), jitter=False)
    parts = (ScheduleOptions(), OptimizerOptions(), RunOptions(), paper)
    small = TrainingConfig(DataOptions(crop=16), *parts)
    with pytest.raises(OptionError, match="--crop 16 is too small for one crop at a time"):
        check_data(small, Architecture(), 1)
    check_data(small, Architecture(), 2)
    check_data(TrainingConfig(DataOptions(crop=20), *parts), Architecture(), 1)


def test_learning_rates_over_a_run() -> None:
    cosine = ScheduleOptions(warmup=10)
    assert rate_factor(cosine, 0, 0.0) == pytest.approx(0.1)
    assert rate_factor(cosine, 9, 0.0) == pytest.approx(1)
    assert rate_factor(cosine, 50, 0.5) == pytest.approx(0.505)
    assert rate_factor(cosine, 3, 0.1) == pytest.approx(1, abs=0.03)  # a short run
    assert rate_factor(cosine, 100, 1.0) == pytest.approx(0.01)
    wsd = ScheduleOptions(warmup=0, schedule="wsd")
    factors = [rate_factor(wsd, 9, p) for p in (0.0, 0.75, 0.875, 1.0, 1.1)]
    assert factors == pytest.approx([1, 1, 0.505, 0.01, 0.01])
    step = ScheduleOptions(warmup=0, schedule="step")
    assert [rate_factor(step, 9, p) for p in (0.0, 0.49, 0.5, 1.0)] == [1, 1, 0.1, 0.1]
    assert rate_factor(ScheduleOptions(warmup=0, schedule="constant"), 0, 0.9) == 1


def test_ema_is_the_running_mean_and_repairs_what_is_not_finite() -> None:
    network = nn.BatchNorm1d(2)
    ema = EMA(network, decay=0.5)
    for iteration, value in enumerate((1.0, 2.0, 4.0), start=8):
        nn.init.constant_(network.weight, value)
        ema.update(iteration)
    # From 1: (1 + 1) / 2, then with 2 and 4.
    assert ema.state_dict()["weight"].tolist() == [2.75, 2.75]
    assert network.running_mean is not None
    network.running_mean.fill_(float("nan"))
    ema.update(11)
    assert network.running_mean.tolist() == [0, 0]
    assert network.weight.tolist() == [4, 4]
    assert ema.finite()
    nn.init.constant_(network.weight, float("inf"))  # no statistic: nothing repairs it
    ema.update(12)
    assert not ema.finite()


def test_ema_soon_forgets_the_first_weights() -> None:
    network = nn.Linear(1, 1)
    nn.init.constant_(network.weight, 1000.0)
    ema = EMA(network, decay=0.999)
    nn.init.constant_(network.weight, 1.0)
    for iteration in range(1, 101):
        ema.update(iteration)
    assert ema.state_dict()["weight"].item() == pytest.approx(1, abs=0.01)


def test_without_decay_the_average_is_the_network_itself() -> None:
    network = nn.Linear(1, 1)
    ema = EMA(network, decay=0.0)
    nn.init.constant_(network.weight, 3.0)
    ema.update(1)
    assert torch.equal(ema.state_dict()["weight"], network.weight)


def test_the_config_says_everything_but_what_is_none() -> None:
    config = TrainingConfig(
        DataOptions(data_folder=Path("photos")),
        ScheduleOptions(),
        OptimizerOptions(),
        RunOptions(),
        SRResNetOptions(),
    )
    table = config.table()
    assert table["data_folder"] == "photos"
    assert table["betas"] == [0.9, 0.99]
    assert "minutes" not in table
    assert config.name == "srresnet"


def test_a_resumed_run_keeps_its_networks_and_samples() -> None:
    config = TrainingConfig(
        DataOptions(degradation="blurry"),
        ScheduleOptions(),
        OptimizerOptions(),
        RunOptions(),
        SRResNetOptions(),
    )
    check_resumed({**config.table(), "rate": 1.0}, config)
    for name, value in (
        ("degradation", "bicubic"),
        ("seed", 1),
        ("blocks", 3),
        ("optimizer", "natural"),
    ):
        with pytest.raises(OptionError, match=f"--{name} is {value} in this run and cannot change"):
            check_resumed({**config.table(), name: value}, config)
    with pytest.raises(OptionError, match="--init is None in this run and cannot change"):
        check_resumed(config.table(), replace(config, method=SRResNetOptions(init="srresnet-x2")))
    config = TrainingConfig(
        DataOptions(), ScheduleOptions(), OptimizerOptions(), RunOptions(), SRGANOptions()
    )
    saved = tomllib.loads(tomli_w.dumps(config.table()))
    check_resumed(saved, config)
    with pytest.raises(OptionError, match=r"--layer is .* in this run and cannot change"):
        check_resumed({**saved, "layer": [[5, 4]]}, config)
    with pytest.raises(OptionError, match="--discriminator is picture in this run"):
        check_resumed({**saved, "discriminator": "picture"}, config)


@pytest.mark.parametrize(
    "options",
    [
        lambda: DataOptions(workers=-1),
        lambda: ScheduleOptions(warmup=-1),
        lambda: OptimizerOptions(ema=1.0),
        lambda: SRGANOptions(
            content_weight=0,
            adversarial_weight=0,
            consistency_weight=0,
            grid_weight=0,
            spectrum_weight=0,
        ),
        lambda: RunOptions(keep=0),
        lambda: ScheduleOptions(minutes=math.nan),
        lambda: OptimizerOptions(rate=math.nan),
        lambda: OptimizerOptions(rate=math.inf),
        lambda: SRGANOptions(content_weight=math.nan),
        lambda: SRGANOptions(grid_weight=math.inf),
    ],
)
def test_impossible_options(options: object) -> None:
    with pytest.raises(OptionError):
        options()  # type: ignore[operator]


def test_bn_statistics_that_nobody_measured_are_not_kept() -> None:
    parts = (SRGANData(), SRGANSchedule(), SRGANOptimizer(), RunOptions())
    with pytest.raises(OptionError, match="--no-freeze-bn"):
        TrainingConfig(*parts, SRGANOptions(from_scratch=True))
    TrainingConfig(*parts, SRGANOptions(srresnet="srresnet-x4"))
