"""Training runs as users start them: seeds, stops, resumes, several processes, failures."""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from skimage import data as photographs

from srgan.degradation.degrade import make_degrade
from srgan.models.load import load_checkpoint
from srgan.networks import winograd
from srgan.training.data.crops import split
from srgan.training.data.loader import CropBatch
from srgan.training.data.sources import ShardStream
from srgan.training.data.stored import find_pictures
from srgan.training.options import (
    DataOptions,
    SRGANOptions,
    SRResNetOptions,
)
from srgan.training.precision import fastest_precision
from srgan.training.process import StopSignals
from srgan.training.run.folder import newest_model, read_config
from srgan.training.run.logbook import RunError, read_metrics
from srgan.training.start import find_data, make_accelerator
from srgan.training.train import train
from srgan.training.trainer import Trainer
from srgan.training.validation import read_pairs, validate
from tests.support.command import Command
from tests.support.training import assert_same_model, small_config
from tests.support.weights import random_weights

ROOT = Path(__file__).parents[2]
Train = Callable[..., "subprocess.CompletedProcess[str]"]
SMALL = ("--blocks", 1, "--channels", 8)
QUICK = ("--crop", 48, "--batch-size", 4, "--validation-pictures", 2, "--workers", 0)
CALM = ("--validate-every", 1000, "--log-every", 1, "--threads", 1, "--precision", "fp32")


# srgan, telling at its end which threads of gloo are left: any may make Python abort.
WATCHED = """\
import atexit, os, pathlib
from srgan.cli.app import main

def tell():
    names = [path.read_text() for path in pathlib.Path("/proc/self/task").glob("*/comm")]
    left = [name for name in names if "gloo" in name]
    pathlib.Path("left" + os.environ["RANK"]).write_text(str(left))

atexit.register(tell)
main()
"""


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of training photographs."""
    folder = tmp_path_factory.mktemp("pictures")
    for name in ("astronaut", "chelsea", "coffee", "rocket"):
        photo = getattr(photographs, name)()
        Image.fromarray(photo[:200, :240]).save(folder / f"{name}.png")
        Image.fromarray(photo[100:300, 100:340]).save(folder / f"{name}.jpg", quality=95)
    return folder


@pytest.fixture(scope="session")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first layers of a VGG19 with random weights."""
    path = tmp_path_factory.mktemp("vgg") / "vgg.safetensors"
    save_file(random_weights("vgg19", 6), path)
    return path


@pytest.fixture
def method(request: pytest.FixtureRequest, small_model: Path, vgg: Path) -> list[object]:
    """The arguments of `srgan train` that say what is trained."""
    if request.param == "srresnet":
        return ["srresnet", *SMALL]
    arguments = ["--srresnet", small_model, "--features", vgg, "--layer", 2, 1]
    return ["srgan", *arguments, "--degradation", "blurry"]


both_methods = pytest.mark.parametrize("method", ["srresnet", "srgan"], indirect=True)


def start(folder: Path, *arguments: object) -> "subprocess.Popen[str]":
    """Start `srgan train ...` as a person at a terminal does: not ignoring Ctrl-C."""
    return subprocess.Popen(
        [sys.executable, "-m", "srgan.cli", "train", *map(str, arguments)],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def wait_for(process: "subprocess.Popen[str]", pattern: str) -> str:
    """Read what the process says up to a line with the pattern."""
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if re.search(pattern, line):
            return said
    raise AssertionError(f"it ended without {pattern!r}: {said}")


def assert_same_state(a: Any, b: Any, at: str = "") -> None:
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), at
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), at
        for key in a:
            assert_same_state(a[key], b[key], f"{at}.{key}")
    elif at != ".elapsed":
        assert a == b, at


def newest_state(folder: Path) -> Any:
    return torch.load(max(folder.glob("state-*.pt")), weights_only=True)


@both_methods
def test_stopped_and_resumed_equals_uninterrupted(
    method: list[object], pictures: Path, tmp_path: Path, srgan: Command
) -> None:
    arguments = [*method, "--data-folder", pictures, *QUICK, *CALM, "--iterations", 30]
    process = start(tmp_path, *arguments, "--run-folder", "stopped")
    wait_for(process, r"iteration [5-9]/30")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    stopped_at = newest_state(tmp_path / "stopped")["iteration"]
    assert stopped_at < 30

    resumed = srgan("train", method[0], "--resume", "--run-folder", "stopped")
    assert resumed.returncode == 0, resumed.stderr
    whole = srgan("train", *arguments, "--run-folder", "whole")
    assert whole.returncode == 0, whole.stderr

    assert_same_model(tmp_path / "stopped/last.safetensors", tmp_path / "whole/last.safetensors")
    assert_same_state(newest_state(tmp_path / "stopped"), newest_state(tmp_path / "whole"))
    state = max((tmp_path / "whole").glob("state-*.pt"))
    assert_same_model(tmp_path / "whole/last.safetensors", state)  # a state is a model, too
    losses = [
        [
            [line["iteration"], *(value for name, value in line.items() if "loss" in name)]
            for line in read_metrics(tmp_path / run)
        ]
        for run in ("stopped", "whole")
    ]
    assert losses[0] == losses[1]


