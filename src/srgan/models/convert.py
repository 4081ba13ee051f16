"""Reads generators from other projects' checkpoints, and from our own training states.

Never executes anything from a file.
"""

import io
import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from srgan.errors import need, reason_of
from srgan.models.file import CheckpointError, fitting, read_tensors
from srgan.models.foreign import CONVERT, spandrel_network
from srgan.models.layouts import LayoutError, recognise
from srgan.networks.architecture import Architecture, Checkpoint, Tensors, expected_shapes
from srgan.networks.foreign import Model

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
    "params-ema",
    "model_state_dict",
    "net",
)
# Prefixes of tensors' names, from wrappers around the generator.
PREFIXES = ("module.", "_orig_mod.", "net.", "generator.")
SUFFIXES = (".safetensors", ".pth", ".pt", ".tar", ".ckpt", ".bin")
SIGNATURES = (b"PK\x03\x04", b"\x80")  # first bytes of torch.save since 1.6, and before it


def load_foreign(path: Path) -> Model:
    """Read another SRResNet or SRGAN, our own training state, or a network that spandrel knows.

    Args:
        path: a safetensors file, or a PyTorch file, which needs PyTorch.

    Raises:
        CheckpointError: the file is not a PyTorch file, could run code, or holds no network of
            a known layout (`srgan.models.layouts`, spandrel).
        MissingExtraError: PyTorch or spandrel is needed, and not installed.
    """
    if path.suffix == ".safetensors":
        tensors, metadata = read_tensors(path)
        licence = metadata.get("licence", metadata.get("license"))
        return _recognised(path, tensors, {"licence": licence} if licence else {})
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
    return _recognised(path, {name: _stored(path, tensor) for name, tensor in found.items()}, {})


def _training_state(path: Path, content: Mapping[str, Any]) -> Checkpoint:
    """The averaged generator of our own training state (`srgan.training.run.folder`)."""
    try:
        architecture = Architecture(**content["architecture"])
        tensors = {name: _array(content["ema"][name]) for name in expected_shapes(architecture)}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path}: a damaged training state ({error!r})") from error
    return fitting(path, architecture, tensors, {"name": bare_name(path)})


def _recognised(path: Path, tensors: Tensors, info: dict[str, Any]) -> Model:
    info = {"name": bare_name(path), **info}
    try:
        checkpoint = recognise(_without_prefixes(tensors))
    except LayoutError as error:
        network = spandrel_network(path, tensors, info)
        if network is None:
            raise CheckpointError(f"{path}: {error}; spandrel does not know it either") from error
        return network
    return replace(checkpoint, info={**info, **checkpoint.info})


def bare_name(path: Path) -> str:
    """The file's name without the suffixes of checkpoints: g for g.pth.tar."""
    while path.suffix in SUFFIXES:
        path = path.with_suffix("")
    return path.name


def _read(path: Path) -> Any:
    need("torch", f"{path}: reading PyTorch files", otherwise=CONVERT)
    import torch

    from srgan.models import unpickler

    data = path.read_bytes()
    _check_size(path, data)
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
        reason = reason_of(error)[:200]
        raise CheckpointError(f"{path}: not a readable PyTorch file ({reason})") from error


def _check_size(path: Path, data: bytes) -> None:
    """Refuse a file that grows when it is unpacked; torch.save does not compress."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except zipfile.BadZipFile:
        return  # torch.save before 1.6, or damaged
    if unpacked > len(data):
        raise CheckpointError(f"{path}: damaged: it claims {unpacked:,} bytes, more than it has")


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


def _stored(path: Path, tensor: "Tensor") -> np.ndarray:
    """A tensor in the precision of the file; bfloat16, which NumPy lacks, as float32."""
    import torch

    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise CheckpointError(f"{path}: damaged: a tensor claims {tuple(tensor.shape)} values")
    kept = not tensor.is_floating_point() or tensor.dtype in (torch.float16, torch.float64)
    return (tensor if kept else tensor.float()).detach().cpu().contiguous().numpy()


def _without_prefixes(tensors: Tensors) -> Tensors:
    """Remove prefixes from the names; tensors without the prefix are not the generator's."""
    for prefix in PREFIXES:
        inside = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        if inside:
            return _without_prefixes(inside)
    return tensors
