"""Chooses and builds an engine."""

import importlib.util
import platform
import shutil
from pathlib import Path

from srgan.engines.base import Engine, EngineError
from srgan.engines.options import EngineOptions
from srgan.errors import need
from srgan.networks.architecture import Checkpoint


def create_engine(checkpoint: Checkpoint, options: EngineOptions) -> Engine:
    """Build the engine. "auto" is torch if it is installed and finds a GPU, otherwise openvino.

    Raises:
        MissingExtraError: the torch engine needs PyTorch, which is not installed.
        EngineError: the device cannot run the precision, or the engine lacks an option.
    """
    if options.engine == "torch" or (options.engine == "auto" and _torch_has_gpu()):
        need("torch", "--engine torch")
        from srgan.engines.torch import TorchEngine

        return TorchEngine(checkpoint, options)
    if options.compile:
        raise EngineError("--compile is for the torch engine; add --engine torch")
    from srgan.engines.openvino import OpenVINOEngine

    return OpenVINOEngine(checkpoint, options)


def _torch_has_gpu() -> bool:
    """Whether torch finds a GPU. Importing torch takes longer than upscaling a picture, so this
    first looks for signs of a GPU."""
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
