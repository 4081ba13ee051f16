"""Programs of our own convolutions (kernels.py). Pictures are arrays (H, W, C) of float32."""

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from srgan.engines.kernels import Kernels, kernels, pointer

KEPT_KERNELS = 25_000_000  # floats of a program's transformed kernels that are worth keeping

_NOTHING = np.empty(0, np.float32)


@dataclass(frozen=True)
class Convolve:
    """A convolution of the channels of one or more values, + the value `plus`.

    Attributes:
        parts: numbers of values.
        plus: the number of a value of whole registers, or None.
    """

    parts: tuple[int, ...]
    kernels: Kernels
    plus: int | None = None

    @property
    def reads(self) -> tuple[int, ...]:
        return self.parts if self.plus is None else (*self.parts, self.plus)

    @property
    def overwrites(self) -> tuple[int, ...]:
        """Values whose memory the result may take. A place's neighbours are read."""
        return () if self.plus is None or self.plus in self.parts else (self.plus,)

    def size(self, values: Sequence[np.ndarray]) -> int:
        """Floats of the result."""
        height, width, _ = values[0].shape
        return height * width * len(self.kernels.bias)

    def run(self, values: Sequence[np.ndarray], memory: np.ndarray, threads: int) -> np.ndarray:
        """The result, in `memory`.

        Args:
            values: those of `reads`.
        """
        each = self.kernels
        x = values[: len(self.parts)]
        height, width, _ = x[0].shape
        channels, step = len(each.bias), each.shuffle
        plus = None if self.plus is None else np.ascontiguousarray(values[-1])
        rest = (
            pointer(each.bias),
            None if each.slopes is None else pointer(each.slopes),
            None if plus is None else pointer(plus),
            ctypes.c_int64(step),
            pointer(memory),
            ctypes.c_int64(threads),
        )
        if each.winograd:
            points = each.points(threads)
            kernels().srgan_winograd(
                ctypes.c_int64(len(x)),
                (ctypes.c_void_p * len(x))(*(part.ctypes.data for part in x)),
                _numbers([part.strides[1] // part.itemsize for part in x]),
                _numbers([part.strides[0] // part.itemsize for part in x]),
                _numbers([part.shape[2] for part in x]),
                *map(ctypes.c_int64, (height, width)),
                pointer(points),
                *map(ctypes.c_int64, (each.side, channels)),
                *rest,
            )
        else:
            border = each.side // 2
            joined = x[0] if len(x) == 1 else np.concatenate(x, 2)
            joined = np.pad(joined, ((border, border), (border, border), (0, 0)))
            kernels().srgan_direct(
                pointer(joined),
                *map(ctypes.c_int64, (height, width, joined.shape[2])),
                pointer(each.taps),
                *map(ctypes.c_int64, (each.side, channels)),
                *rest,
            )
        outputs = min(each.outputs, channels) // step**2
        return memory.reshape(height * step, width * step, -1)[..., :outputs]


@dataclass(frozen=True)
class Sum:
    """a x + b z."""

    x: int
    a: float
    z: int
    b: float

    @property
    def reads(self) -> tuple[int, ...]:
        return self.x, self.z

    overwrites = reads

    def size(self, values: Sequence[np.ndarray]) -> int:
        return values[0].size

    def run(self, values: Sequence[np.ndarray], memory: np.ndarray, threads: int) -> np.ndarray:
        x, z = map(np.ascontiguousarray, values)
        kernels().srgan_sum(
            pointer(x),
            ctypes.c_float(self.a),
            pointer(z),
            ctypes.c_float(self.b),
            pointer(memory),
            *map(ctypes.c_int64, (x.size, threads)),
        )
        return memory.reshape(x.shape)


@dataclass(frozen=True)
class Repeat:
    """Nearest-neighbour enlargement."""

    x: int
    factor: int
    overwrites: tuple[int, ...] = ()

    @property
    def reads(self) -> tuple[int, ...]:
        return (self.x,)

    def size(self, values: Sequence[np.ndarray]) -> int:
        return values[0].size * self.factor**2

    def run(self, values: Sequence[np.ndarray], memory: np.ndarray, threads: int) -> np.ndarray:
        x = np.ascontiguousarray(values[0])
        height, width, channels = x.shape
        kernels().srgan_repeat(
            pointer(x),
            *map(ctypes.c_int64, (height, width, channels, self.factor)),
            pointer(memory),
            ctypes.c_int64(threads),
        )
        return memory.reshape(height * self.factor, width * self.factor, channels)


@dataclass(frozen=True)
class Apply:
    """What NumPy computes from the values of `reads`."""

    function: Callable[..., np.ndarray]
    reads: tuple[int, ...]
    overwrites: tuple[int, ...] = ()

    def size(self, _values: Sequence[np.ndarray]) -> int:
        return 0

    def run(self, values: Sequence[np.ndarray], _memory: np.ndarray, _threads: int) -> np.ndarray:
        result = self.function(*values)
        # Of one row or column, reshaping gives a view of a value whose memory may be taken.
        shared = any(np.may_share_memory(result, value) for value in values)
        return result.copy() if shared else result


Step = Convolve | Sum | Repeat | Apply


class Program:
    """Runs steps. It keeps their memory for the next call.

    Values have numbers: first the inputs, then the result of each step.

    Args:
        results: numbers of the values that a call returns.
    """

    def __init__(
        self, steps: Sequence[Step], inputs: int, results: Sequence[int], threads: int
    ) -> None:
        self._steps, self._results, self._threads = list(steps), list(results), threads
        self._inputs = inputs
        convolutions = [step.kernels for step in steps if isinstance(step, Convolve)]
        if sum(each.size for each in convolutions) <= KEPT_KERNELS:
            for each in convolutions:
                each.keep(threads)
        self._last = {value: len(self._steps) for value in self._results}
        for number, step in reversed(list(enumerate(self._steps))):
            for value in step.reads:
                self._last.setdefault(value, number)
        self._free: list[np.ndarray] = []
        self._taken: dict[int, np.ndarray] = {}  # memory by the value in it

    def __call__(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """The results, valid until the next call. Inputs' channels lie side by side."""
        self._free += self._taken.values()
        self._taken.clear()
        values = dict(enumerate(inputs))
        for number, step in enumerate(self._steps):
            read = [values[value] for value in step.reads]
            ended = {value for value in step.reads if self._last[value] == number}
            size = step.size(read)
            memory = self._memory(step, size, ended) if size else _NOTHING
            result = number + self._inputs
            values[result] = step.run(read, memory[:size], self._threads)
            if size:
                self._taken[result] = memory
            for value in ended:
                del values[value]
                if value in self._taken:
                    self._free.append(self._taken.pop(value))
        return [values[value] for value in self._results]

    def _memory(self, step: Step, size: int, ended: set[int]) -> np.ndarray:
        """Memory for a result: that of a value that it may overwrite, or free, or new."""
        for value in step.overwrites:
            if value in ended and value in self._taken and self._taken[value].size >= size:
                return self._taken.pop(value)
        fitting = [number for number, each in enumerate(self._free) if each.size >= size]
        if fitting:
            return self._free.pop(min(fitting, key=lambda number: self._free[number].size))
        if self._free:  # too small: the largest one goes before its successor is taken
            largest = max(range(len(self._free)), key=lambda number: self._free[number].size)
            del self._free[largest]
        return np.empty(size, np.float32)


def _numbers(values: Sequence[int]) -> "ctypes.Array[ctypes.c_int64]":
    return (ctypes.c_int64 * len(values))(*values)
