"""3x3 convolutions with a quarter of the products, for training in float32 on a CPU.

Winograd's algorithm (Lavin and Gray 2016, arXiv:1509.09308) by winograd.cpp, which the C++
compiler of this machine compiles on the first use. PyTorch's own are direct on x86-64.
"""

import functools
import hashlib
import logging
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

SOURCE = Path(__file__).with_suffix(".cpp")
# By torch.backends.cpu.get_cpu_capability().
FLAGS = {"AVX2": ["-mavx2", "-mfma"], "AVX512": ["-mavx512f", "-mfma"]}
MULTIPLE = 64  # of which the channels in and out, which backward are out, are: whole registers
MOST = 256  # channels; of more, the transformed kernels, 4 times as large, are what takes the time
# G of F(4x4, 3x3) for rows and columns: 6x6 points of a 3x3 kernel.
POINTS = [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]
DIVISOR = 24
PATIENCE = 3.0  # seconds
COMPILING = "compiling faster convolutions for this processor, once"

log = logging.getLogger("srgan")


def use_winograd(network: nn.Module) -> None:
    """Have those of a network's convolutions that gain by it computed by Winograd's algorithm.

    On x86-64 with AVX2 and a C++ compiler; elsewhere nothing changes. Values and gradients are
    PyTorch's to within some 1e-5 of the largest; names and parameters stay as they are. On two
    cores with AVX-512 a convolution takes half the time, forward and backward.

    Args:
        network: in float32, on the CPU; it is changed.
    """
    found = [module for module in network.modules() if _gains(module)]
    if found and _is_compiled():
        for module in found:
            module.__class__ = WinogradConv2d


def _gains(module: nn.Module) -> bool:
    return (
        type(module) is nn.Conv2d
        and module.kernel_size == (3, 3)
        and module.stride == module.dilation == (1, 1)
        and module.padding == (1, 1)
        and module.padding_mode == "zeros"
        and module.groups == 1
        and module.in_channels % MULTIPLE == module.out_channels % MULTIPLE == 0
        and max(module.in_channels, module.out_channels) <= MOST
    )


class WinogradConv2d(nn.Conv2d):
    """A convolution that `use_winograd` has found to gain by it."""

    def forward(self, input: Tensor) -> Tensor:
        return _Convolution.apply(input, self.weight, self.bias)


class _Convolution(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        x = _channels_last(x)
        ctx.save_for_backward(x, weight)
        kernels = _points(weight.permute(2, 3, 1, 0))
        return torch.ops.srgan_winograd.convolve(x, kernels, bias)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        grad = _channels_last(grads[0])
        x, weight = ctx.saved_tensors
        grad_x = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            turned = _points(weight.flip(2, 3).permute(2, 3, 0, 1))
            grad_x = torch.ops.srgan_winograd.convolve(grad, turned, None)
        if ctx.needs_input_grad[1]:
            points = torch.ops.srgan_winograd.kernel_gradient(x, grad)
            pixels = _transform(points.device).t() @ points.flatten(1)
            grad_weight = pixels.view(3, 3, *points.shape[1:]).permute(3, 2, 0, 1)
        if ctx.needs_input_grad[2]:
            grad_bias = grad.sum((0, 2, 3))
        return grad_x, grad_weight, grad_bias


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _points(kernels: Tensor) -> Tensor:
    """G g G^T of kernels g: 3 x 3 x C x K to 36 x C x K."""
    pixels = kernels.reshape(9, -1)
    return (_transform(kernels.device) @ pixels).view(-1, *kernels.shape[2:])


@functools.cache
def _transform(device: torch.device) -> Tensor:
    """G for rows and columns at once: 36 x 9."""
    g = torch.tensor(POINTS, dtype=torch.float64, device=device) / DIVISOR
    return torch.kron(g, g).float()


@functools.cache
def _is_compiled() -> bool:
    """Load torch.ops.srgan_winograd, compiled on this machine's first use; is it there?"""
    flags = FLAGS.get(torch.backends.cpu.get_cpu_capability())
    if flags is None or sys.platform != "linux":
        return False
    notice = threading.Timer(PATIENCE, log.warning, [COMPILING])
    notice.start()
    try:
        torch.ops.load_library(_library(flags))
    except subprocess.CalledProcessError as error:
        reason = next((line for line in error.stderr.splitlines() if "error" in line), str(error))
    except OSError as error:
        reason = str(error)
    else:
        return True
    finally:
        notice.cancel()
    log.warning("no faster convolutions, which g++ compiles: %s", reason)
    return False


def _library(flags: list[str]) -> Path:
    """winograd.cpp compiled for this PyTorch, from the user's cache or into it."""
    compiler = os.environ.get("CXX", "c++")
    torch_folder = Path(torch.__file__).parent
    abi = int(torch.compiled_with_cxx11_abi())
    command = [compiler, "-std=c++20", "-O3", "-fPIC", "-shared", "-fopenmp", *flags]
    command += [f"-D_GLIBCXX_USE_CXX11_ABI={abi}", f"-I{torch_folder / 'include'}"]
    command += [str(SOURCE), f"-L{torch_folder / 'lib'}", "-ltorch_cpu", "-lc10"]
    key = hashlib.sha256(SOURCE.read_bytes())
    key.update(" ".join([torch.__version__, *command]).encode())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "srgan"
    library = cache / f"winograd-{key.hexdigest()[:16]}.so"
    if not library.exists():
        cache.mkdir(parents=True, exist_ok=True)
        # Several processes may compile at once: what is under the library's name is whole.
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            part = Path(folder) / library.name
            subprocess.run([*command, "-o", part], check=True, capture_output=True, text=True)
            part.replace(library)
    return library
