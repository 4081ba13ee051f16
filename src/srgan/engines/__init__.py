"""Engines: a checkpoint made executable on a device.

An engine runs the network in two stages, because they want different tiles: `features` (the
trunk) has nearly all of the receptive field, `reconstruct` (sub-pixel blocks and tail) nearly
all of the memory.
"""

import importlib.util
import platform
import shutil
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from srgan.checkpoint import Checkpoint
from srgan.config import EngineOptions, Precision


class EngineError(Exception):
    """What was asked for cannot run here: one line with the reason and what to do."""


class Engine(Protocol):
    """Runs one checkpoint at one precision. Not for use by two threads at once.

    `precision` is what runs, never "auto". `features` may be of the engine's own array type;
    it has the shape (1, C, H, W) and can be sliced along its last two axes.

    Raises:
        MemoryError: from any call, when the device's memory does not suffice for the shape.
    """

    @property
    def device(self) -> str: ...
    @property
    def precision(self) -> Precision: ...
    @property
    def scale(self) -> int: ...
    @property
    def tail_halo(self) -> int:
        """LR pixels around a tile that `reconstruct` reads."""
        ...

    def features(self, lr: np.ndarray) -> Any:
        """LR (1, 3, H, W), RGB float32 in [0, 1], to features, valid until the next call."""
        ...

    def reconstruct(self, features: Any) -> np.ndarray:
        """Features to SR (1, 3, scale * H, scale * W), RGB float32 in [0, 1]."""
        ...

    def __call__(self, lr: np.ndarray) -> np.ndarray:
        """The whole network at once: `reconstruct(features(lr))`."""
        ...


def create_engine(checkpoint: Checkpoint, options: EngineOptions) -> Engine:
    """Build the engine: torch where it is installed and finds a GPU, else openvino.

    Raises:
        EngineError: the engine is not installed or its device cannot run the precision.
    """
    if options.engine == "torch" or (options.engine == "auto" and _torch_has_gpu()):
        from srgan.engines.torch import TorchEngine

        return TorchEngine(checkpoint, options)
    if options.compile:
        raise EngineError("--compile is for the torch engine; add --engine torch")
    from srgan.engines.openvino import OpenVINOEngine

    return OpenVINOEngine(checkpoint, options)


def _torch_has_gpu() -> bool:
    """Ask torch only where signs of a GPU exist: importing it takes longer than a picture."""
    if importlib.util.find_spec("torch") is None:
        return False
    signs = (
        shutil.which("nvidia-smi"),
        Path("/dev/nvidiactl").exists(),
        Path("/dev/kfd").exists(),  # AMD
        (platform.system(), platform.machine()) == ("Darwin", "arm64"),
    )
    if not any(signs):
        return False
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()
