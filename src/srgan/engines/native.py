"""The native engine: our own convolutions in fp32, by Winograd's algorithm; no library needed.

native.cpp holds the convolutions. This machine's C++ compiler compiles it on first use, on x86-64
Linux. They take 0.4 of the time of openvino's.
"""

import ctypes
import functools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from srgan.engines.base import EngineError, run_whole, srresnet_tiling
from srgan.engines.options import EngineOptions, Precision
from srgan.engines.processor import processor_flags, usable_cores, wait_passively
from srgan.networks import folding
from srgan.networks.architecture import Checkpoint
from srgan.networks.compiled import FLAGS, CompilerError, compiled
from srgan.networks.kernel_transform import kernel_transform

SOURCE = Path(__file__).with_suffix(".cpp")
WINOGRAD = (3, 5)  # sides of kernels
WHOLE = 16  # floats of the largest register

_NOTHING = np.empty(0, np.float32)


def kernels() -> ctypes.CDLL:
    """The compiled convolutions.

    Raises:
        EngineError: they cannot run here: one line with the reason.
    """
    library, problem = _kernels()
    if library is None:
        raise EngineError(problem)
    return library


@functools.cache
def _kernels() -> tuple[ctypes.CDLL | None, str]:
    """The library, or why there is none: a compiler that fails is not asked again."""
    flags = processor_flags()
    kind = "AVX512" if "avx512f" in flags else "AVX2" if {"avx2", "fma"} <= flags else None
    if sys.platform != "linux" or kind is None:
        return None, "the native engine needs Linux and a processor with AVX2"
    try:
        path = compiled(SOURCE, "convolutions", FLAGS[kind])
    except CompilerError as error:
        return None, f"the native engine needs a C++ compiler: {error}"
    wait_passively()
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:  # damaged, or of another system: the next process compiles it anew
        path.unlink(missing_ok=True)
        return None, f"the native engine cannot be loaded: {error}"
    # A forked process has none of its parent's threads, and would wait for them.
    os.register_at_fork(before=library.srgan_end_threads)
    return library, ""


class _Convolution(NamedTuple):
    """A convolution as native.cpp takes it.

    Attributes:
        weight: transformed kernels (8, 8, C, K), or (side, side * C, K) for the direct way.
        side: of its kernels.
        bias: K values. K is filled up to whole registers.
        shuffle: the factor of a PixelShuffle that native.cpp does; 1 without one.
    """

    weight: np.ndarray
    side: int
    bias: np.ndarray
    slope: float
    shuffle: int

    @property
    def winograd(self) -> bool:
        return self.weight.ndim == 4


class _Step(NamedTuple):
    """A convolution in the order of a stage; values have numbers."""

    convolution: _Convolution
    reads: int
    writes: int
    plus: int | None = None


class _Recorder:
    """`folding.Operations` that only note the convolutions. Value 0 is what they begin with.

    The engine itself does what comes before and after them. LR beside the features is None here.
    """

    def __init__(self, lanes: int) -> None:
        self._lanes = lanes
        self.steps: list[_Step] = []

    def convolution(self, x: int, convolution: folding.Convolution) -> int:
        value = len(self.steps) + 1
        self.steps.append(_Step(_prepared(convolution, self._lanes), x, value))
        return value

    def add(self, a: int, b: int | None) -> int:
        """The last convolution adds `b` to its result."""
        if b is not None:
            self.steps[-1] = self.steps[-1]._replace(plus=b)
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


