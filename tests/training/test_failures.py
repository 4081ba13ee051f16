"""Training runs that go wrong, or whose folder, pictures or disk are not as they should be."""

import errno
import itertools
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from srgan.errors import OptionError, UserError
from srgan.models.load import load_checkpoint
from srgan.training import validation as validation_module
from srgan.training.config import TrainingConfig
from srgan.training.data.loader import CropBatch
from srgan.training.data.sources import ShardStream
from srgan.training.data.stored import DataError, changes, digests, find_pictures
from srgan.training.pixel_step import PixelStep
from srgan.training.process import StopSignals
from srgan.training.run import folder as run_folder
from srgan.training.run.folder import load_state, save_state
from srgan.training.run.lock import RunLock
from srgan.training.run.logbook import RunError, read_metrics
from srgan.training.start import find_data, make_accelerator
from srgan.training.step import Batch
from srgan.training.train import train
from srgan.training.trainer import Trainer
from srgan.training.validation import Validation
from tests.support.command import Command
from tests.support.training import assert_same_model, small_config

Said = pytest.CaptureFixture[str]


def noise(folder: Path, count: int, side: int = 64, seed: int = 0) -> Path:
    """A folder of pictures with smooth noise."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        small = rng.integers(0, 256, (side // 8, side // 8, 3), np.uint8)
        Image.fromarray(small).resize((side, side)).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return noise(tmp_path / "pictures", 6)


def validating_on(folder: Path, config: TrainingConfig) -> TrainingConfig:
    return replace(config, data=replace(config.data, validation_folder=folder))


def skipping(monkeypatch: pytest.MonkeyPatch, skipped: Callable[[int], bool]) -> None:
    """Make the gradients of some updates, counted from 1, not finite."""
    step, iterations = PixelStep.__call__, itertools.count(1)

    def call(self: PixelStep, batches: list[Batch]) -> dict[str, torch.Tensor]:
        if skipped(next(iterations)):
            batches = [Batch(lr, hr * float("nan")) for lr, hr in batches]
        return step(self, batches)

    monkeypatch.setattr(PixelStep, "__call__", call)


def test_a_skipped_last_update_is_made_up_for(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    skipping(monkeypatch, lambda iteration: iteration in (3, 4))
    train(small_config(pictures, iterations=3), tmp_path / "run", resume=False)
    assert load_state(tmp_path / "run")["iteration"] == 5  # the first good one after 3
    model = load_checkpoint(tmp_path / "run" / "last.safetensors")
    assert model.info["training"]["iterations"] == 5
    assert str(tmp_path / "run" / "last.safetensors") in capsys.readouterr().err


def test_a_run_that_never_had_a_good_update_says_so(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    skipping(monkeypatch, lambda _: True)
    with pytest.raises(RunError, match="5 iterations in a row, up to 5; start again with a lower"):
        train(small_config(pictures, iterations=2), tmp_path / "run", resume=False)
    assert "trained" not in capsys.readouterr().err
    monkeypatch.undo()
    train(small_config(pictures, iterations=1), tmp_path / "run", resume=False)


def test_after_a_first_save_its_state_is_good(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(small_config(pictures, iterations=1), tmp_path / "run", resume=False)
    skipping(monkeypatch, lambda _: True)
    with pytest.raises(RunError, match="the last saved state is good: --resume it with a lower"):
        train(small_config(pictures, iterations=2), tmp_path / "run", resume=True)


def test_a_run_in_progress_is_not_resumed_beside_itself(pictures: Path, tmp_path: Path) -> None:
    config = small_config(pictures, iterations=1)
    train(config, tmp_path / "run", resume=False)
    before = sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "run").iterdir())
    lock = RunLock(tmp_path / "run")
    with pytest.raises(RunError, match="another srgan train is running in it"):
        train(small_config(pictures, iterations=2), tmp_path / "run", resume=True)
    assert before == sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "run").iterdir())
    lock.release()
    train(small_config(pictures, iterations=2), tmp_path / "run", resume=True)


def test_a_start_that_fails_can_be_repeated(tmp_path: Path) -> None:
    small = noise(tmp_path / "small", 3, side=32)
    with pytest.raises(DataError, match="none of the"):
        train(small_config(small, iterations=1), tmp_path / "run", resume=False)
    assert not (tmp_path / "run").exists()
    noise(small, 3, side=64)
    train(small_config(small, iterations=1), tmp_path / "run", resume=False)
    train(small_config(small, iterations=2), tmp_path / "run", resume=True)


def test_other_validation_pictures_start_a_new_best(
    pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The first are flat gray, so that no model is ever as good on the second ones."""
    flat = tmp_path / "flat"
    flat.mkdir()
    Image.fromarray(np.full((64, 64, 3), 128, np.uint8)).save(flat / "0.png")
    run = tmp_path / "run"
    train(validating_on(flat, small_config(pictures, iterations=3)), run, resume=False)
    first = load_checkpoint(run / "best.safetensors")
    assert first.info["metrics"]["psnr_y"] == load_state(run)["best"]
    hard = validating_on(noise(tmp_path / "hard", 2, seed=9), small_config(pictures, iterations=6))
    train(hard, run, resume=True)
    assert "the validation pictures have changed: the best model is chosen anew" in caplog.text
    assert load_state(run)["best"] < first.info["metrics"]["psnr_y"]
    best = load_checkpoint(run / "best.safetensors")
    assert best.info["training"]["iterations"] in (3, 6)
    assert best.info["metrics"]["psnr_y"] == load_state(run)["best"]
    assert_same_model(run / "best-before-3.safetensors", run / "best-before-3.safetensors")
    caplog.clear()
    train(replace(hard, schedule=replace(hard.schedule, iterations=7)), run, resume=True)
    assert "validation pictures have changed" not in caplog.text


