"""Small training runs, and how two of them are compared."""

from pathlib import Path
from typing import Any

import numpy as np

from srgan.models.load import load_checkpoint
from srgan.training.config import TrainingConfig
from srgan.training.options import (
    DataOptions,
    OptimizerOptions,
    RunOptions,
    ScheduleOptions,
    SRResNetOptions,
)


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