def test_ctrl_c_saves_and_exits_130(pictures: Path, tmp_path: Path) -> None:
    process = start(tmp_path, "srresnet", *SMALL, "--data-folder", pictures, *QUICK[:-1], 1, *CALM)
    wait_for(process, "iteration 2/")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume --run-folder runs/srresnet" in said
    assert "Traceback" not in said
    assert newest_state(tmp_path / "runs/srresnet")["iteration"] >= 2


def test_a_killed_run_goes_on_from_its_last_save(
    pictures: Path, tmp_path: Path, srgan: Command
) -> None:
    process = start(
        tmp_path,
        *("srresnet", *SMALL, "--data-folder", pictures, *QUICK, *CALM),
        *("--iterations", 400, "--save-every", 5),
    )
    wait_for(process, "iteration 12/")
    process.kill()
    process.wait()
    assert newest_state(tmp_path / "runs/srresnet")["iteration"] >= 10
    resumed = srgan("train", "srresnet", "--resume", "--iterations", 30)
    assert resumed.returncode == 0, resumed.stderr
    lines = read_metrics(tmp_path / "runs/srresnet")
    iterations = [line["iteration"] for line in lines if "loss/pixel" in line]
    assert iterations == list(range(1, 31))
    assert read_config(tmp_path / "runs/srresnet")["iterations"] == 30  # for the next --resume


