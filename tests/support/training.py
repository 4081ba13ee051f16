"""Small training runs, and how two of them are compared."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.torch import save_file
from skimage import data as photographs

from srgan.models.load import load_checkpoint
from srgan.training.config import TrainingConfig
from srgan.training.options import (
    DataOptions,
    OptimizerOptions,
    RunOptions,
    ScheduleOptions,
    SRGANOptions,
    SRResNetOptions,
)
from tests.support.weights import random_weights


def assert_same_model(a: Path, b: Path) -> None:
    first, second = load_checkpoint(a).tensors, load_checkpoint(b).tensors
    for name, tensor in first.items():
        np.testing.assert_array_equal(tensor, second[name], err_msg=name)


def small_config(pictures: Path, **schedule: Any) -> TrainingConfig:
    return TrainingConfig(
        DataOptions(data_folder=pictures, crop=48, validation_pictures=2, workers=0),
        ScheduleOptions(batch_size=4, **schedule),
        OptimizerOptions(),
        RunOptions(validate_every=3, precision="fp32"),
        SRResNetOptions(blocks=1, channels=4),
    )


def small_srgan(config: TrainingConfig, folder: Path, **options: Any) -> TrainingConfig:
    """SRGAN from random weights, with the first layers of a random VGG19, kept in the folder."""
    vgg = folder / "vgg.safetensors"
    save_file(random_weights("vgg19", 6), vgg)
    layers = ((1, 2), (2, 1))
    method = SRGANOptions(features=str(vgg), layer=layers, from_scratch=True, **options)
    return replace(config, method=method)


def photos(folder: Path) -> Path:
    """A new folder of four small photographs."""
    folder.mkdir()
    for name in ("astronaut", "chelsea", "coffee", "rocket"):
        Image.fromarray(getattr(photographs, name)()[:96, :120]).save(folder / f"{name}.png")
    return folder
