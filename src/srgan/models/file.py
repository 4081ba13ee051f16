"""The model file: one safetensors file that rebuilds its generator with no config.

Tensors carry the generator's names (see `expected_shapes`); the metadata says which
architecture and hyperparameters they belong to, how they were trained and what they score.
Reading and writing need numpy only, never torch, and never execute anything from the file.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from srgan.errors import UserError
from srgan.networks.architecture import Architecture, Checkpoint, Tensors, expected_shapes, mismatch
from srgan.pictures.files import replace_file

FORMAT_VERSION = 2


ALWAYS_WRITTEN = ("blocks", "channels", "scale")
# Tensor with the hyperparameters as JSON, where they are not the paper's: programs that see
# tensors without metadata, as spandrel, could not know them otherwise.
ARCHITECTURE = "architecture"
WEIGHTS = Path(__file__).parent / "weights"


class CheckpointError(UserError):
    """A model that cannot be loaded: one line with the file, the reason and what to do."""


def shipped_models() -> dict[str, Path]:
    """Model files inside the package, by the name that `--model` takes."""
    return {path.stem: path for path in sorted(WEIGHTS.glob("*.safetensors"))}


def _checked(path: Path, metadata: Mapping[str, str], tensors: Tensors) -> Checkpoint:
    try:
        version = int(metadata["format_version"])
        if version < 1:
            raise ValueError(f"format version {version}")
        if version > FORMAT_VERSION:
            raise CheckpointError(
                f"{path}: written by a newer srgan (format {version}, this one reads up to "
                f"{FORMAT_VERSION}); run: pip install --upgrade srgan"
            )
        architecture = Architecture(**json.loads(metadata["architecture"]))
        info = json.loads(metadata["info"])
        _check_info(info)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: damaged metadata ({error!r})") from error
    tensors.pop(ARCHITECTURE, None)
    return fitting(path, architecture, tensors, info)


def fitting(
    path: Path, architecture: Architecture, tensors: Tensors, info: dict[str, Any]
) -> Checkpoint:
    """What a file holds, as a Checkpoint.

    Raises:
        CheckpointError: the tensors are not those of the architecture.
    """
    problem = mismatch(expected_shapes(architecture), tensors)
    if problem:
        raise CheckpointError(f"{path}: {problem}; this file does not fit its own architecture")
    return Checkpoint(
        architecture, {name: t.astype(np.float32) for name, t in tensors.items()}, info
    )


def _check_info(info: Any) -> None:
    if not isinstance(info, dict):
        raise TypeError("info is not an object")
    for name, (low, high) in info.get("int8", {}).items():
        if not low <= 0 <= high or low == high:
            raise ValueError(f"int8 range of {name}: {low} to {high}")


def _written(architecture: Architecture) -> dict[str, Any]:
    """The hyperparameters that a model file names: those of every network, and deviations."""
    usual = asdict(Architecture())
    return {
        name: value
        for name, value in asdict(architecture).items()
        if name in ALWAYS_WRITTEN or value != usual[name]
    }


def save_checkpoint(path: Path, checkpoint: Checkpoint, *, half: bool = False) -> None:
    """Write a model file, atomically: a killed process leaves the old file or the new one.

    Args:
        half: store the convolutions' weights as float16. Biases and batch-norm tensors stay
            float32: they are few, and running variances do not fit float16's range.

    Raises:
        ValueError: the tensors are not those of the architecture.
        OSError: the file could not be written.
    """
    problem = mismatch(expected_shapes(checkpoint.architecture), checkpoint.tensors)
    if problem:
        raise ValueError(problem)
    tensors: Tensors = {
        # safetensors writes memory as it lies; channels_last weights do not lie as their shape.
        name: np.ascontiguousarray(tensor, np.float16 if half and tensor.ndim == 4 else np.float32)
        for name, tensor in checkpoint.tensors.items()
    }
    architecture = _written(checkpoint.architecture)
    usual = architecture.keys() == set(ALWAYS_WRITTEN)
    if not usual:
        tensors[ARCHITECTURE] = np.frombuffer(json.dumps(architecture).encode(), np.uint8)
    metadata = {
        "format": "srgan-model",
        # The paper's network as ever, so that older versions read it.
        "format_version": "1" if usual else "2",
        "architecture": json.dumps(architecture),
        "info": json.dumps(checkpoint.info),
    }
    replace_file(path, save(tensors, metadata))
