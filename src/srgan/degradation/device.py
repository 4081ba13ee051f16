"""Copies to the device that trains, for which no process waits."""

import numpy as np
import torch
from torch import Tensor


def on_device(
    values: np.ndarray | Tensor, device: torch.device, dtype: torch.dtype | None = None
) -> Tensor:
    """The values in the device's memory, as `torch.as_tensor` makes them.

    A copy from ordinary memory to a GPU waits for all work that is queued there. One from pinned
    memory is queued like the rest.
    """
    tensor = torch.as_tensor(values, dtype=dtype)
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
