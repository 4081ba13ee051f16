"""Training and upscaling on a GPU. CI has none: `benchmarks/on_gpu.sh` runs these where one is."""

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image
from skimage import data as photographs

from srgan.engines.options import EngineOptions
from srgan.evaluation.metrics import psnr_y
from srgan.models.load import load_checkpoint
from srgan.networks.generator import Generator
from srgan.training.config import TrainingConfig
from srgan.training.run.folder import load_state
from srgan.training.start import make_accelerator
from srgan.training.train import train
from srgan.training.trainer import Trainer
from srgan.upscaling.upscaler import Upscaler
from tests.support.training import photos, small_config, small_srgan

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

both = pytest.mark.parametrize("adversarial", [False, True])


@pytest.fixture(autouse=True)
def any_device() -> Iterator[None]:
    """accelerate keeps the device of a process's first run, too."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def config(folder: Path, adversarial: bool, precision: Any, **schedule: Any) -> TrainingConfig:
    small = small_config(photos(folder / "photos"), **schedule)
    small = replace(
        small,
        data=replace(small.data, degradation="bicubic,blurry"),
        run=replace(small.run, precision=precision, log_every=2),
    )
    return small_srgan(small, folder) if adversarial else small


@both
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_no_step_waits_for_the_gpu(tmp_path: Path, adversarial: bool, precision: str) -> None:
    chosen = config(tmp_path, adversarial, precision)
    trainer = Trainer(chosen, tmp_path / "run", make_accelerator(chosen))
    with closing(trainer.loader()) as loader:
        batches = iter(loader)
        for _ in range(2):  # constants go to the device, cuDNN chooses its kernels
            trainer.update(next(batches))
        torch.cuda.set_sync_debug_mode("error")
        try:
            values = [trainer.update(next(batches)) for _ in range(3)]
        finally:
            torch.cuda.set_sync_debug_mode("default")
    if precision != "fp16":  # it may be looking for its scale
        assert all(each["finite"].item() == 1 for each in values)


@both
def test_the_gpu_computes_what_the_cpu_does(
    tmp_path: Path, adversarial: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = config(tmp_path, adversarial, "fp32")
    chosen = replace(chosen, data=replace(chosen.data, degradation="bicubic"))
    values: list[dict[str, float]] = []
    for cpu in ("false", "true"):
        monkeypatch.setenv("ACCELERATE_USE_CPU", cpu)
        AcceleratorState._reset_state(reset_partial_state=True)
        accelerator = make_accelerator(chosen)
        assert (accelerator.device.type == "cpu") == (cpu == "true")
        trainer = Trainer(chosen, tmp_path / "run", accelerator)
        with closing(trainer.loader()) as loader:
            made = trainer.update(next(iter(loader)))
        values.append({name: value.item() for name, value in made.items()})
    assert "ACCELERATE_USE_CPU" in os.environ
    assert values[0] == pytest.approx(values[1], rel=2e-2, abs=1e-4)  # cuDNN may compute in TF32


@both
def test_a_run_resumes(tmp_path: Path, adversarial: bool) -> None:
    chosen = config(tmp_path, adversarial, "bf16", iterations=4)
    train(chosen, tmp_path / "run", resume=False)
    longer = replace(chosen, schedule=replace(chosen.schedule, iterations=8))
    train(longer, tmp_path / "run", resume=True)
    state = load_state(tmp_path / "run")
    assert state["iteration"] == 8
    assert all(tensor.isfinite().all() for tensor in state["ema"].values())


def test_upscaling_agrees_with_the_cpus_float32() -> None:
    checkpoint = load_checkpoint("srresnet-x4")
    lr = np.asarray(Image.fromarray(photographs.astronaut()).resize((128, 128)))
    sr = Upscaler(checkpoint, EngineOptions())(lr)
    with torch.no_grad():
        pixels = torch.from_numpy(lr.copy()).permute(2, 0, 1)[None] / 255
        expected = Generator.from_checkpoint(checkpoint)(pixels)[0]
    levels = (expected.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    assert psnr_y(sr, levels, 4) > 45  # bf16 or fp16
