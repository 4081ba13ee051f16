"""--gray: gray pictures of 16 bits, from their file to the network, and back to a file."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as photographs

from srgan.degradation.bicubic import bicubic_lr, reduced
from srgan.degradation.degrade import make_degrade
from srgan.pictures.images import open_picture
from srgan.pictures.pixels import gray_uint16
from srgan.training.config import TrainingConfig
from srgan.training.data.loader import open_loader
from srgan.training.data.pairs import find_pairs
from srgan.training.start import make_accelerator, make_validation
from srgan.training.step import Batch
from srgan.training.trainer import Trainer
from tests.support.command import Command
from tests.support.training import small_config

ramp = np.arange(96 * 128).reshape(96, 128)
DEEP = (photographs.camera()[:96, :128].astype(np.uint16) * 256) + (ramp % 256).astype(np.uint16)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Two gray pictures of 16 bits, and a colour photograph."""
    folder = tmp_path / "scans"
    folder.mkdir()
    for number, pixels in enumerate((DEEP, DEEP[::-1], DEEP[:, ::-1])):
        Image.fromarray(pixels).save(folder / f"{number}.png")
    Image.fromarray(photographs.astronaut()[:96, :128]).save(folder / "photo.png")
    return folder


def gray(config: TrainingConfig, **data: Any) -> TrainingConfig:
    return replace(config, data=replace(config.data, gray=True, **data))


def test_any_pixels_as_gray_of_16_bits() -> None:
    colours = photographs.astronaut()[:8, :9]
    expected = colours @ [0.299, 0.587, 0.114] * 257
    assert np.abs(gray_uint16(colours)[..., 0] - expected).max() < 1
    assert (gray_uint16(DEEP[..., None])[..., 0] == DEEP).all()
    eight = photographs.camera()[:8, :9, None]
    assert (gray_uint16(np.dstack([eight, 255 - eight])) == eight.astype(int) * 257).all()
    assert gray_uint16(np.full((1, 1, 3), 65535, np.uint16)) == 65535


@pytest.mark.parametrize("workers", [0, 1])
def test_crops_hold_the_files_own_values(scans: Path, workers: int) -> None:
    loader = open_loader(
        [scans / "0.png"],
        crop=24,
        batch_size=8,
        seed=0,
        gray=True,
        candidates=2,
        lanes=2,
        own=(0, 1),
        workers=workers,
    )
    with closing(loader):
        hr = next(iter(loader)).hr
    assert hr.shape == (16, 1, 24, 24) and hr.dtype == torch.uint16
    windows = np.lib.stride_tricks.sliding_window_view(DEEP, (24, 24)).reshape(-1, 24, 24)
    for crop in hr.numpy()[:, 0]:
        turned = [np.rot90(each, turn) for each in (crop, crop.T) for turn in range(4)]
        assert any((windows == each).all((1, 2)).any() for each in turned)


def test_crops_of_one_colour_are_of_one_gray(scans: Path) -> None:
    loader = open_loader(
        [scans / "0.png"], crop=24, batch_size=16, seed=0, gray=True, flat_share=0.5, workers=0
    )
    hr = next(iter(loader)).hr.float().flatten(1)
    flat = (hr == hr[:, :1]).all(1)
    assert 4 <= flat.sum() <= 12
    assert len(hr[flat, 0].unique()) > 2


def test_lr_is_not_rounded() -> None:
    hr = torch.from_numpy(DEEP)[None, None]
    lr = bicubic_lr(hr, 4)
    expected = reduced(torch.from_numpy(DEEP.astype(np.float64))[None, None] / 65535, 4)
    torch.testing.assert_close(lr.double(), expected.clamp(0, 1), rtol=0, atol=1e-6)
    off = lr * 255 - (lr * 255).round()
    assert off.abs().mean() > 0.2  # 0.25 where all values are equally probable


