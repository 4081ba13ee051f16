"""Networks of other projects in torch: on CUDA, ROCm, Apple's MPS, or the CPU."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from srgan.engines.foreign.backend import Backend, Runner
from srgan.engines.options import EngineOptions, Precision
from srgan.engines.torch import or_memory_error, resolve, set_torch_threads, torch_device
from srgan.errors import need
from srgan.networks.foreign import ForeignNetwork, torch_module

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def torch_backend(network: ForeignNetwork, options: EngineOptions) -> Backend:
    """Run a network by torch, in channels_last memory and under autocast.

    Raises:
        EngineError: the device cannot run the precision.
        MissingExtraError: spandrel is not installed.
    """
    need("torch", f"a network of the kind {network.architecture}", also="spandrel")
    device = torch_device()
    native = resolve("auto", device)
    if options.precision != "auto":
        resolve(options.precision, device)
    set_torch_threads(options.threads)
    module: Any = torch_module(network)
    module = module.to(device, memory_format=torch.channels_last)
    if options.compile:
        module = torch.compile(module, dynamic=True)

    def runner(precision: Precision) -> Runner:
        def run(lr: np.ndarray) -> np.ndarray:
            return or_memory_error(lambda x: _run(module, x, precision), torch.as_tensor(lr))

        return run

    return Backend(f"torch {device.type}", str(device), native, network.sizes, 0, runner)


@torch.inference_mode()
def _run(
    module: Callable[[torch.Tensor], torch.Tensor], lr: torch.Tensor, precision: Precision
) -> np.ndarray:
    device = torch_device()
    x = lr.to(device).contiguous(memory_format=torch.channels_last)
    with torch.autocast(device.type, DTYPES.get(precision), enabled=precision in DTYPES):
        return module(x).float().cpu().numpy()
