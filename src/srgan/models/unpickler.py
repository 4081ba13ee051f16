"""The pickle module that `torch.load` reads pickled networks with, for their tensors only.

a-PyTorch-Tutorial-to-Super-Resolution saves whole modules. `torch.load(weights_only=True)`
rightly refuses them: a pickle can call any function. Here it can name tensors, stand-ins for
the classes of that project (which do nothing and cannot be told apart from each other but by
what they hold), and nothing else. What a file names beyond that is never looked up.
"""

import pickle
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
import torch._utils

MODULES = {
    *(("models", name) for name in ("SRResNet", "Generator", "Discriminator", "ResidualBlock")),
    *(("models", name) for name in ("ConvolutionalBlock", "SubPixelConvolutionalBlock")),
    ("torch.nn.modules.activation", "LeakyReLU"),
    ("torch.nn.modules.activation", "PReLU"),
    ("torch.nn.modules.activation", "Tanh"),
    ("torch.nn.modules.batchnorm", "BatchNorm2d"),
    ("torch.nn.modules.container", "Sequential"),
    ("torch.nn.modules.conv", "Conv2d"),
    ("torch.nn.modules.linear", "Linear"),
    ("torch.nn.modules.pixelshuffle", "PixelShuffle"),
    ("torch.nn.modules.pooling", "AdaptiveAvgPool2d"),
    ("torch.nn.parallel.data_parallel", "DataParallel"),
}
# Beside the network in its file: optimizers, the best PSNR as a scalar of numpy.
IGNORED = {
    ("_codecs", "encode"),
    ("numpy", "dtype"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy.core.multiarray", "scalar"),
    ("torch", "device"),
    ("torch.optim.adam", "Adam"),
    ("torch.optim.adamw", "AdamW"),
    ("torch.optim.sgd", "SGD"),
}


class PickledModule:
    """Stands for an `nn.Module`; keeps its state apart, where no name in it means anything."""

    dump_patches = False  # torch asks the classes in files of before 1.6
    state: Mapping[str, Any] = MappingProxyType({})

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.state = state

    def tensors(self, prefix: str = "") -> dict[str, torch.Tensor]:
        """What its `state_dict()` would be."""
        own = {**self.state.get("_parameters", {}), **self.state.get("_buffers", {})}
        tensors = {f"{prefix}{name}": t for name, t in own.items() if isinstance(t, torch.Tensor)}
        for name, module in self.state.get("_modules", {}).items():
            if isinstance(module, PickledModule):
                tensors |= module.tensors(f"{prefix}{name}.")
        return tensors


class Ignored:
    """Stands for whatever does not matter."""

    def __new__(cls, *_arguments: object) -> "Ignored":
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        pass


class _Function:
    """A function that a file may call; the function itself would let it set its attributes."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: object) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("it changes a function")


def _tensor(storage: Any, offset: int, size: Any, stride: Any, *_: object) -> torch.Tensor:
    return torch._utils._rebuild_tensor(storage, offset, size, stride)


FUNCTIONS: dict[tuple[str, str], Any] = {
    ("builtins", "dict"): dict,
    ("builtins", "set"): set,
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): defaultdict,
    ("torch._utils", "_rebuild_parameter"): _Function(lambda tensor, *_: tensor),
    ("torch._utils", "_rebuild_tensor"): _Function(_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Function(_tensor),
}


class Unpickler(pickle.Unpickler):
    """Raises UnpicklingError at the first name that is not one of the above."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        key = (module_name.replace("__builtin__", "builtins"), global_name)
        if key in MODULES or (module_name == "__main__" and ("models", global_name) in MODULES):
            return PickledModule
        if key in IGNORED:
            return Ignored
        if key in FUNCTIONS:
            return FUNCTIONS[key]
        raise pickle.UnpicklingError(f"it names {module_name}.{global_name}")


def load(file: Any, **options: Any) -> Any:
    """As `pickle.load`: torch reads with it what precedes the network in old files."""
    return Unpickler(file, **options).load()