def test_states_of_0_1_0_keep_their_best_and_resume(
    pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They have the digest of the names alone, and none of the validation pictures."""
    run = tmp_path / "run"
    train(small_config(pictures, iterations=3), run, resume=False)
    state = load_state(run)
    del state["validation_pictures"], state["format"]
    state |= {"files": state["files"]["names"], "best": 99.0}
    save_state(run, 3, state, keep=1)
    train(small_config(pictures, iterations=6), run, resume=True)
    assert "have changed" not in caplog.text
    assert load_state(run)["best"] == 99.0


def test_a_best_model_that_was_not_written_is_not_the_best(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full at the first validation, which is better than the second one."""
    save_model, values = run_folder.save_model, iter([30.0, 20.0])
    full = iter([True])

    def save(folder: Path, name: str, checkpoint: Any) -> Path:
        if name == "best" and next(full, False):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return save_model(folder, name, checkpoint)

    def run(self: Validation, checkpoint: Any, iteration: int, interrupted: Any) -> np.ndarray:
        self.values, self.iteration = {"psnr_y": next(values)}, iteration
        return np.zeros((8, 8, 3), np.uint8)

    monkeypatch.setattr(run_folder, "save_model", save)
    monkeypatch.setattr(Validation, "run", run)
    train(small_config(pictures, iterations=6), tmp_path / "run", resume=False)
    best = load_checkpoint(tmp_path / "run" / "best.safetensors")
    assert best.info["metrics"]["psnr_y"] == 20.0
    assert load_state(tmp_path / "run")["best"] == 20.0


def test_the_first_best_model_comes_with_a_state(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is killed before its first regular save can be resumed."""
    update = Trainer.update

    def killed(self: Trainer, crops: CropBatch) -> dict[str, torch.Tensor]:
        if self._iteration == 4:
            raise KeyboardInterrupt
        return update(self, crops)

    monkeypatch.setattr(Trainer, "update", killed)
    with pytest.raises(KeyboardInterrupt):
        train(small_config(pictures, iterations=9), tmp_path / "run", resume=False)
    monkeypatch.undo()
    train(small_config(pictures, iterations=4), tmp_path / "run", resume=True)
    iterations = [line["iteration"] for line in read_metrics(tmp_path / "run")]
    assert max(iterations) == 4


def test_a_run_in_its_data_folder_does_not_train_on_what_it_drew(
    pictures: Path, tmp_path: Path
) -> None:
    """Neither do other runs that lie beside it."""
    names = [path.name for path in find_pictures(pictures)]
    config = small_config(pictures, iterations=3)
    train(config, pictures, resume=False)
    train(config, pictures / "other", resume=False)
    assert list((pictures / "samples").iterdir()) and list((pictures / "other/samples").iterdir())
    Image.new("RGB", (96, 96)).save(pictures / "curves.png")
    for folder in (pictures, pictures / "third"):
        training, held_out = find_data(config.data, folder)
        assert not isinstance(training, ShardStream)
        assert sorted(path.name for path in [*training, *held_out]) == names
    elsewhere = noise(tmp_path / "elsewhere" / "samples", 2)  # nobody's samples
    assert len(find_pictures(elsewhere.parent)) == 2


def test_replaced_pictures_are_noticed(
    pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    run, computed = tmp_path / "run", 0

    def counting(files: Any) -> Any:
        nonlocal computed
        computed += 1
        return digests(files)

    monkeypatch.setattr("srgan.training.trainer.digests", counting)
    config = small_config(pictures, iterations=4)
    train(replace(config, run=replace(config.run, save_every=1)), run, resume=False)
    assert computed == 1
    for path in find_pictures(pictures):
        shutil.copy2(path, tmp_path / "copy.png")
        (tmp_path / "copy.png").replace(path)  # the same content, time and name
    train(small_config(pictures, iterations=5), run, resume=True)
    assert "pictures" not in caplog.text
    noise(pictures, 6, seed=1)
    train(small_config(pictures, iterations=6), run, resume=True)
    assert "training pictures were replaced" in caplog.text


def test_what_has_changed_is_told() -> None:
    now = {"names": "a", "sizes": "b", "times": "c"}
    assert changes(now, now) is None and changes("a", now) is None
    assert "have changed" in str(changes("x", now))
    assert "have changed" in str(changes(now | {"names": "x", "times": "x"}, now))
    assert "were replaced" in str(changes(now | {"sizes": "x", "times": "x"}, now))
    assert "other times" in str(changes(now | {"times": "x"}, now))


def test_folders_that_are_not_utf_8(tmp_path: Path, srgan: Command) -> None:
    latin = tmp_path / os.fsdecode(b"\xe9t\xe9")
    try:
        latin.mkdir()
    except OSError:
        pytest.skip("this file system has only UTF-8 names")
    pictures = noise(latin / os.fsdecode(b"\xe0"), 6)
    (pictures / "0.png").rename(pictures / os.fsdecode(b"\xe9.png"))
    small = ("--blocks", 1, "--channels", 4, "--crop", 48, "--batch-size", 4, "--workers", 0)
    folders = ("--data-folder", pictures, "--run-folder", latin / "run")
    done = srgan("train", "srresnet", *folders, *small, "--iterations", 3)
    assert done.returncode == 0, done.stderr
    resumed = srgan(
        "train", "srresnet", "--resume", "--run-folder", latin / "run", *("--iterations", 4)
    )
    assert resumed.returncode == 0, resumed.stderr
    assert load_state(latin / "run")["iteration"] == 4


@pytest.mark.parametrize(("iterations", "better"), [(3, False), (6, True)])
def test_a_model_below_bicubic_is_never_recommended(
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Said,
    iterations: int,
    better: bool,
) -> None:
    values = iter([1.0, 90.0])

    def run(self: Validation, checkpoint: Any, iteration: int, interrupted: Any) -> np.ndarray:
        self.values, self.iteration = {"psnr_y": next(values)}, iteration
        return np.zeros((8, 8, 3), np.uint8)

    monkeypatch.setattr(Validation, "run", run)
    train(small_config(pictures, iterations=iterations), tmp_path / "run", resume=False)
    said = capsys.readouterr().err
    bicubic = [
        line["validation/bicubic_psnr_y"]
        for line in read_metrics(tmp_path / "run")
        if "validation/psnr_y" in line
    ]
    assert len(set(bicubic)) == 1 and 5 < bicubic[0] < 60
    assert f"psnr_y 1; bicubic: psnr_y {bicubic[0]:.4g} (no better than bicubic)" in said
    assert said.count("(best)") == better
    assert ("best.safetensors" in said) == better
    assert ("trained, but validation is no better than bicubic" in said) != better


def test_a_run_without_a_new_best_ends_early(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    """Values 20, 30, 29, nan at iterations 3, 6, 9, 12: two in a row are no better than 30."""
    values = iter([20.0, 30.0, 29.0, float("nan"), 28.0, 31.0, 30.0])

    def validate(*_: object) -> tuple[dict[str, float], np.ndarray]:
        return {"psnr_y": next(values)}, np.zeros((8, 8, 3), np.uint8)

    def iteration(patience: int, resume: bool) -> int:
        config = small_config(pictures, iterations=30, patience=patience)
        train(config, tmp_path / "run", resume=resume)
        return load_state(tmp_path / "run")["iteration"]

    monkeypatch.setattr(validation_module, "validate", validate)
    assert iteration(2, resume=False) == 12
    assert "stopped at iteration 12: no new best in 2 validations" in capsys.readouterr().err
    assert iteration(2, resume=True) == 12  # resumed as it was: it ends at once
    with pytest.raises(StopIteration):  # 28: the third; 31: a new best; 30; no more values
        iteration(4, resume=True)
    best = load_checkpoint(tmp_path / "run" / "best.safetensors").info["metrics"]
    assert (best["psnr_y"], best["iteration"]) == (31, 18)


def test_patience_needs_validation_pictures(tmp_path: Path) -> None:
    alone = noise(tmp_path / "alone", 1)
    with pytest.raises(OptionError, match="--patience needs pictures to validate on"):
        train(small_config(alone, iterations=3, patience=1), tmp_path / "run", resume=False)


def test_bicubic_is_that_of_the_benchmarks(pictures: Path, tmp_path: Path) -> None:
    from srgan.evaluation.evaluate import upscale_bicubic
    from srgan.evaluation.metrics import psnr_y

    config = small_config(pictures, iterations=1)
    validation = Trainer(config, tmp_path, make_accelerator(config)).validation
    expected = [psnr_y(upscale_bicubic(lr, 4), hr, 4) for lr, hr in validation.pairs]
    assert validation.bicubic == {"psnr_y": pytest.approx(np.mean(expected))}


def test_a_full_disk_before_the_first_state(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not written does not count: the same start can be repeated."""
    config = small_config(pictures, iterations=3)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    trainer = Trainer(config, tmp_path, make_accelerator(config))
    with monkeypatch.context() as patch, StopSignals() as signals:
        patch.setattr(os, "fsync", full)
        with pytest.raises(RunError, match="not saved: No space left"):
            trainer.run(signals)
    train(config, tmp_path, resume=False)


@pytest.mark.parametrize("iterations", [3, 5])
def test_a_signal_during_a_validation(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, iterations: int
) -> None:
    """The run stops at that iteration, with the signal's code, and validates when resumed."""
    config = small_config(pictures, iterations=iterations)
    run = Validation.run

    def interrupted(self: Validation, *arguments: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return run(self, *arguments)

    monkeypatch.setattr(Validation, "run", interrupted)
    with pytest.raises(SystemExit) as stopped:
        train(config, tmp_path / "run", resume=False)
    assert stopped.value.code == 128 + signal.SIGTERM
    assert load_state(tmp_path / "run")["iteration"] == 3
    monkeypatch.undo()
    train(config, tmp_path / "run", resume=True)
    validated = [
        line["iteration"] for line in read_metrics(tmp_path / "run") if "validation/psnr_y" in line
    ]
    assert validated[0] == 3


def test_a_failed_start_leaves_the_folder_that_was_given(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError):
        train(small_config(tmp_path / "typo", iterations=1), tmp_path / "mine", resume=False)
    assert list((tmp_path / "mine").iterdir()) == []
