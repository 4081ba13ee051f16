"""LPIPS 0.1 (Zhang et al. 2018, arXiv:1801.03924): how different two pictures look.

The distance of the deep features of an ImageNet network, weighted by what people saw. The
networks are in torchvision's layout: `features.N.weight` and `features.N.bias`.
"""

import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from safetensors import SafetensorError, safe_open

from srgan.errors import UserError

if TYPE_CHECKING:  # this module is imported where torch is not installed, to say so
    from torch import Tensor

_Shapes = dict[str, tuple[int, ...]]  # by name of the tensor

EPSILON = 1e-10  # of the reference implementation, at the division by a feature's length
# The reference's ScalingLayer, for RGB in [-1, 1]: ImageNet's mean and standard deviation.
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)


class LPIPSError(UserError):
    """LPIPS cannot be computed here: one line with the reason and what to do."""


@dataclass(frozen=True)
class _Convolution:
    """A convolution with its ReLU, maybe after a max pooling, maybe compared."""

    index: int  # in torchvision's `features`
    inputs: int
    outputs: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    pooled: bool = False
    tapped: bool = True


@dataclass(frozen=True)
class _Network:
    title: str
    file: str  # torchvision's name, and part of the files' names
    pooling: int  # side of the max pooling's window; it halves the picture
    smallest: int  # side of a picture of which a pixel arrives at the end
    convolutions: tuple[_Convolution, ...]

    @property
    def features_file(self) -> str:
        return f"{self.file}_features.safetensors"

    @property
    def lins_file(self) -> str:
        return f"lpips_{self.file}.safetensors"

    @property
    def advice(self) -> str:
        return f"use --lpips-weights DIR with {self.features_file} and {self.lins_file} in it"


_ALEXNET = _Network(
    "AlexNet",
    "alexnet",
    pooling=3,
    smallest=31,
    convolutions=(
        _Convolution(0, 3, 64, kernel=11, stride=4, padding=2),
        _Convolution(3, 64, 192, kernel=5, padding=2, pooled=True),
        _Convolution(6, 192, 384, pooled=True),
        _Convolution(8, 384, 256),
        _Convolution(10, 256, 256),
    ),
)
_VGG16 = _Network(
    "VGG16",
    "vgg16",
    pooling=2,
    smallest=16,
    convolutions=(
        _Convolution(0, 3, 64, tapped=False),
        _Convolution(2, 64, 64),
        _Convolution(5, 64, 128, pooled=True, tapped=False),
        _Convolution(7, 128, 128),
        _Convolution(10, 128, 256, pooled=True, tapped=False),
        _Convolution(12, 256, 256, tapped=False),
        _Convolution(14, 256, 256),
        _Convolution(17, 256, 512, pooled=True, tapped=False),
        _Convolution(19, 512, 512, tapped=False),
        _Convolution(21, 512, 512),
        _Convolution(24, 512, 512, pooled=True, tapped=False),
        _Convolution(26, 512, 512, tapped=False),
        _Convolution(28, 512, 512),
    ),
)
_NETWORKS = {"alex": _ALEXNET, "vgg": _VGG16}


class LPIPS:
    """The distance of two pictures: 0 where equal, lower is better.

    Features after the ReLU of five convolutions, each scaled to length 1 over its channels;
    squared difference, weighted sum over channels, mean over the picture, sum over the five.
    Nothing is cropped. float32, on the GPU (CUDA) where there is one.

    The whole picture is taken at once, as in the reference: about 1.4 KB of memory a pixel with
    VGG16, and 0.2 KB with AlexNet.

    Args:
        net: "alex" (AlexNet, what the reference advises for comparisons) or "vgg" (VGG16).
        weights: a folder with alexnet_features.safetensors (`features.N.weight`, `.bias`) and
            lpips_alexnet.safetensors (`lin0` to `lin4`, 1 x C x 1 x 1), or the same two of
            vgg16. None: the network from torchvision, downloaded once, and the five from the
            package lpips.

    Raises:
        LPIPSError: no torch, or no weights, or weights that do not fit.
    """

    def __init__(self, net: Literal["alex", "vgg"], weights: Path | None = None) -> None:
        try:
            import torch
        except ImportError as error:
            raise LPIPSError(
                f"LPIPS ({net}) needs PyTorch: pip install 'srgan[evaluate]'"
            ) from error
        self._network = network = _NETWORKS[net]
        if weights is None:
            features, lins = _torchvision_features(network), _package_lins(network, net)
        else:
            features = _read(network, weights / network.features_file, _feature_shapes(network))
            lins = _read(network, weights / network.lins_file, _lin_shapes(network))
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._features = {name: tensor.to(device) for name, tensor in features.items()}
        self._lins = [tensor.to(device) for tensor in lins.values()]
        self._shift = torch.tensor(SHIFT, device=device).view(1, 3, 1, 1)
        self._scale = torch.tensor(SCALE, device=device).view(1, 3, 1, 1)

    def __call__(self, sr: np.ndarray, hr: np.ndarray) -> float:
        """The distance of two pictures, in either order.

        Args:
            sr, hr: (H, W, 3) RGB uint8 of one shape, at least 31 (AlexNet) or 16 (VGG16) pixels
                a side.

        Raises:
            ValueError: the pictures are not of that form.
        """
        import torch

        self._check(sr, hr)
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            pairs = zip(self._activations(sr), self._activations(hr), strict=True)
            return sum(_distance(a, b, lin) for (a, b), lin in zip(pairs, self._lins, strict=True))

    def _check(self, sr: np.ndarray, hr: np.ndarray) -> None:
        for image in (sr, hr):
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise ValueError(
                    f"a uint8 array (H, W, 3) is needed, not {image.dtype} {image.shape}"
                )
        (sr_height, sr_width), (height, width) = sr.shape[:2], hr.shape[:2]
        if sr.shape != hr.shape:
            raise ValueError(f"SR of {sr_width} x {sr_height} pixels, HR of {width} x {height}")
        if min(height, width) < (least := self._network.smallest):
            raise ValueError(
                f"{width} x {height} pixels are too few: LPIPS of {self._network.title} needs "
                f"{least} a side"
            )

    def _activations(self, image: np.ndarray) -> "Iterator[Tensor]":
        """The five activations, 1 x C x h x w, one after the other: few are held at a time."""
        import torch
        from torch.nn import functional

        pixels = torch.from_numpy(np.ascontiguousarray(image)).to(self._shift.device)
        x = pixels.permute(2, 0, 1)[None].float() / 127.5 - 1
        x = (x - self._shift) / self._scale
        for layer in self._network.convolutions:
            if layer.pooled:
                x = functional.max_pool2d(x, self._network.pooling, stride=2)
            name = f"features.{layer.index}"
            weight, bias = self._features[f"{name}.weight"], self._features[f"{name}.bias"]
            x = functional.conv2d(x, weight, bias, layer.stride, layer.padding).relu_()
            if layer.tapped:
                yield x


