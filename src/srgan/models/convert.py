"""Reads generators from other projects' checkpoints, and from our own training states.

Never executes anything from a file.
"""

import io
import pickle
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from srgan.errors import need
from srgan.models.file import CheckpointError, fitting, read_tensors
from srgan.models.layouts import LayoutError, recognise
from srgan.networks.architecture import Architecture, Checkpoint, Tensors, expected_shapes

if TYPE_CHECKING:
    from torch import Tensor

# Keys under which a file holds its generator, in order of preference.
WRAPPERS = (
    "params_ema",
    "ema_state_dict",
    "params",
    "state_dict",
    "model",
    "generator",
    "runner",
)
# Prefixes of tensors' names, from wrappers around the generator.
PREFIXES = ("module.", "_orig_mod.", "net.", "generator.")
SUFFIXES = (".safetensors", ".pth", ".pt", ".tar", ".ckpt", ".bin")
SIGNATURES = (b"PK\x03\x04", b"\x80")  # first bytes of torch.save since 1.6, and before it


def load_foreign(path: Path) -> Checkpoint:
    """Read the generator of another SRResNet or SRGAN, or of our own training state.

    Args:
        path: a safetensors file, or a PyTorch file, which needs PyTorch.

    Raises:
        CheckpointError: the file is not a PyTorch file, could run code, or holds no generator of
            a known layout (`srgan.models.layouts`).
        MissingExtraError: PyTorch is not installed.
    """
    if path.suffix == ".safetensors":
        tensors, _ = read_tensors(path)
        return _recognised(path, tensors)
    with path.open("rb") as file:
        if not file.read(4).startswith(SIGNATURES):
            raise CheckpointError(f"{path}: neither a safetensors nor a PyTorch file")
    content = _read(path)
    entries = _entries(content)
    if {"ema", "architecture"} <= entries.keys():
        return _training_state(path, entries)
    found = next(_networks(content), None)
    if found is None:
        raise CheckpointError(
            f"{path}: holds no network under {', '.join(WRAPPERS)}, only "
            + (", ".join(map(str, entries)) or type(content).__name__)
        )
    return _recognised(path, {name: _array(tensor) for name, tensor in found.items()})


def _training_state(path: Path, content: Mapping[str, Any]) -> Checkpoint:
    """The averaged generator of our own training state (`srgan.training.run.folder`)."""
    try:
        architecture = Architecture(**content["architecture"])
        tensors = {name: _array(content["ema"][name]) for name in expected_shapes(architecture)}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path}: a damaged training state ({error!r})") from error
    return fitting(path, architecture, tensors, {"name": bare_name(path)})


def _recognised(path: Path, tensors: Tensors) -> Checkpoint:
    try:
        checkpoint = recognise(_without_prefixes(tensors))
    except LayoutError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return replace(checkpoint, info={"name": bare_name(path), **checkpoint.info})


def bare_name(path: Path) -> str:
    """The file's name without the suffixes of checkpoints: g for g.pth.tar."""
    while path.suffix in SUFFIXES:
        path = path.with_suffix("")
    return path.name


def _read(path: Path) -> Any:
    need("torch", f"{path}: reading PyTorch files")
    import torch

    from srgan.models import unpickler

    data = path.read_bytes()
    try:
        # torch warns about classes without source, and about TorchScript.
        with warnings.catch_warnings(action="ignore"):
            try:
                return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
            except pickle.UnpicklingError:  # whole modules or optimizers, not only tensors
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
    except Exception as error:  # a damaged file can raise nearly any exception
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path}: not a readable PyTorch file ({reason})") from error


def _networks(content: Any) -> "Iterator[dict[str, Tensor]]":
    """The state dicts in the content of a file, the preferred one first."""
    import torch

    from srgan.models.unpickler import PickledModule

    if isinstance(content, PickledModule):
        yield content.tensors()
        return
    entries = _entries(content)
    tensors = {str(key): value for key, value in entries.items() if isinstance(value, torch.Tensor)}
    if any(name.endswith(".weight") for name in tensors):
        yield tensors
    for wrapper in WRAPPERS:
        if wrapper in entries:
            yield from _networks(entries[wrapper])


def _entries(content: Any) -> Mapping[Any, Any]:
    """The content of a file as a mapping; empty if it is something else."""
    return cast(Mapping[Any, Any], content) if isinstance(content, Mapping) else {}


def _array(tensor: "Tensor") -> np.ndarray:
    return tensor.detach().float().cpu().contiguous().numpy()


def _without_prefixes(tensors: Tensors) -> Tensors:
    """Remove prefixes from the names; tensors without the prefix are not the generator's."""
    for prefix in PREFIXES:
        inside = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        if inside:
            return _without_prefixes(inside)
    return tensors