class _Stage:
    """One stage of the network, with the memory that it needs.

    Args:
        record: `folding.features` or `folding.reconstruct`.
    """

    def __init__(
        self,
        record: Callable[[folding.FoldedGenerator, Any, int], int],
        generator: folding.FoldedGenerator,
        threads: int,
    ) -> None:
        self._library = kernels()
        recorder = _Recorder(self._library.srgan_lanes())
        record(generator, recorder, 0)
        self.steps = recorder.steps
        self._slots = _slots(self.steps)
        self._memory = [_NOTHING] * (max(self._slots) + 1)
        self._threads = threads

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(H, W, C) to (shuffle * H, shuffle * W, K), valid until the next call."""
        values = {0: x}
        for step, slot in zip(self.steps, self._slots, strict=True):
            x, convolution = values[step.reads], step.convolution
            height, width, _ = x.shape
            factor, channels = convolution.shuffle, len(convolution.bias)
            shape = height * factor, width * factor, channels // factor**2
            size = height * width * channels
            if self._memory[slot].size < size:
                self._memory[slot] = _NOTHING  # the old memory is free before the new is taken
                self._memory[slot] = np.empty(size, np.float32)
            y = values[step.writes] = self._memory[slot][:size].reshape(shape)
            plus = None if step.plus is None else values[step.plus]
            self._convolve(x, convolution, plus, y)
        return values[self.steps[-1].writes]

    def _convolve(
        self, x: np.ndarray, convolution: _Convolution, plus: np.ndarray | None, y: np.ndarray
    ) -> None:
        """y = the convolution of x, finished, + plus; y may be the memory of plus."""
        height, width, channels = x.shape
        side, border = convolution.side, convolution.side // 2
        if convolution.winograd:
            run = self._library.srgan_winograd
            steps = [stride // x.itemsize for stride in (x.strides[1], x.strides[0])]
        else:
            run, steps = self._library.srgan_direct, []
            x = np.pad(x, ((border, border), (border, border), (0, 0)))
        run(
            _pointer(x),
            *map(ctypes.c_int64, (*steps, height, width, channels)),
            _pointer(convolution.weight),
            *map(ctypes.c_int64, (side, len(convolution.bias))),
            _pointer(convolution.bias),
            ctypes.c_float(convolution.slope),
            None if plus is None else _pointer(plus),
            ctypes.c_int64(convolution.shuffle),
            _pointer(y),
            ctypes.c_int64(self._threads),
        )


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
        self._step, self._outputs = generator.tail.shuffle, len(generator.tail.bias)
        self.scale = generator.scale
        self.unshuffle = generator.unshuffle
        self.tiling = srresnet_tiling(folding.tail_halo(generator))

    # Prepared for the first tile: of the models that --model auto may need, many never get one.
    @functools.cached_property
    def _trunk(self) -> _Stage:
        return _Stage(folding.features, self._generator, self._threads)

    @functools.cached_property
    def _tail(self) -> _Stage:
        return _Stage(folding.reconstruct, self._generator, self._threads)

    def features(self, lr: np.ndarray) -> np.ndarray:
        step = self.unshuffle
        _, channels, height, width = lr.shape
        parts = lr.reshape(channels, height // step, step, width // step, step)
        x = parts.transpose(1, 3, 0, 2, 4).reshape(height // step, width // step, -1)
        x = np.ascontiguousarray(x, np.float32)
        values = self._trunk(x)
        if self._generator.bilinear:
            values = np.concatenate([values, x], 2)
        return values.transpose(2, 0, 1)[None]

    def reconstruct(self, features: np.ndarray) -> np.ndarray:
        x = features[0].transpose(1, 2, 0)
        channels = len(self._generator.head.bias)
        sr = _planes(self._tail(x[..., :channels])[..., : self._outputs], self._step)
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


def _prepared(convolution: folding.Convolution, lanes: int) -> _Convolution:
    step = convolution.shuffle
    weight, bias = convolution.blocks_first()
    outputs, inputs, side, _ = weight.shape
    missing = -outputs % lanes
    weight = np.pad(weight, ((0, missing), (0, 0), (0, 0), (0, 0)))
    if side in WINOGRAD and inputs % lanes == 0:
        transform = kernel_transform(side).astype(np.float32)
        weight = np.einsum("pi,qj,kcij->pqck", transform, transform, weight, optimize=True)
    else:
        weight = weight.transpose(2, 3, 1, 0).reshape(side, side * inputs, -1)
    return _Convolution(
        weight=np.ascontiguousarray(weight, np.float32),
        side=side,
        bias=np.pad(bias, (0, missing)).astype(np.float32),
        slope=1.0 if convolution.slope is None else convolution.slope,
        shuffle=step if outputs // step**2 % lanes == 0 else 1,
    )


def _slots(steps: Sequence[_Step]) -> list[int]:
    """The memory of each step's result: as few as do not overwrite what is read later.

    A result takes the memory of what it adds, if that is not read again.
    """
    last: dict[int, int] = {}
    for number, step in enumerate(steps):
        last |= {value: number for value in (step.reads, step.plus) if value is not None}
    slots: dict[int, int] = {}
    free: list[int] = []
    for number, step in enumerate(steps):
        ended = {value for value in (step.reads, step.plus) if value and last[value] == number}
        if step.plus in ended and step.plus != step.reads:  # its neighbours are read
            slots[step.writes] = slots[step.plus]
            ended.remove(step.plus)
        else:
            slots[step.writes] = free.pop() if free else len(set(slots.values()))
        free += [slots[value] for value in ended]
    return [slots[step.writes] for step in steps]


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
