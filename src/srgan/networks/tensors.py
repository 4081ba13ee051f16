"""Where named tensors come from: safetensors files, never a pickle, and torchvision's weights."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open

from srgan.errors import UserError, reason_of


class TensorFileError(UserError):
    """Tensors that cannot be had: one line with the file or the network, and the reason."""


def read_safetensors(
    path: Path, framework: Literal["numpy", "pt"], *, prefix: str = ""
) -> tuple[dict[str, Any], dict[str, str]]:
    """Read the tensors and the metadata of a safetensors file.

    Args:
        framework: "numpy" for NumPy arrays, "pt" for torch tensors on the CPU. Only "pt" imports
            torch.
        prefix: read only the tensors whose names start with it.

    Returns:
        The tensors by name, in the shapes and data types of the file, and its metadata, which is
        empty if the file has none.

    Raises:
        TensorFileError: the file is missing, is damaged, or holds a data type that NumPy lacks:
            float8, or bfloat16 unless some library has imported ml_dtypes. The text is
            "PATH: not a readable safetensors file (reason)".
    """
    try:
        opened: Any = safe_open(path, framework=framework)
        with opened as file:
            names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    # safetensors raises TypeError for bfloat16 in NumPy, and AttributeError for float8.
    except (SafetensorError, OSError, TypeError, AttributeError) as error:
        reason = reason_of(error)
        raise TensorFileError(f"{path}: not a readable safetensors file ({reason})") from error


def torchvision_weights(network: str) -> Mapping[str, Any]:
    """torchvision's IMAGENET1K_V1 weights, downloaded on first use and checked by their hash.

    Args:
        network: torchvision's name, such as "vgg19". torchvision must be installed.

    Raises:
        TensorFileError: the download failed.
    """
    from http.client import HTTPException

    from torchvision.models import get_model_weights

    weights: Any = get_model_weights(network)["IMAGENET1K_V1"]
    try:
        return weights.get_state_dict(check_hash=True, weights_only=True)
    except (OSError, RuntimeError, HTTPException, pickle.UnpicklingError) as error:
        reason = reason_of(error)
        raise TensorFileError(
            f"{network}: torchvision could not download its weights ({reason})"
        ) from error
