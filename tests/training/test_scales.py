"""Networks of the scales 1 and 3, from training to a picture, int8 and an exported file."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file
from skimage import data as photographs

from srgan.engines.base import EngineError
from srgan.engines.openvino import calibrate
from srgan.engines.options import EngineOptions
from srgan.models.export import export
from srgan.models.file import save_checkpoint
from srgan.models.load import load_checkpoint
from srgan.networks.architecture import Checkpoint
from srgan.networks.folding import fold
from srgan.training.config import TrainingConfig
from srgan.training.options import SRGANOptions, SRResNetOptions
from srgan.training.train import train
from srgan.upscaling.upscaler import Upscaler
from tests.support.training import small_config
from tests.support.weights import random_weights


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    folder.mkdir()
    for name in ("astronaut", "chelsea", "coffee"):
        Image.fromarray(getattr(photographs, name)()[:151, :150]).save(folder / f"{name}.png")
    return folder


def trained(
    pictures: Path, folder: Path, method: SRResNetOptions | SRGANOptions, iterations: int = 3
) -> Checkpoint:
    config = small_config(pictures, iterations=iterations, warmup=0)
    data = replace(config.data, degradation="blurry", validation_pictures=1)
    optimizer = replace(config.optimizer, ema=0.0)
    train(
        TrainingConfig(data, config.schedule, optimizer, config.run, method), folder, resume=False
    )
    return load_checkpoint(folder / "last.safetensors")


@pytest.mark.parametrize("scale", [1, 3])
def test_from_training_to_a_picture(
    scale: int,
    pictures: Path,
    small_model: Path,
    tmp_path: Path,
    astronaut: np.ndarray,
    caplog: pytest.LogCaptureFixture,
) -> None:
    method = SRResNetOptions(init=str(small_model), blocks=2, channels=8, scale=scale)
    with caplog.at_level(logging.WARNING):
        checkpoint = trained(pictures, tmp_path / "run", method)
    assert f"--init {small_model}: took " in caplog.text
    assert checkpoint.architecture.scale == scale
    assert checkpoint.tensors["tail.weight"].any()

    lr = astronaut.transpose(2, 0, 1)[None].astype(np.float32) / 255
    ranges = calibrate(fold(checkpoint), [lr[..., :41, :43]])
    checkpoint = replace(checkpoint, info={"int8": ranges})
    save_checkpoint(tmp_path / "m.safetensors", checkpoint, half=True)
    half = load_checkpoint(tmp_path / "m.safetensors")
    exact = Upscaler(half, EngineOptions("openvino", "fp32"))(astronaut)
    assert exact.shape == (96 * scale, 120 * scale, 3)
    assert export(half, tmp_path / "m.onnx", "onnx") < 1e-4
    try:
        int8 = Upscaler(half, EngineOptions("openvino", "int8"))
    except EngineError:  # this processor has none
        return
    assert 0 < np.abs(int8(astronaut).astype(int) - exact).mean() < 2


def test_srgan_at_the_same_size(pictures: Path, tmp_path: Path) -> None:
    """Its losses see cells of 2 x 2 pixels, which crops hold a whole number of."""
    faithful = trained(pictures, tmp_path / "a", SRResNetOptions(blocks=1, channels=4, scale=1))
    vgg = tmp_path / "vgg.safetensors"
    save_file(random_weights("vgg19", 6), vgg)
    start = str(tmp_path / "a/last.safetensors")
    method = SRGANOptions(srresnet=start, features=str(vgg), layer=((2, 1),))
    vivid = trained(pictures, tmp_path / "b", method)
    assert vivid.architecture == faithful.architecture
    assert vivid.architecture.cell == 2
    for name in ("head.conv.weight", "tail.weight"):
        assert (vivid.tensors[name] != faithful.tensors[name]).any()