@pytest.mark.parametrize("name", ["blurry", "bicubic,blurry-light"])
def test_damage_of_gray_is_that_of_equal_colours(name: str) -> None:
    """But for noise, whose values are drawn for each channel, and for rounding."""
    hr = torch.from_numpy(np.stack([DEEP, DEEP[::-1]] * 4))[:, None]
    lr = make_degrade(name)(hr, 4, np.random.default_rng(3))
    assert lr.shape == (8, 1, 24, 32) and lr.dtype == torch.float32
    assert lr.min() >= 0 and lr.max() <= 1
    rgb = (hr.float() / 257).round().to(torch.uint8).expand(-1, 3, -1, -1)
    colours = make_degrade(name)(rgb, 4, np.random.default_rng(3)).mean(1, keepdim=True)
    assert (lr - colours).abs().mean() < 0.02


@pytest.mark.parametrize("degradation", ["bicubic", "blurry"])
def test_steps_get_three_equal_colours_of_16_bits(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, degradation: str
) -> None:
    config = gray(small_config(scans), degradation=degradation, validation_pictures=1)
    trainer = Trainer(config, tmp_path / "run", make_accelerator(config))
    seen: list[Batch] = []
    step = trainer._step

    def look(batches: list[Batch]) -> dict[str, torch.Tensor]:
        seen.extend(batches)
        return step(batches)

    monkeypatch.setattr(look, "scale_rates", step.scale_rates, raising=False)
    monkeypatch.setattr(trainer, "_step", look)
    with closing(trainer.loader()) as loader:
        assert trainer.update(next(iter(loader)))["finite"] == 1
    for picture in seen[0]:
        assert picture.shape[1] == 3 and (picture == picture[:, :1]).all()
    assert len((seen[0].hr[:, 0] * 65535).round().unique()) > 1000


def test_validation_is_gray(scans: Path) -> None:
    config = gray(small_config(scans))
    accelerator = make_accelerator(config)
    step: Any = type("Step", (), {"criterion": "psnr_y", "generator": None})()
    step.generator = type("Generator", (), {"architecture": type("A", (), {"scale": 4})()})()
    validation = make_validation(config, accelerator, step, [scans / "photo.png"], None)
    ((lr, hr),) = validation.pairs
    assert hr.shape == (96, 128, 3)
    assert (hr == hr[..., :1]).all() and (lr == lr[..., :1]).all()


def test_pairs_keep_16_bits(scans: Path, tmp_path: Path) -> None:
    (tmp_path / "lr").mkdir()
    small = DEEP.reshape(24, 4, 32, 4).mean((1, 3)).astype(np.uint16)
    Image.fromarray(small).save(tmp_path / "lr/0.png")
    pairs = find_pairs(tmp_path / "lr", 4, [(scans, [scans / "0.png"])], gray=True)
    lr = pairs.lr_of(scans / "0.png", DEEP[..., None])
    assert lr.dtype == np.uint16 and (lr[..., 0] == small).all()
    loader = open_loader(
        [scans / "0.png"], crop=24, batch_size=4, seed=0, gray=True, workers=0, pairs=pairs
    )
    crops = next(iter(loader))
    assert crops.lr is not None and crops.lr.dtype == torch.uint16
    means = crops.hr.float().unfold(2, 4, 4).unfold(3, 4, 4).mean((-2, -1))
    assert (crops.lr.float() - means).abs().max() < 1.5


def test_from_a_16_bit_file_to_a_16_bit_file(scans: Path, tmp_path: Path, srgan: Command) -> None:
    trained = srgan(
        *("train", "srresnet", "--data-folder", scans, "--gray", "--blocks", 1, "--channels", 8),
        *("--crop", 48, "--batch-size", 4, "--validation-pictures", 1, "--workers", 0),
        *("--iterations", 20, "--precision", "fp32", "--threads", 1),
    )
    assert trained.returncode == 0, trained.stderr
    model = tmp_path / "runs/srresnet/last.safetensors"
    done = srgan("upscale", scans / "0.png", "-o", "large.png", "--model", model)
    assert done.returncode == 0, done.stderr
    picture = open_picture(tmp_path / "large.png")
    assert picture.shape == (384, 512, 1) and picture.dtype == np.uint16
    assert len(np.unique(picture[:, :])) > 1000
