"""Other people's checkpoints, and our training states -> Checkpoint.

Nothing that a file holds is ever executed.
"""

import io
import pickle
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from srgan.errors import need
from srgan.models.file import CheckpointError, fitting
from srgan.models.layouts import LayoutError, recognise
from srgan.networks.architecture import Architecture, Checkpoint, expected_shapes

if TYPE_CHECKING:
    from torch import Tensor

# Where a generator lies in its file, the best first, and what its tensors' names start with.
WRAPPERS = (
    "params_ema",
    "ema_state_dict",
    "params",
    "state_dict",
    "model",
    "generator",
    "runner",
)
PREFIXES = ("module.", "_orig_mod.", "net.", "generator.")
SUFFIXES = (".safetensors", ".pth", ".pt", ".tar", ".ckpt", ".bin")
SIGNATURES = (b"PK\x03\x04", b"\x80")  # of torch.save since and before 1.6


def load_foreign(path: Path) -> Checkpoint:
    """Read a PyTorch checkpoint of an SRResNet or SRGAN generator, or a training state of ours.

    Raises:
        CheckpointError: PyTorch is missing, the file is none of its files, holds more than
            tensors and plain values, or no generator that is known here (`srgan.models.layouts`).
    """
    with path.open("rb") as file:
        if not file.read(4).startswith(SIGNATURES):
            raise CheckpointError(f"{path}: neither a safetensors nor a PyTorch file")
    content = _read(path)
    if isinstance(content, Mapping) and {"ema", "architecture"} <= content.keys():
        return _training_state(path, content)
    found = next(_networks(content), None)
    if found is None:
        keys = ", ".join(map(str, content)) if isinstance(content, Mapping) else type(content)
        raise CheckpointError(f"{path}: holds no network under {', '.join(WRAPPERS)}: {keys}")
    tensors = {name: _array(tensor) for name, tensor in found.items()}
    return convert(path, tensors)


def _training_state(path: Path, content: Mapping[str, Any]) -> Checkpoint:
    """The averaged generator in a training state of ours (`srgan.training.run.folder`)."""
    try:
        architecture = Architecture(**content["architecture"])
        tensors = {name: _array(content["ema"][name]) for name in expected_shapes(architecture)}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path}: no training state of srgan ({error!r})") from error
    return fitting(path, architecture, tensors, {"name": bare_name(path)})


def convert(path: Path, tensors: Mapping[str, np.ndarray]) -> Checkpoint:
    """The generator in the tensors of a file, whosever layout they have.

    Raises:
        CheckpointError: the layout is not known, or does not fit.
    """
    try:
        checkpoint = recognise(_without_prefixes(tensors))
    except LayoutError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return replace(checkpoint, info={"name": bare_name(path), **checkpoint.info})


def bare_name(path: Path) -> str:
    """The file's name without what names of checkpoints end with: g.pth.tar is g."""
    while path.suffix in SUFFIXES:
        path = path.with_suffix("")
    return path.name


def _read(path: Path) -> Any:
    need("torch", f"{path}: reading PyTorch files")
    import torch

    from srgan.models import unpickler

    data = path.read_bytes()
    try:
        with warnings.catch_warnings(action="ignore"):  # of classes without source, TorchScript
            try:
                return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
            except pickle.UnpicklingError:  # more than tensors: whole modules, optimizers
                return torch.load(
                    io.BytesIO(data),
                    map_location="cpu",
                    weights_only=False,
                    pickle_module=unpickler,
                )
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: refused, because it could run code: {error}; save the generator's "
            "state_dict() where it was trained"
        ) from error
    except Exception as error:  # a damaged file can raise nearly anything here
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path}: not a readable PyTorch file ({reason})") from error


def _networks(content: Any) -> "Iterator[dict[str, Tensor]]":
    """The state dicts in what a file holds, the best first."""
    import torch

    from srgan.models.unpickler import PickledModule

    if isinstance(content, PickledModule):
        yield content.tensors()
    elif isinstance(content, Mapping):
        tensors = {k: v for k, v in content.items() if isinstance(v, torch.Tensor)}
        if any(name.endswith(".weight") for name in map(str, tensors)):
            yield {str(name): tensor for name, tensor in tensors.items()}
        for wrapper in WRAPPERS:
            if wrapper in content:
                yield from _networks(content[wrapper])


def _array(tensor: "Tensor") -> np.ndarray:
    return tensor.detach().float().cpu().contiguous().numpy()


def _without_prefixes(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Names as the network's author knows them; what is beside a prefix is not the generator."""
    for prefix in PREFIXES:
        inside = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        if inside:
            return _without_prefixes(inside)
    return dict(tensors)
