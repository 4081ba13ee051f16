"""Pairs: LR files by HR files, their crops, and what is wrong with a pair."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from PIL import Image, ImageFilter
from skimage import data as photographs
from torch import Tensor

from srgan.degradation.bicubic import unit
from srgan.degradation.degrade import degrade_picture, fixed_rng, make_degrade
from srgan.errors import OptionError
from srgan.models.load import load_checkpoint
from srgan.networks.architecture import Architecture
from srgan.training.checks import check_data
from srgan.training.data.loader import open_loader
from srgan.training.data.pairs import check_pair, find_pairs
from srgan.training.data.stored import DataError, find_pictures
from srgan.training.options import DataOptions, SRGANOptions
from srgan.training.pixel_step import PixelStep
from srgan.training.start import make_accelerator
from srgan.training.step import Batch
from srgan.training.train import train
from srgan.training.trainer import Trainer
from tests.support.training import small_config

SCALE = 4
NAMES = ("astronaut", "chelsea", "coffee", "rocket")


def block_means(hr: np.ndarray) -> np.ndarray:
    """The means of 4 x 4 pixels; the rest at the right and at the bottom is left out."""
    height, width = (side // SCALE for side in hr.shape[:2])
    whole = hr[: height * SCALE, : width * SCALE].astype(float)
    blocks = whole.reshape(height, SCALE, width, SCALE, 3)
    return np.round(blocks.mean(axis=(1, 3))).astype(np.uint8)


def photo(name: str) -> np.ndarray:
    return np.ascontiguousarray(getattr(photographs, name)()[20:181, 60:260])


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """hr/ and lr/ of four photographs of 200 x 161 pixels; LR are means of 4 x 4 pixels."""
    for name in NAMES:
        save(tmp_path / "hr" / f"{name}.png", photo(name))
        save(tmp_path / "lr" / f"{name}x4.png", block_means(photo(name)))
    return tmp_path


def test_lr_is_found_by_the_names_of_benchmarks_in_the_same_subfolder(tmp_path: Path) -> None:
    names = {
        "0001.png": "0001x4.png",
        "b/0001.jpg": "b/0001.png",
        "b/Canon_HR.png": "b/canon_LR4.PNG",
        "c/x_GT.png": "c/x_LQ.png",
    }
    for hr, lr in names.items():
        for path in (tmp_path / "hr" / hr, tmp_path / "lr" / lr):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    root = tmp_path / "hr"
    found = find_pairs(tmp_path / "lr", SCALE, [(root, find_pictures(root))])
    assert found.files == {root / hr: tmp_path / "lr" / lr for hr, lr in names.items()}
    (tmp_path / "lr/0001x4.png").unlink()
    with pytest.raises(DataError, match=r"hr/0001\.png: no LR picture of that name in .*lr: add"):
        find_pairs(tmp_path / "lr", SCALE, [(root, find_pictures(root))])


@pytest.mark.parametrize(("candidates", "workers", "lanes"), [(1, 0, 2), (3, 1, 1)])
def test_crops_of_lr_show_what_those_of_hr_show(
    pairs: Path, monkeypatch: pytest.MonkeyPatch, candidates: int, workers: int, lanes: int
) -> None:
    """In each of the 8 ways to turn a picture, LR's pixels are the means of HR's."""
    files = find_pictures(pairs / "hr")
    found = find_pairs(pairs / "lr", SCALE, [(pairs / "hr", files)])
    monkeypatch.setattr("srgan.training.data.crops.CROPS_PER_ROUND", 64)
    loader = open_loader(
        files,
        crop=48,
        batch_size=16,
        seed=0,
        candidates=candidates,
        lanes=lanes,
        own=range(lanes),
        workers=workers,
        pairs=found,
    )
    batches = list(itertools.islice(loader, 6))
    loader.close()
    for batch in batches:
        assert batch.lr is not None
        assert batch.lr.shape == (16 * lanes, 3, 12, 12)
        for hr, lr in zip(batch.hr, batch.lr, strict=True):
            expected = block_means(hr.permute(1, 2, 0).numpy())
            np.testing.assert_array_equal(lr.permute(1, 2, 0).numpy(), expected)


def damaged(hr: np.ndarray, kind: str) -> np.ndarray:
    if kind == "every fourth pixel":  # half a pixel of LR off: a habit of some, not a mistake
        return hr[::SCALE, ::SCALE][: hr.shape[0] // SCALE, : hr.shape[1] // SCALE]
    if kind == "out of focus":
        hr = np.asarray(Image.fromarray(hr).filter(ImageFilter.BoxBlur(6)))
        return block_means(hr)
    if kind == "darker":
        return (0.4 * block_means(hr)).astype(np.uint8)
    height, width = (side // SCALE * SCALE for side in hr.shape[:2])
    return degrade_picture(
        make_degrade("blurry", whole=True), hr[:height, :width], SCALE, fixed_rng(0, kind)
    )


@pytest.mark.parametrize(
    "kind", ["every fourth pixel", "out of focus", "darker", "noise 1", "noise 2", "noise 3"]
)
@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_picture_is_still_a_pair(name: str, kind: str) -> None:
    assert check_pair(photo(name), damaged(photo(name), kind), SCALE) is None


@pytest.mark.parametrize(
    ("down", "right", "words"),
    [
        (0, 4, "4 right"),
        (-12, 8, "8 right and 12 up"),
        (3, 0, "3 down"),
        (0, -40, "40 left"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_a_shift_is_measured(name: str, down: int, right: int, words: str) -> None:
    whole = getattr(photographs, name)()
    hr = whole[60:220, 60:260]
    lr = block_means(whole[60 - down : 220 - down, 60 - right : 260 - right])
    problem = check_pair(hr, lr, SCALE)
    assert problem is not None
    assert problem == f"not aligned with HR: shifted by about {words} (pixels of HR)"


def test_another_picture_and_another_size_are_named_and_flat_ones_pass() -> None:
    hr = photo("chelsea")
    assert check_pair(hr, block_means(photo("coffee")), SCALE) == "shows another picture than HR"
    size = check_pair(hr, block_means(hr)[:-1], SCALE)
    assert size == "50 x 39 pixels, not 50 x 40, HR's 200 x 161 divided by 4"
    flat = np.full((64, 64, 3), 128, np.uint8)
    assert check_pair(flat, flat[:16, :16], SCALE) is None


def test_a_run_on_pairs_names_the_shifted_one_and_trains_on_the_others(
    pairs: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(pairs)
    save(Path("lr/coffeex4.png"), block_means(np.roll(photo("coffee"), 8, axis=1)))
    config = small_config(Path("hr"), iterations=2)
    options = replace(config.data, lr_folder=Path("lr"), seed=1, degradation="bicubic,blurry")
    config = replace(config, data=replace(options, validation_pictures=1))
    config = replace(config, schedule=replace(config.schedule, batch_size=32))
    train(config, Path("run"), resume=False)
    problem = "not aligned with HR: shifted by about 8 right (pixels of HR)"
    named = f"hr/coffee.png: lr/coffeex4.png: {problem}; skipped"
    assert named in [record.getMessage() for record in caplog.records]
    assert "validation at 2" in capsys.readouterr().err
    assert "lr_folder" not in load_checkpoint(Path("run/last.safetensors")).info["training"]
    save(Path("lr/rocketx4.png"), block_means(photo("rocket"))[::-1])
    caplog.clear()
    train(config, Path("run"), resume=True)
    assert "training pictures were replaced" in caplog.text


def test_validation_and_steps_take_the_lr_that_is_given(
    pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pairs)
    for name in NAMES[2:]:  # hr/ lies in the data folder, lr/ as well
        save(Path(f"{name}-2.png"), photo(name))
        save(Path(f"lr/{name}-2_LR.png"), block_means(photo(name)))
    config = small_config(Path(), iterations=1)
    options = replace(config.data, lr_folder=Path("lr"), validation_folder=Path("hr"))
    config = replace(config, data=options)
    trainer = Trainer(config, Path("run"), make_accelerator(config))
    files = cast(Sequence[Path], trainer.files)
    assert {path.name for path in files} == {"coffee-2.png", "rocket-2.png"}
    first = trainer.validation.pairs[0]
    np.testing.assert_array_equal(first.hr, photo("astronaut")[:160])
    np.testing.assert_array_equal(first.lr, block_means(photo("astronaut")))
    seen: list[Batch] = []
    step = PixelStep.__call__

    def seeing(self: PixelStep, batches: list[Batch]) -> dict[str, Tensor]:
        seen.extend(batches)
        return step(self, batches)

    monkeypatch.setattr(PixelStep, "__call__", seeing)
    crops = next(iter(trainer.loader()))
    trainer.update(crops)
    assert crops.lr is not None
    np.testing.assert_array_equal(seen[0].lr.numpy(), unit(crops.lr).numpy())  # to the bit
    trainer._degrade = make_degrade("blurry")
    trainer.update(crops)
    assert seen[1].lr.shape == seen[0].lr.shape
    assert not np.array_equal(seen[1].lr.numpy(), seen[0].lr.numpy())


def test_mistakes() -> None:
    with pytest.raises(OptionError, match="excludes --stream"):
        DataOptions(lr_folder=Path("lr"), stream=True)
    same = Architecture(blocks=1, channels=4, scale=1, unshuffle=4, bilinear=True, output="clamp")
    config = small_config(Path("hr"), iterations=1)
    pairs = replace(config, data=replace(config.data, lr_folder=Path("lr")))
    check_data(pairs, same, 4)  # scale 1 learns from pairs
    vgg = replace(config, data=DataOptions(crop=16), method=SRGANOptions())
    with pytest.raises(OptionError, match="--crop must be at least 20"):
        check_data(vgg, Architecture(), 4)
    check_data(replace(vgg, data=DataOptions(crop=20)), Architecture(), 4)
