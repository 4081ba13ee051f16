"""The model file: one safetensors file that holds a generator and all that rebuilds it.

The tensors have the generator's names (see `expected_shapes`). The metadata holds the
architecture's hyperparameters, and how the model was trained and what it scores. Reading and
writing need numpy only, never torch, and never execute anything from the file.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
from safetensors.numpy import save

from srgan.errors import UserError
from srgan.networks.architecture import Architecture, Checkpoint, Tensors, expected_shapes, mismatch
from srgan.networks.tensors import TensorFileError, read_safetensors
from srgan.pictures.files import replace_file

FORMAT = "srgan-model"
FORMAT_VERSION = 3
ALWAYS_WRITTEN = ("blocks", "channels", "scale")
# Name of a tensor that holds the hyperparameters as JSON, in files that are not the paper's
# network. Programs that see tensors without metadata, such as spandrel, need it.
ARCHITECTURE = "architecture"
WEIGHTS = Path(__file__).parent / "weights"


class CheckpointError(UserError):
    """A model that cannot be loaded: one line with the file, the reason and what to do."""


def shipped_models() -> dict[str, Path]:
    """Model files inside the package, by the name that `--model` takes."""
    return {path.stem: path for path in sorted(WEIGHTS.glob("*.safetensors"))}


def read_checkpoint(path: Path) -> Checkpoint | None:
    """Read a model file.

    Returns:
        The model, or None for a safetensors file that another program wrote.

    Raises:
        CheckpointError: the file is damaged, or of a newer version of srgan.
    """
    tensors, metadata = read_tensors(path)
    if metadata.get("format") != FORMAT:
        return None
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
        info = _parsed_info(metadata["info"])
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: damaged metadata ({error!r})") from error
    tensors.pop(ARCHITECTURE, None)
    return fitting(path, architecture, tensors, info)


def read_tensors(path: Path) -> tuple[Tensors, Mapping[str, str]]:
    """Read the tensors and the metadata of any safetensors file.

    Raises:
        CheckpointError: the file is damaged.
    """
    try:
        return read_safetensors(path, "numpy")
    except TensorFileError as error:
        raise CheckpointError(f"{error}; download or train it again") from error


def fitting(
    path: Path, architecture: Architecture, tensors: Tensors, info: dict[str, Any]
) -> Checkpoint:
    """Make a Checkpoint of a file's tensors, converted to float32.

    Raises:
        CheckpointError: the tensors do not fit the architecture.
    """
    problem = mismatch(expected_shapes(architecture), tensors)
    if problem:
        raise CheckpointError(f"{path}: {problem}; this file does not fit its own architecture")
    return Checkpoint(
        architecture, {name: t.astype(np.float32) for name, t in tensors.items()}, info
    )


def _parsed_info(text: str) -> dict[str, Any]:
    info: Any = json.loads(text)
    if not isinstance(info, dict):
        raise TypeError("info is not an object")
    info = cast(dict[str, Any], info)
    for name, (low, high) in info.get("int8", {}).items():
        if not low <= 0 <= high or low == high:
            raise ValueError(f"int8 range of {name}: {low} to {high}")
    return info


def save_checkpoint(path: Path, checkpoint: Checkpoint, *, half: bool = False) -> None:
    """Write a model file, atomically: a killed process leaves the old file or the new one.

    Args:
        half: store the convolutions' weights as float16. Biases and batch-norm tensors stay
            float32: they are few, and running variances do not fit float16's range.

    Raises:
        ValueError: the tensors do not fit the architecture.
        OSError: the file could not be written.
    """
    problem = mismatch(expected_shapes(checkpoint.architecture), checkpoint.tensors)
    if problem:
        raise ValueError(problem)
    tensors: Tensors = {
        # safetensors writes arrays in memory order, which is not that of the shape in networks
        # that were trained with channels_last.
        name: np.ascontiguousarray(tensor, np.float16 if half and tensor.ndim == 4 else np.float32)
        for name, tensor in checkpoint.tensors.items()
    }
    hyperparameters = _written_hyperparameters(checkpoint.architecture)
    if hyperparameters.keys() != set(ALWAYS_WRITTEN):
        tensors[ARCHITECTURE] = np.frombuffer(json.dumps(hyperparameters).encode(), np.uint8)
    metadata = {
        "format": FORMAT,
        "format_version": _format_version(checkpoint.architecture, hyperparameters),
        "architecture": json.dumps(hyperparameters),
        "info": json.dumps(checkpoint.info),
    }
    replace_file(path, save(tensors, metadata))


def _format_version(architecture: Architecture, hyperparameters: dict[str, Any]) -> str:
    """The lowest that the file needs: an older srgan then says that it is too old.

    Format 2 has more hyperparameters than `ALWAYS_WRITTEN`, format 3 has other scales and
    `unshuffle`.
    """
    if architecture.unshuffle > 1 or architecture.scale not in (2, 4, 8):
        return "3"
    return "1" if hyperparameters.keys() == set(ALWAYS_WRITTEN) else "2"


def _written_hyperparameters(architecture: Architecture) -> dict[str, Any]:
    """The hyperparameters that a model file names: three always, others if not the default."""
    defaults = asdict(Architecture())
    return {
        name: value
        for name, value in asdict(architecture).items()
        if name in ALWAYS_WRITTEN or value != defaults[name]
    }
