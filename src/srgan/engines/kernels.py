"""Our own convolutions in fp32, by Winograd's algorithm; no library needed.

native.cpp holds them. This machine's C++ compiler compiles it on first use, on x86-64 Linux.
"""

import ctypes
import functools
import os
import sys
from pathlib import Path

import numpy as np

from srgan.engines.base import EngineError
from srgan.engines.processor import processor_flags, wait_passively
from srgan.networks.compiled import FLAGS, CompilerError, compiled, load
from srgan.networks.folding import blocks_first
from srgan.networks.kernel_transform import kernel_transform

SOURCE = Path(__file__).with_name("native.cpp")
WINOGRAD = (3, 5)  # sides of kernels
WHOLE = 16  # floats of the largest register


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
        library = load(path, ctypes.CDLL)
    except OSError as error:
        return None, f"the native engine cannot be loaded: {error}"
    # A forked process has none of its parent's threads, and would wait for them.
    os.register_at_fork(before=library.srgan_end_threads)
    return library, ""


class Kernels:
    """The weights of a convolution of stride 1 and padding k // 2, as native.cpp takes them.

    Args:
        weight: (K, C, k, k).
        bias: (K,).
        slopes: (K,) of the PReLU that follows; None without one.
        shuffle: the factor of the PixelShuffle that follows; 1 without one.
        whole: the channels of each of its inputs fill whole registers.

    Attributes:
        outputs: K.
        shuffle: the factor of the PixelShuffle that native.cpp does. It is 1 where that is left
            to the caller, of channels as (row, column, C).
    """

    def __init__(
        self,
        weight: np.ndarray,
        bias: np.ndarray,
        slopes: np.ndarray | None = None,
        shuffle: int = 1,
        *,
        whole: bool = True,
    ) -> None:
        lanes = int(kernels().srgan_lanes())
        self.outputs, inputs, self.side, _ = weight.shape
        order = blocks_first(self.outputs, shuffle)
        fill = (0, -self.outputs % lanes)
        taps = weight[order].transpose(2, 3, 1, 0)
        self.taps = np.ascontiguousarray(np.pad(taps, ((0, 0),) * 3 + (fill,)), np.float32)
        self.bias = np.pad(bias[order], fill).astype(np.float32)
        self.slopes = None if slopes is None else np.pad(slopes[order], fill).astype(np.float32)
        self.winograd = whole and self.side in WINOGRAD and inputs % lanes == 0
        self.shuffle = shuffle if self.outputs // shuffle**2 % lanes == 0 else 1
        self._points: np.ndarray | None = None

    @property
    def size(self) -> int:
        """Floats of the transformed kernels."""
        return self.taps[0, 0].size * 64 if self.winograd else 0

    def keep(self, threads: int) -> None:
        """Keep the transformed kernels; otherwise they are made at each use."""
        if self.winograd:
            self._points = self.points(threads)

    def points(self, threads: int) -> np.ndarray:
        """The transformed kernels, (64, C, K)."""
        if self._points is not None:
            return self._points
        transform = np.ascontiguousarray(kernel_transform(self.side), np.float32)
        points = np.empty((64, *self.taps.shape[2:]), np.float32)
        kernels().srgan_transform(
            pointer(self.taps),
            *map(ctypes.c_int64, (self.side, self.taps[0, 0].size)),
            pointer(transform),
            pointer(points),
            ctypes.c_int64(threads),
        )
        return points


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