def _distance(a: "Tensor", b: "Tensor", lin: "Tensor") -> float:
    """Mean over the places of the weighted squared difference of two activations."""
    from torch.nn import functional

    squares = (_unit_length(a) - _unit_length(b)).square_()
    return functional.conv2d(squares, lin).mean().item()


def _unit_length(x: "Tensor") -> "Tensor":
    return x / (x.square().sum(1, keepdim=True).sqrt_() + EPSILON)


def _feature_shapes(network: _Network) -> _Shapes:
    shapes: _Shapes = {}
    for layer in network.convolutions:
        kernel = layer.kernel
        shapes[f"features.{layer.index}.weight"] = (layer.outputs, layer.inputs, kernel, kernel)
        shapes[f"features.{layer.index}.bias"] = (layer.outputs,)
    return shapes


def _lin_shapes(network: _Network) -> _Shapes:
    tapped = [layer for layer in network.convolutions if layer.tapped]
    return {f"lin{i}": (1, layer.outputs, 1, 1) for i, layer in enumerate(tapped)}


def _fitting(
    network: _Network, source: object, tensors: Mapping[str, Any], shapes: _Shapes
) -> "dict[str, Tensor]":
    """The tensors named in `shapes`, in that order, as float32."""
    for name, shape in shapes.items():
        if name not in tensors:
            raise LPIPSError(f"{source}: tensor {name} is missing; {network.advice}")
        if (found := tuple(tensors[name].shape)) != shape:
            raise LPIPSError(
                f"{source}: tensor {name} has shape {found}, not {shape}; {network.advice}"
            )
    return {name: tensors[name].float() for name in shapes}


def _read(network: _Network, path: Path, shapes: _Shapes) -> "dict[str, Tensor]":
    if not path.is_file():
        raise LPIPSError(f"{path}: no such file; {network.advice}")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise LPIPSError(
            f"{path}: not readable as safetensors ({error}); {network.advice}"
        ) from error
    return _fitting(network, path, tensors, shapes)


def _torchvision_features(network: _Network) -> "dict[str, Tensor]":
    try:
        from torchvision import models
    except ImportError as error:
        raise LPIPSError(
            f"{network.title}'s weights come with torchvision: pip install 'srgan[evaluate]', or "
            f"{network.advice}"
        ) from error
    source = models.get_model_weights(network.file)["IMAGENET1K_V1"]
    try:
        tensors = source.get_state_dict(check_hash=True, weights_only=True)
    except (OSError, RuntimeError, HTTPException, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())
        raise LPIPSError(
            f"torchvision could not download {network.title}'s weights ({reason}); {network.advice}"
        ) from error
    return _fitting(network, f"torchvision's {source}", tensors, _feature_shapes(network))


def _package_lins(network: _Network, net: str) -> "dict[str, Tensor]":
    """From the files of the package lpips, without running its code."""
    import torch

    package = find_spec("lpips")
    if package is None or package.origin is None:
        raise LPIPSError(
            f"LPIPS ({net}): its weights come with the package lpips: "
            f"pip install 'srgan[evaluate]', or {network.advice}"
        )
    path = Path(package.origin).parent / "weights" / "v0.1" / f"{net}.pth"
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise nearly anything here
        raise LPIPSError(
            f"{path}: not a PyTorch file of plain tensors; {network.advice}"
        ) from error
    named = {name.removesuffix(".model.1.weight"): tensor for name, tensor in tensors.items()}
    return _fitting(network, path, named, _lin_shapes(network))
