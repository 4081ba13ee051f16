"""Chooses and builds an engine."""

import importlib.util
import logging
import platform
import shutil
from pathlib import Path

from srgan.engines.base import Engine, EngineError
from srgan.engines.options import EngineOptions
from srgan.engines.precision import cpu_precision, native_is_faster
from srgan.errors import need
from srgan.networks.architecture import Checkpoint
from srgan.networks.foreign import ForeignNetwork, Model

log = logging.getLogger("srgan")

TORCH_ONLY = ("ATD",)  # it sorts features; in openvino it differs by more than 1e-3


def create_engine(model: Model, options: EngineOptions) -> Engine:
    """Build the engine.

    "auto" is torch if it is installed and finds a GPU. On a CPU it is the native engine where that
    can run and is faster, and openvino elsewhere.

    Raises:
        MissingExtraError: the torch engine needs PyTorch, which is not installed.
        EngineError: the device cannot run the precision, or the engine lacks an option.
    """
    use_torch = options.engine == "torch" or (
        options.engine == "auto" and options.device == "auto" and _torch_has_gpu()
    )
    if use_torch:
        _check_device(options)
        need("torch", "--engine torch")
    if isinstance(model, ForeignNetwork):
        return _foreign_engine(model, options, use_torch=use_torch)
    if use_torch:
        from srgan.engines.torch import TorchEngine

        return TorchEngine(model, options)
    if options.compile:
        raise EngineError("--compile is for the torch engine; add --engine torch")
    if options.engine == "native" or _native_is_fastest(model, options):
        from srgan.engines.native import NativeEngine

        try:
            return NativeEngine(model, options)
        except EngineError as error:
            if options.engine == "native":
                raise
            log.debug("%s", error)
    from srgan.engines.openvino import OpenVINOEngine

    return OpenVINOEngine(model, options)


def _native_is_fastest(model: Checkpoint, options: EngineOptions) -> bool:
    if options.engine != "auto" or options.device not in ("auto", "cpu"):
        return False
    if options.precision != "auto":
        return options.precision == "fp32"
    return native_is_faster(cpu_precision(model.info))


def _foreign_engine(network: ForeignNetwork, options: EngineOptions, *, use_torch: bool) -> Engine:
    """The engine of a network that is not ours. ONNX files never run by torch."""
    from srgan.engines.foreign.engine import ForeignEngine
    from srgan.engines.foreign.figures import Figures

    if options.precision == "int8":
        raise EngineError("int8 is for srgan's own networks; use --precision auto")
    if network.onnx and options.engine == "torch":
        raise EngineError("the torch engine cannot run ONNX files: leave out --engine torch")
    if network.architecture in TORCH_ONLY and options.engine in ("openvino", "native"):
        raise EngineError(
            f"only torch computes {network.architecture} networks exactly; use --engine torch"
        )
    use_torch = (use_torch or network.architecture in TORCH_ONLY) and not network.onnx
    if use_torch:
        _check_device(options)
    if options.compile and not use_torch:
        raise EngineError("--compile is for the torch engine; add --engine torch")
    figures = Figures(network.digest, network.info)
    if use_torch:
        from srgan.engines.foreign.modules import torch_backend

        backend = torch_backend(network, options)
    else:
        from srgan.engines.foreign.graph_backend import graph_backend

        backend = graph_backend(network, options, figures)
    return ForeignEngine(network, backend, figures, options.precision)


def _check_device(options: EngineOptions) -> None:
    if options.device != "auto":
        raise EngineError("--device is for the openvino engine, and torch is to run: leave it out")


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
