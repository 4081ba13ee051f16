"""The native engine: our own networks by our own convolutions (kernels.py) in fp32.

They take 0.4 of the time of openvino's.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from srgan.engines.base import EngineError, run_whole, srresnet_tiling
from srgan.engines.kernels import WHOLE, Kernels, kernels
from srgan.engines.options import EngineOptions, Precision
from srgan.engines.processor import usable_cores
from srgan.engines.programs import Convolve, Program
from srgan.networks import folding
from srgan.networks.architecture import Checkpoint


class _Recorder:
    """`folding.Operations` that only note the convolutions. Value 0 is what they begin with.

    The engine itself does what comes before and after them. LR beside the features is None here.
    """

    def __init__(self) -> None:
        self.steps: list[Convolve] = []

    def convolution(self, x: int, convolution: folding.Convolution) -> int:
        weight, bias, slope = convolution.weight, convolution.bias, convolution.slope
        slopes = None if slope is None else np.full(len(bias), slope)
        self.steps.append(Convolve((x,), Kernels(weight, bias, slopes, convolution.shuffle)))
        return len(self.steps)

    def add(self, a: int, b: int | None) -> int:
        """The last convolution adds `b` to its result."""
        if b is not None:
            last = self.steps[-1]
            self.steps[-1] = Convolve(last.parts, last.kernels, plus=b)
        return a

    def unshuffle(self, x: int, _step: int) -> int:
        return x

    def join(self, a: int, _lr: int) -> int:
        return a

    def split(self, x: int, _channels: int) -> tuple[int, None]:
        return x, None

    def shuffle(self, _lr: None, _step: int) -> None:
        return None

    def to_unit_range(self, x: int) -> int:
        return x

    def clamp(self, x: int) -> int:
        return x


class NativeEngine:
    """CPU inference in fp32; see `Engine`.

    Raises:
        EngineError: it cannot run here, or cannot run this network.
    """

    name = "native"
    device = "cpu"
    precision: Precision = "fp32"

    def __init__(self, checkpoint: Checkpoint, options: EngineOptions) -> None:
        if options.precision not in ("auto", "fp32") or options.device not in ("auto", "cpu"):
            raise EngineError("the native engine is for fp32 on the CPU; use --engine openvino")
        self._generator = generator = folding.fold(checkpoint)
        if not suits(generator):
            raise EngineError("the native engine cannot run this architecture; use openvino")
        kernels()
        self._threads = options.threads or usable_cores()
        self._step = generator.tail.shuffle
        self.scale = generator.scale
        self.unshuffle = generator.unshuffle
        self.tiling = srresnet_tiling(folding.tail_halo(generator), lean=True)

    # Prepared for the first tile: of the models that --model auto may need, many never get one.
    @functools.cached_property
    def _trunk(self) -> Program:
        return self._program(folding.features)

    @functools.cached_property
    def _tail(self) -> Program:
        return self._program(folding.reconstruct)

    def _program(self, stage: Callable[[folding.FoldedGenerator, Any, int], int]) -> Program:
        recorder = _Recorder()
        stage(self._generator, recorder, 0)
        return Program(recorder.steps, 1, [len(recorder.steps)], self._threads)

    def features(self, lr: np.ndarray) -> np.ndarray:
        step = self.unshuffle
        _, channels, height, width = lr.shape
        parts = lr.reshape(channels, height // step, step, width // step, step)
        x = parts.transpose(1, 3, 0, 2, 4).reshape(height // step, width // step, -1)
        x = np.ascontiguousarray(x, np.float32)
        (values,) = self._trunk(x)
        if self._generator.bilinear:
            values = np.concatenate([values, x], 2)
        return values.transpose(2, 0, 1)[None]

    def reconstruct(self, features: np.ndarray) -> np.ndarray:
        x = features[0].transpose(1, 2, 0)
        channels = len(self._generator.head.bias)
        (values,) = self._tail(x[..., :channels])
        sr = _planes(values, self._step)
        if self._generator.bilinear:
            sr += _planes(_in_blocks(x[..., channels:], self.unshuffle), self.unshuffle)
        if self._generator.output == "tanh":
            np.tanh(sr, out=sr)
            sr += 1
            sr /= 2
        else:
            np.clip(sr, 0, 1, out=sr)
        return sr[None]

    def __call__(self, lr: np.ndarray) -> np.ndarray:
        return run_whole(self, lr)


def suits(generator: folding.FoldedGenerator) -> bool:
    """Whether the native engine can run a network, such as all that srgan trains."""
    *hidden, _ = folding.convolutions(generator)
    whole = all(len(each.bias) // each.shuffle**2 % WHOLE == 0 for each in hidden)
    enlarges = generator.bilinear and generator.scale > 1
    return whole and generator.input == "unit" and not enlarges


def _planes(values: np.ndarray, step: int) -> np.ndarray:
    """PixelShuffle of (H, W, step^2 C), ordered as (row, column, C), to (C, step * H, step * W)."""
    height, width, _ = values.shape
    parts = values.reshape(height, width, step, step, -1).transpose(4, 0, 2, 1, 3)
    return np.ascontiguousarray(parts).reshape(-1, height * step, width * step)


def _in_blocks(values: np.ndarray, step: int) -> np.ndarray:
    """Channels in PyTorch's order, (C, row, column), to (row, column, C)."""
    parts = values.reshape(*values.shape[:2], -1, step**2)
    return parts.swapaxes(2, 3).reshape(values.shape)
