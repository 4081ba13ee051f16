"""`srgan train plan`: its sums, and a plan beside the run that it is about."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srgan.cli.train import train as command
from srgan.training import plan as planning
from srgan.training.config import TrainingConfig
from srgan.training.options import (
    DataOptions,
    OptimizerOptions,
    RunOptions,
    ScheduleOptions,
    SRResNetOptions,
)
from srgan.training.plan import Costs, RunPlan, make_plan
from srgan.training.train import train
from tests.support.training import small_config

COSTS = Costs(
    start=10,
    iteration=0.5,
    measured=30,
    validation=20,
    save=1,
    state=20_000_000,
    model=6_000_000,
    grid=500_000,
    memory=1_500_000_000,
    workers=(300_000_000, 300_000_000),
    gpu=0,
)


def of_a_run(pictures: int | None = 1000, held_out: int = 16, **schedule: float) -> RunPlan:
    options = ScheduleOptions(**{"iterations": 10_000, **schedule})  # type: ignore[arg-type]
    run = RunOptions(save_minutes=1000, keep=3)
    config = TrainingConfig(DataOptions(), options, OptimizerOptions(), run, SRResNetOptions())
    return RunPlan(config, pictures, held_out, COSTS)


def test_the_sums_of_a_plan() -> None:
    plan = of_a_run()
    assert plan.validations() == 10
    assert plan.seconds() == 10 + 10_000 * 0.5 + 10 * 20 + 12 * 1  # every 1000, first best, end
    states, models, grids = 3 * 20_000_000, 2 * 6_000_000, 2 * 10 * 500_000
    assert states + models + grids < plan.disk() < states + models + grids + 200_000
    assert plan.text().splitlines() == [
        "pictures    1,000 to train on, 16 to validate on",
        "crops       16,000 of 96 x 96 pixels in an epoch, 16 a picture",
        "iterations  10,000 of 16 crops: 10 epochs",
        "speed       0.5 s an iteration (the mean of 30)",
        "time        1:27:02, with 10 validations of 20 s",
        "memory      2.10 GB, of which 2 data workers 600 MB",
        "disk        82 MB in the run folder at the end",
    ]


def test_a_budget_of_minutes_and_a_stream() -> None:
    plan = of_a_run(minutes=60)
    assert plan.seconds() == pytest.approx(3600, rel=0.01)
    assert "iterations  about 6,9" in plan.text()
    assert of_a_run(minutes=1000).iterations() == 10_000  # the end comes first
    stream = of_a_run(None, 0).text()
    assert "a stream does not tell, 0 to validate on" in stream
    assert "epoch" not in stream
    assert "0 validations" in stream


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(6):
        small = Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8))
        small.resize((96, 96)).save(folder / f"{number}.png")
    return folder


def test_a_plan_beside_its_run(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(planning, "SECONDS", 0.0)
    config = small_config(pictures, epochs=2)
    run = replace(config.run, validate_every=16, save_every=50, log_every=1)
    config = replace(config, run=run, method=SRResNetOptions(blocks=1, channels=32))
    plan = make_plan(config)
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]  # it keeps nothing
    assert (plan.pictures, plan.held_out, plan.iterations()) == (4, 2, 32)
    assert plan.costs.measured == 1  # log_every
    assert min(plan.costs.iteration, plan.costs.validation, plan.costs.save) > 0
    assert 10**8 < plan.costs.memory < 10**11
    train(config, tmp_path / "run", resume=False)
    used = sum(path.stat().st_size for path in (tmp_path / "run").rglob("*") if path.is_file())
    assert plan.disk() == pytest.approx(used, rel=0.2)


def test_the_command(
    pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(pictures.parent)
    monkeypatch.setattr(planning, "SECONDS", 0.0)
    options = "--data-folder pictures --blocks 1 --channels 4 --crop 48 --preset paper --workers 1"
    command(["plan", *options.split()], result_action="return_value")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "pictures    3 to train on, 3 to validate on"
    assert lines[2].startswith("iterations  1,000,000 of 16 crops")  # the paper's
    assert "of which 1 data workers" in lines[5]
