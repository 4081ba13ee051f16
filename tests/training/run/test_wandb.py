"""`--log wandb`, with a module in the place of wandb that keeps what it is given."""

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage import data

from srgan.errors import MissingExtraError
from srgan.training.data.stored import find_pictures
from srgan.training.run.logbook import RunError, read_metrics
from srgan.training.run.wandb_log import WandbLog
from srgan.training.train import train
from tests.support.training import small_config

OPTIONS = {"crop": 48}


class Wandb(ModuleType):
    """As wandb; `error` is raised in the call named by `failing`."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.__spec__ = sys.__spec__  # it counts as installed
        self.started: list[dict[str, Any]] = []
        self.logged: list[dict[str, Any]] = []
        self.finished = 0
        self.failing = ""
        self.Settings = dict
        self.Image = np.asarray

    def _fail(self, call: str) -> None:
        if call == self.failing:
            raise RuntimeError("no\nnetwork")

    def init(self, **arguments: Any) -> "Wandb":
        self._fail("init")
        self.started.append(arguments)
        return self

    def define_metric(self, name: str, step_metric: str) -> None:
        assert (name, step_metric) == ("*", "iteration")

    def log(self, values: dict[str, Any]) -> None:
        self._fail("log")
        self.logged.append(values)

    def finish(self) -> None:
        self.finished += 1


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Wandb:
    module = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def test_a_run_and_its_resumed_part_are_one_run_of_wandb(wandb: Wandb, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(4):
        Image.fromarray(data.chelsea()[: 64 + number, :64]).save(pictures / f"{number}.png")
    config = small_config(pictures, iterations=3)
    config = replace(config, run=replace(config.run, log="wandb", log_every=1))
    train(config, tmp_path / "run", resume=False)
    longer = replace(config, schedule=replace(config.schedule, iterations=4))
    train(longer, tmp_path / "run", resume=True)

    first, second = wandb.started
    assert first["id"] == second["id"]
    assert (first["name"], first["project"], first["resume"]) == ("run", "srgan", "allow")
    assert first["config"]["crop"] == 48
    assert "data_folder" not in first["config"]  # a name of the user's files
    assert wandb.finished == 2
    numbers = [values for values in wandb.logged if "samples" not in values]
    assert numbers == read_metrics(tmp_path / "run")  # what metrics.jsonl has
    grids = [values for values in wandb.logged if "samples" in values]
    assert [values["iteration"] for values in grids] == [3, 4]
    assert grids[0]["samples"].ndim == 3
    drawn = tmp_path / "run" / "wandb" / "run-1" / "files" / "media" / "samples.png"
    drawn.parent.mkdir(parents=True)
    drawn.write_bytes((pictures / "0.png").read_bytes())
    assert find_pictures(tmp_path) == find_pictures(pictures)  # what wandb keeps is no photograph


def test_a_new_run_in_the_folder_of_a_failed_one_is_another_run(
    wandb: Wandb, tmp_path: Path
) -> None:
    WandbLog(tmp_path, 0, OPTIONS).close()
    WandbLog(tmp_path, 0, OPTIONS).close()
    assert wandb.started[0]["id"] != wandb.started[1]["id"]


def test_wandb_that_does_not_start(wandb: Wandb, tmp_path: Path) -> None:
    wandb.failing = "init"
    with pytest.raises(RunError, match=r"cannot start \(no network\): run wandb login, or set WAN"):
        WandbLog(tmp_path, 0, OPTIONS)
    assert not list(tmp_path.iterdir())  # so that the failed start is removed


def test_wandb_that_fails_later_does_not_end_training(
    wandb: Wandb, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    book = WandbLog(tmp_path, 0, OPTIONS)
    book.write(1, {"a": 1.0})
    wandb.failing = "log"
    book.write(2, {"a": 2.0})
    wandb.failing = ""
    book.write(3, {"a": 3.0})
    book.close()
    assert wandb.logged == [{"iteration": 1, "a": 1.0}]
    assert [record.getMessage() for record in caplog.records] == [
        "wandb fails, training continues without it: no network"
    ]


def test_without_wandb_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    config = small_config(tmp_path, iterations=1)
    config = replace(config, run=replace(config.run, log="wandb"))
    with pytest.raises(MissingExtraError, match=r"--log wandb needs wandb: .* 'srgan\[wandb\]'"):
        train(config, tmp_path / "run", resume=False)
