"""What Python programs call: any size, other processes, and the model that suits the picture."""

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import srgan
from srgan.engines.options import EngineOptions
from srgan.upscaling.auto import ModelChooser
from srgan.upscaling.upscaler import Upscaler


@pytest.mark.parametrize("size", [(0, 5), (40, 0), (-3, 5)])
def test_sizes_below_one_are_refused(small_model: Path, size: tuple[int, int]) -> None:
    upscaler = Upscaler.load(small_model)
    with pytest.raises(ValueError, match="at least 1 each"):
        next(upscaler.rows(np.zeros((8, 8, 3), np.uint8), size=size))


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_an_upscaler_goes_to_another_process(small_model: Path, engine: Any) -> None:
    upscaler = Upscaler.load(small_model, engine=engine, precision="fp32")
    lr = np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8)
    expected = upscaler(lr)
    for copied in (pickle.loads(pickle.dumps(upscaler)), copy.deepcopy(upscaler)):
        assert (copied(lr) == expected).all()
        assert copied.options == upscaler.options


def test_auto_in_python_is_auto_of_the_command(astronaut: np.ndarray, tmp_path: Path) -> None:
    sharp = astronaut[:64, :80]
    blurry = np.asarray(
        Image.fromarray(sharp).resize((20, 16), Image.Resampling.BOX).resize((80, 64))
    )
    Image.fromarray(blurry).save(tmp_path / "blurry.png")
    for lr in (sharp, blurry):
        choice = ModelChooser("auto", None, EngineOptions()).choose(lr)
        assert (srgan.upscale(lr, "auto") == srgan.upscale(lr, choice.model)).all()
        assert choice.model == ("srgan-x4" if lr is sharp else "srgan-blurry-x4")
    assert (srgan.upscale(tmp_path / "blurry.png", "auto") == srgan.upscale(blurry, "auto")).all()
    picture = srgan.upscale(Image.fromarray(blurry), "auto", scale=1)
    assert (np.asarray(picture) == srgan.upscale(blurry, "srgan-blurry-x1", scale=1)).all()
    with pytest.raises(ValueError, match="scale must be above 0"):
        srgan.upscale(sharp, "auto", scale=-1)
