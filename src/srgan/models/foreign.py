"""Networks that spandrel recognises: from tensors to a `ForeignNetwork`, or a refusal."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from srgan.errors import need, reason_of
from srgan.models.file import CheckpointError
from srgan.networks.architecture import Tensors
from srgan.networks.foreign import ForeignNetwork, Sizes

SCALES = range(1, 9)
OURS = "SRResNet"  # in spandrel after `srgan.models.spandrel.register`; it goes without metadata
LARGEST_INDEX = 4096  # in a tensor's name; spandrel counts layers by them
CONVERT = "convert it once where these are installed: srgan convert FILE -o FILE.onnx"
# Not a picture of any size in, the whole picture out.
REFUSED = {
    "AuraSR": "it adds random noise to each picture",
    "GFPGAN": "it takes aligned faces only",
    "RestoreFormer": "it takes aligned faces only",
    "LaMa": "it needs a mask of the part to fill",
}


def spandrel_network(path: Path, tensors: Tensors, info: dict[str, Any]) -> ForeignNetwork | None:
    """Recognise a network of another project by the names and shapes of its tensors.

    Args:
        path: of the file, for messages.
        tensors: of its network, as stored.
        info: facts from the file: name, licence.

    Returns:
        The network, or None if spandrel does not know it.

    Raises:
        CheckpointError: it is known, and no network from one picture to one picture; or its
            scale or its channels are not supported; or the tensors are damaged.
        MissingExtraError: PyTorch or spandrel is not installed.
    """
    need("torch", f"{path}: a network of another kind", also="spandrel", otherwise=CONVERT)
    import spandrel
    import torch

    _check_names(path, tensors)
    loader: Any = spandrel.ModelLoader()
    tensors = spandrel.canonicalize_state_dict(tensors)
    given = {name: torch.as_tensor(tensor) for name, tensor in tensors.items()}
    try:
        descriptor = loader.load_from_state_dict(given)
    except spandrel.UnsupportedModelError:
        return None
    except Exception as error:  # damaged tensors can raise nearly any exception
        reason = reason_of(error)[:200]
        raise CheckpointError(f"{path}: damaged ({reason}); download it again") from error
    name = str(descriptor.architecture.id)
    if name == OURS:
        return None
    if name in REFUSED:
        raise CheckpointError(f"{path}: {name} networks are refused: {REFUSED[name]}")
    channels = descriptor.input_channels, descriptor.output_channels
    scale = supported(path, descriptor.scale, *channels)
    required = descriptor.size_requirements
    return ForeignNetwork(
        name,
        scale,
        channels[0],
        sum(parameter.numel() for parameter in descriptor.model.parameters()),
        Sizes(max(required.minimum, 1), required.multiple_of, required.square),
        digest_of(tensors),
        half=_is_half(tensors),
        tensors=tensors,
        info=info,
    )


def supported(path: Path, scale: float, inputs: int, outputs: int) -> int:
    """The scale of a network that srgan can run.

    Raises:
        CheckpointError: the scale is no whole number from 1 to 8, or the channels are not 3 or 1.
    """
    if scale not in SCALES:
        raise CheckpointError(
            f"{path}: it enlarges {scale:.4g} times; srgan runs whole scales from 1 to 8"
        )
    if inputs != outputs or inputs not in (1, 3):
        raise CheckpointError(
            f"{path}: it takes {inputs} channels and gives {outputs}; srgan runs networks from "
            "RGB to RGB, and from gray to gray"
        )
    return int(scale)


def _check_names(path: Path, tensors: Tensors) -> None:
    """Refuse names that would make spandrel build millions of layers."""
    for name in tensors:
        if any(int(number) > LARGEST_INDEX for number in re.findall(r"\d{4,}", name)):
            raise CheckpointError(f"{path}: damaged: it names a tensor {name[:60]}")


def digest_of(tensors: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of tensors and their names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tensor.shape}".encode())
        digest.update(np.ascontiguousarray(tensor).tobytes())
    return digest.hexdigest()


def _is_half(tensors: Tensors) -> bool:
    sizes = {np.dtype(np.float16): 0, np.dtype(np.float32): 0}
    for tensor in tensors.values():
        if tensor.dtype in sizes:
            sizes[tensor.dtype] += tensor.size
    return sizes[np.dtype(np.float16)] > sizes[np.dtype(np.float32)]