@both_methods
def test_two_processes_see_what_one_does_that_accumulates(
    method: list[object], pictures: Path, tmp_path: Path, srgan: Command
) -> None:
    arguments = [*method, "--data-folder", pictures, *QUICK, *CALM, "--iterations", 4]
    arguments += ["--warmup", 0, "--optimizer", "adam"]
    alone = srgan("train", *arguments, "--accumulate", 2, "--run-folder", "alone")
    assert alone.returncode == 0, alone.stderr
    (tmp_path / "watched.py").write_text(WATCHED)
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2]
    together = subprocess.run(
        [
            *(sys.executable, *map(str, command), "watched.py", "train"),
            *(*map(str, arguments), "--run-folder", "together"),
        ],
        cwd=tmp_path,
        env={**os.environ, "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert together.returncode == 0, together.stderr
    for rank in (0, 1):
        assert (tmp_path / f"left{rank}").read_text() == "[]"
    one, two = read_metrics(tmp_path / "alone"), read_metrics(tmp_path / "together")
    names = [name for name in one[0] if name.startswith(("loss/", "d_"))]
    assert len(names) == (1 if method[0] == "srresnet" else 8)
    for a, b in zip(one[:4], two[:4], strict=True):
        for name in names:
            assert a[name] == pytest.approx(b[name], abs=1e-4), (a["iteration"], name)
    first, second = (
        load_checkpoint(tmp_path / run / "last.safetensors").tensors
        for run in ("alone", "together")
    )
    for name, tensor in first.items():
        if "running" not in name:  # each process has BN statistics of its own
            np.testing.assert_allclose(tensor, second[name], atol=1e-4, err_msg=name)


def test_the_seeds_commands_end_to_end(
    pictures: Path, photo: Path, vgg: Path, tmp_path: Path
) -> None:
    def script(name: str, *arguments: object) -> str:
        done = subprocess.run(
            [sys.executable, str(ROOT / name), *map(str, arguments)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    common = ("--data_folder", pictures, "--batch_size", 4, "--epochs", 1, *QUICK[:2], *QUICK[4:])
    script("train_srresnet.py", *common, *SMALL)
    config = read_config(tmp_path / "runs/srresnet")
    assert config["iterations"] == 24  # 16 crops of each of 6 pictures, in batches of 4
    assert config["batch_size"] == 4
    assert newest_state(tmp_path / "runs/srresnet")["iteration"] == 24
    script("train_srgan.py", *common, "--features", vgg, "--layer", 2, 1)
    assert read_config(tmp_path / "runs/srgan")["srresnet"] == "runs/srresnet/best.safetensors"
    for name in ("srresnet", "srgan"):
        model = tmp_path / f"runs/{name}/best.safetensors"
        said = script(f"test_{name}.py", "--image_path", photo, f"--{name}_ckpt", model)
        assert all((tmp_path / line).is_file() for line in said.split())


def test_training_learns(pictures: Path, tmp_path: Path, srgan: Command) -> None:
    """In 150 iterations a small network comes close to bicubic, and writes all it should."""
    done = srgan(
        *("train", "srresnet", "--blocks", 1, "--channels", 16, "--data-folder", pictures),
        *(*QUICK, "--iterations", 150, "--validate-every", 50, "--precision", "fp32"),
    )
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs/srresnet"
    scores = [
        line["validation/psnr_y"] for line in read_metrics(run) if "validation/psnr_y" in line
    ]
    assert len(scores) == 3
    assert scores[-1] > scores[0] + 1
    assert scores[-1] > 20
    best = load_checkpoint(run / "best.safetensors")
    assert best.info["metrics"]["psnr_y"] == max(scores)
    assert best.info["training"]["iterations"] == 50 * (1 + scores.index(max(scores)))
    assert "data_folder" not in best.info["training"]
    averaged = newest_state(run)["ema"]
    for name, tensor in load_checkpoint(run / "last.safetensors").tensors.items():
        np.testing.assert_array_equal(tensor, averaged[name].numpy(), err_msg=name)
    _, held_out = split(find_pictures(pictures), 2, 0)
    pairs = read_pairs(held_out, 4, make_degrade("bicubic"))
    again = validate(best, pairs, lambda _sr, _hr: {})
    assert again is not None
    assert again[0]["psnr_y"] == pytest.approx(max(scores), abs=1e-3)
    samples = sorted((run / "samples").iterdir())
    assert [path.name for path in samples] == [f"{n:010d}.png" for n in (50, 100, 150)]
    assert Image.open(samples[0]).width > 4 * 192
    assert list((run / "tensorboard").iterdir())


def test_validation_degrades_a_picture_in_the_same_way_in_every_run(pictures: Path) -> None:
    files = find_pictures(pictures)[:3]
    blurry = make_degrade("blurry", whole=True)
    pairs, again = read_pairs(files, 4, blurry), read_pairs(files[1:], 4, blurry)
    for pair, other in zip(pairs[1:], again, strict=True):
        np.testing.assert_array_equal(pair.lr, other.lr)
    clean = read_pairs(files, 4, make_degrade("bicubic"))
    for pair, other in zip(pairs, clean, strict=True):
        assert pair.lr.shape == other.lr.shape
        np.testing.assert_array_equal(pair.hr, other.hr)
    assert sum((pair.lr != other.lr).mean() for pair, other in zip(pairs, clean, strict=True)) > 1


def test_a_time_budget_ends_the_run(pictures: Path, tmp_path: Path, srgan: Command) -> None:
    start = time.monotonic()
    done = srgan(
        *("train", "srresnet", *SMALL, "--data-folder", pictures, *QUICK, *CALM),
        *("--minutes", 0.05, "--iterations", 10**9, "--warmup", 0),
    )
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - start < 60
    lines = [line for line in read_metrics(tmp_path / "runs/srresnet") if "loss/pixel" in line]
    assert lines[-1]["schedule/factor"] < 0.1  # the schedule went all the way


@pytest.mark.parametrize("stop_at", [3, 6])
def test_a_stop_where_validation_is_due_makes_up_for_it(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    config = small_config(pictures, iterations=6)
    update = Trainer.update

    def stopping(self: Trainer, crops: CropBatch) -> dict[str, torch.Tensor]:
        if self._iteration + 1 == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return update(self, crops)

    monkeypatch.setattr(Trainer, "update", stopping)
    with pytest.raises(SystemExit) as stopped:
        train(config, tmp_path / "run", resume=False)
    assert stopped.value.code == 128 + signal.SIGTERM
    monkeypatch.undo()
    train(config, tmp_path / "run", resume=True)
    lines = read_metrics(tmp_path / "run")
    validated = [line["iteration"] for line in lines if "validation/psnr_y" in line]
    assert validated == [3, 6]


def test_runs_and_validation_pictures_in_the_data_folder_are_not_trained_on(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("train", "val", "runs/srresnet/samples"):
        shutil.copytree(pictures, tmp_path / name)
    options = DataOptions(data_folder=Path(), validation_folder=Path("val"), validation_pictures=3)
    training, held_out = find_data(options, Path("runs/srresnet"))
    assert not isinstance(training, ShardStream)
    assert {Path(str(path)).parent.name for path in training} == {"train"}
    assert {Path(str(path)).parent.name for path in held_out} == {"val"}
    assert len(held_out) == 3


def test_without_pictures_to_validate_on_the_last_model_counts(
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    one = tmp_path / "one"
    one.mkdir()
    shutil.copy(pictures / "coffee.png", one)
    train(small_config(one, iterations=3), None, resume=False)
    assert "no pictures to validate on" in caplog.text
    assert newest_model("srresnet") == Path("runs/srresnet/last.safetensors")


def test_changed_pictures_are_told_when_resuming(
    pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "pictures"
    shutil.copytree(pictures, folder)
    train(small_config(folder, iterations=2), tmp_path / "run", resume=False)
    (folder / "rocket.png").rename(folder / "a-rocket.png")
    train(small_config(folder, iterations=3), tmp_path / "run", resume=True)
    assert "the training pictures have changed" in caplog.text


def test_a_run_resumes_without_the_model_it_started_from(
    pictures: Path, small_model: Path, tmp_path: Path, vgg: Path, srgan: Command
) -> None:
    shutil.copy(small_model, tmp_path / "start.safetensors")
    arguments = ("--features", vgg, "--layer", 2, 1, "--data-folder", pictures, *QUICK, *CALM)
    first = srgan(
        *("train", "srgan", "--srresnet", "start.safetensors", *arguments, "--iterations", 1)
    )
    assert first.returncode == 0, first.stderr
    (tmp_path / "start.safetensors").unlink()
    second = srgan("train", "srgan", "--resume", "--iterations", 2)
    assert second.returncode == 0, second.stderr


@pytest.mark.parametrize(
    ("processor", "compiler", "method", "precision"),
    [
        ("AuthenticAMD avx512_bf16", True, SRResNetOptions(), "fp32"),
        ("AuthenticAMD avx512_bf16", True, SRResNetOptions(channels=32), "bf16"),
        ("AuthenticAMD avx512_bf16", True, SRResNetOptions(channels=320), "bf16"),
        ("AuthenticAMD avx512_bf16", True, SRGANOptions(), "bf16"),
        ("AuthenticAMD avx512_bf16", False, SRResNetOptions(), "bf16"),
        ("GenuineIntel avx512_bf16 amx_bf16", True, SRResNetOptions(), "bf16"),
        ("GenuineIntel avx512_bf16", False, SRGANOptions(), "fp32"),
        ("AuthenticAMD avx2", False, SRGANOptions(), "fp32"),
    ],
)
def test_the_precision_that_is_fastest(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    processor: str,
    compiler: bool,
    method: SRResNetOptions | SRGANOptions,
    precision: str,
) -> None:
    vendor, _, flags = processor.partition(" ")
    (tmp_path / "cpuinfo").write_text(f"vendor_id\t: {vendor}\nflags\t\t: {flags}\n")
    monkeypatch.setattr("srgan.engines.processor.CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: "avx512" in flags)
    monkeypatch.setattr(winograd, "is_compiled", lambda: compiler)
    assert fastest_precision(method) == precision


def test_a_full_disk_does_not_stop_a_run_before_its_end(
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    config = small_config(pictures, iterations=6)
    trainer = Trainer(config, tmp_path, make_accelerator(config))
    monkeypatch.setattr(os, "fsync", full)
    with StopSignals() as signals, pytest.raises(RunError, match="not saved: No space left"):
        trainer.run(signals)
    assert trainer._iteration == 6
    assert "not saved, training continues: No space left" in caplog.text
    assert not list(tmp_path.rglob("*.part"))


def test_the_same_seed_gives_the_same_model_with_any_number_of_workers(
    pictures: Path, tmp_path: Path
) -> None:
    for folder, options in (("a", {}), ("b", {"workers": 2}), ("c", {"seed": 1})):
        config = small_config(pictures, iterations=2)
        train(
            replace(config, data=replace(config.data, **options)), tmp_path / folder, resume=False
        )
    assert_same_model(tmp_path / "a/last.safetensors", tmp_path / "b/last.safetensors")
    with pytest.raises(AssertionError):
        assert_same_model(tmp_path / "a/last.safetensors", tmp_path / "c/last.safetensors")


def test_gradients_that_are_not_finite_stop_the_run_with_a_good_state(
    pictures: Path, tmp_path: Path, srgan: Command
) -> None:
    arguments = ("srresnet", *SMALL, "--data-folder", pictures, *QUICK, *CALM, "--warmup", 0)
    good = srgan("train", *arguments, "--iterations", 3, "--run-folder", "run")
    assert good.returncode == 0, good.stderr
    before = newest_state(tmp_path / "run")
    bad = srgan(
        *("train", "srresnet", "--resume", "--run-folder", "run", "--validate-every", 1),
        *("--iterations", 100, "--rate", 1e38, "--muon-rate", 1e38),
    )
    assert bad.returncode == 1
    assert "not finite in 5 iterations in a row" in bad.stderr
    assert "Traceback" not in bad.stderr
    assert_same_state(newest_state(tmp_path / "run"), before)
