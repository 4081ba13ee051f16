"""A pickle module for `torch.load` that reads the tensors of pickled networks, and runs nothing.

sgrvinod's a-PyTorch-Tutorial-to-Super-Resolution saves whole modules. `torch.load` with
`weights_only=True` refuses them, because a pickle can call any function. This module lets a pickle
name tensors and the classes of that project, which it replaces by a class without behaviour. Any
other name is an error and is never looked up.
"""

import pickle
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch

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
# The files also hold optimizers, and the best PSNR as a NumPy scalar.
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
    """Replaces an `nn.Module`. Keeps its state as data: no name in it becomes an attribute."""

    dump_patches = False  # torch reads it from the classes in files of torch.save before 1.6
    state: Mapping[str, Any] = MappingProxyType({})

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.state = state

    def tensors(self, prefix: str = "") -> dict[str, torch.Tensor]:
        """The same names and tensors as the module's `state_dict()`."""
        own = {**self.state.get("_parameters", {}), **self.state.get("_buffers", {})}
        tensors = {f"{prefix}{name}": t for name, t in own.items() if isinstance(t, torch.Tensor)}
        for name, module in self.state.get("_modules", {}).items():
            if isinstance(module, PickledModule):
                tensors |= module.tensors(f"{prefix}{name}.")
        return tensors


class Ignored:
    """Replaces objects that are not needed."""

    def __new__(cls, *_arguments: object) -> "Ignored":
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        pass


class _Function:
    """A function that a file may call. A file cannot set its attributes, as on a plain function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: object) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("it changes a function")


def _tensor(storage: Any, offset: int, size: Any, stride: Any, *_: object) -> torch.Tensor:
    """Replaces `torch._utils._rebuild_tensor`: a view of a torch.TypedStorage."""
    return torch.empty(0, dtype=storage.dtype).set_(storage.untyped(), offset, size, stride)


def _parameter(tensor: torch.Tensor, *_: object) -> torch.Tensor:
    return tensor


FUNCTIONS: dict[tuple[str, str], Any] = {
    ("builtins", "dict"): dict,
    ("builtins", "set"): set,
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): defaultdict,
    ("torch._utils", "_rebuild_parameter"): _Function(_parameter),
    ("torch._utils", "_rebuild_tensor"): _Function(_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Function(_tensor),
}


class Unpickler(pickle.Unpickler):
    """Raises UnpicklingError at the first name that is not in this module's tables."""

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
    """Like `pickle.load`; torch calls it for the parts before the network in old files."""
    return Unpickler(file, **options).load()
