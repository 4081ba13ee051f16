"""The torch engine, the default on GPUs; it also runs on CPUs."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from srgan.engines.base import EngineError, run_whole, srresnet_tiling
from srgan.engines.options import EngineOptions, Precision
from srgan.engines.processor import bf16_is_slow, quota_cores, torch_has_bf16
from srgan.networks import folding
from srgan.networks.architecture import Checkpoint

T = TypeVar("T")


def set_torch_threads(threads: int | None) -> None:
    """Set the CPU threads of torch.

    Args:
        threads: None for the cores that the process may use, unless OMP_NUM_THREADS says another
            number, as torchrun does.
    """
    if threads is None and "OMP_NUM_THREADS" not in os.environ:
        threads = quota_cores()  # torch knows the affinity, but no quota
    if threads is not None:
        torch.set_num_threads(threads)


class TorchOperations:
    """The folded network's operations in torch; see `folding.Operations`.

    Attributes:
        device, dtype: of the weights.
        weights: weight, bias and slope of each prepared convolution, by its name.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        self.weights: dict[str, tuple[Tensor, Tensor, Tensor | None]] = {}

    def prepare(self, convolution: folding.Convolution) -> None:
        """Copy the weights of a convolution to the device; it must precede `convolution`."""

        def tensor(array: Any) -> Tensor:
            return torch.as_tensor(array, dtype=self.dtype, device=self.device)

        slope = None if convolution.slope is None else tensor([convolution.slope])
        weight = tensor(convolution.weight).contiguous(memory_format=torch.channels_last)
        self.weights[convolution.name] = weight, tensor(convolution.bias), slope

    def convolution(self, x: Tensor, convolution: folding.Convolution) -> Tensor:
        weight, bias, slope = self.weights[convolution.name]
        x = functional.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)
        x = x if slope is None else functional.prelu(x, slope)
        return x if convolution.shuffle == 1 else self.shuffle(x, convolution.shuffle)

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b

    def shuffle(self, x: Tensor, step: int) -> Tensor:
        return functional.pixel_shuffle(x, step)

    def unshuffle(self, x: Tensor, step: int) -> Tensor:
        return functional.pixel_unshuffle(x, step)

    def to_unit_range(self, x: Tensor) -> Tensor:
        return (torch.tanh(x.float()) + 1) / 2

    def normalize(self, x: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
        shift, divisor = (x.new_tensor(v).view(1, -1, 1, 1) for v in (mean, std))
        return (x - shift) / divisor

    def join(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.cat((a, b), 1)

    def split(self, x: Tensor, channels: int) -> tuple[Tensor, Tensor]:
        return x[:, :channels], x[:, channels:]

    def enlarge(self, x: Tensor, scale: int) -> Tensor:
        return functional.interpolate(x, scale_factor=scale, mode="bilinear")

    def clamp(self, x: Tensor) -> Tensor:
        return x.float().clamp(0, 1)


class TorchEngine:
    """Inference on CUDA, ROCm, Apple's MPS, or the CPU, in channels_last memory; see `Engine`.

    "auto" is bf16 if the device has it and is fast at it, otherwise fp16 on a GPU and fp32 on a
    CPU.

    Raises:
        EngineError: the device cannot run the precision.
    """

    name = "torch"
    precision: Precision

    def __init__(self, checkpoint: Checkpoint, options: EngineOptions) -> None:
        device = torch_device()
        self.device = str(device)
        self.precision = resolve(options.precision, device)
        set_torch_threads(options.threads)
        dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
        generator = folding.fold(checkpoint)
        self._ops = ops = TorchOperations(device, dtypes[self.precision])
        for convolution in folding.convolutions(generator):
            ops.prepare(convolution)
        self.scale = generator.scale
        self.unshuffle = generator.unshuffle
        self.tiling = srresnet_tiling(folding.tail_halo(generator))

        def features(x: Tensor) -> Tensor:
            return folding.features(generator, ops, x)

        def reconstruct(x: Tensor) -> Tensor:
            return folding.reconstruct(generator, ops, x)

        compiled = options.compile
        self._features = torch.compile(features, dynamic=True) if compiled else features
        self._reconstruct = torch.compile(reconstruct, dynamic=True) if compiled else reconstruct

    @torch.inference_mode()
    def features(self, lr: np.ndarray) -> Tensor:
        x = torch.as_tensor(np.array(lr, order="C"))  # copied, because LR may be read-only
        x = x.to(self._ops.device, self._ops.dtype)
        return or_memory_error(self._features, x.contiguous(memory_format=torch.channels_last))

    @torch.inference_mode()
    def reconstruct(self, features: Tensor) -> np.ndarray:
        x = features.contiguous(memory_format=torch.channels_last)

        def on_cpu(x: Tensor) -> np.ndarray:
            return self._reconstruct(x).cpu().numpy()

        return or_memory_error(on_cpu, x)

    def __call__(self, lr: np.ndarray) -> np.ndarray:
        return run_whole(self, lr)


def or_memory_error(function: Callable[[Tensor], T], x: Tensor) -> T:
    """Call a function; raise MemoryError if torch runs out of memory."""
    try:
        return function(x)
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
            raise MemoryError(str(error)) from error
        raise


def torch_device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def resolve(precision: Precision, device: torch.device) -> Precision:
    """The precision that runs. Raises EngineError if the device cannot run it."""
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
        native: Precision = "bf16" if fast else "fp16"
        able = {"fp32", "fp16"}
        if torch.cuda.is_bf16_supported():
            able.add("bf16")
    elif device.type == "mps":
        native, able = "fp16", {"fp32", "fp16"}
    else:
        able = {"fp32", "bf16"} if torch_has_bf16() else {"fp32"}
        native = "bf16" if "bf16" in able and not bf16_is_slow() else "fp32"
    if precision == "auto":
        return native
    if precision not in able:
        raise EngineError(
            f"the torch engine cannot run {precision} on {device.type} here; "
            f"use --precision {' or '.join(sorted(able))}"
        )
    return precision
