"""Choose and build an engine."""

import importlib.util
import platform
import shutil
from pathlib import Path

from srgan.engines.base import Engine, EngineError
from srgan.engines.options import EngineOptions
from srgan.errors import need
from srgan.networks.architecture import Checkpoint


def create_engine(checkpoint: Checkpoint, options: EngineOptions) -> Engine:
    """Build the engine: torch where it is installed and finds a GPU, else openvino.

    Raises:
        EngineError: the engine is not installed or its device cannot run the precision.
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
