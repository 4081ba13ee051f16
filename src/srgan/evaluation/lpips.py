"""LPIPS 0.1 (Zhang et al. 2018, arXiv:1801.03924): how different two pictures look.

The distance between the deep features of an ImageNet network, weighted by human judgments. The
package lpips builds the network and brings the five learned weightings ("lins"). This module
loads the weights, also without a network connection, and computes the distance. The loop over the
network's slices is ours, since the package's keeps all activations: 2.4 KB of memory a pixel
instead of 1.2 with VGG16.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from srgan.errors import UserError, need
from srgan.evaluation.metrics import check_pair
from srgan.networks.tensors import TensorFileError, read_safetensors, torchvision_weights

if TYPE_CHECKING:  # torch is imported only where a distance is computed
    from torch import Tensor, nn

EPSILON = 1e-10  # added to a feature's length before the division, as in the reference


class LPIPSError(UserError):
    """LPIPS cannot be computed here: one line with the reason and what to do."""


class _Backbone(NamedTuple):
    title: str
    file: str  # torchvision's name, and part of the files' names
    smallest: int  # side of a picture of which one pixel reaches the last slice

    @property
    def features_file(self) -> str:
        return f"{self.file}_features.safetensors"

    @property
    def lins_file(self) -> str:
        return f"lpips_{self.file}.safetensors"

    @property
    def advice(self) -> str:
        return f"use --lpips-weights DIR with {self.features_file} and {self.lins_file} in it"


_BACKBONES = {"alex": _Backbone("AlexNet", "alexnet", 31), "vgg": _Backbone("VGG16", "vgg16", 16)}


class LPIPS:
    """The distance of two pictures: 0 where equal, lower is better.

    Takes the features after five layers (ReLU) and scales each to length 1 over its channels.
    The distance is the squared difference, as a weighted sum over channels, mean over the
    picture and sum over the five layers. Nothing is cropped. float32, on the GPU (CUDA) where
    there is one.

    The whole picture is taken at once, as in the reference: about 1.2 KB of memory a pixel with
    VGG16, and 0.2 KB with AlexNet.

    Args:
        net: "alex" (AlexNet, which the reference recommends for comparisons) or "vgg" (VGG16).
        weights: a folder with alexnet_features.safetensors (torchvision's names,
            `features.N.weight` and `.bias`) and lpips_alexnet.safetensors (`lin0` to `lin4`,
            1 x C x 1 x 1), or the same two of vgg16. None: the network's weights from
            torchvision, downloaded once, and the lins from the package lpips.

    Raises:
        MissingExtraError: a library of the extra `evaluate` is missing.
        LPIPSError: the weights are missing, damaged or of other shapes.
    """

    def __init__(self, net: Literal["alex", "vgg"], weights: Path | None = None) -> None:
        need("evaluate", f"LPIPS ({net})")
        import torch

        self._backbone = backbone = _BACKBONES[net]
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model = _empty_model(net)
        if weights is None:
            source = f"torchvision's {backbone.title}"
            _load(backbone, model.net, _torchvision_features(backbone), source)
            _load(backbone, model.lins, *_package_lins(backbone, net))
        else:
            features, lins = weights / backbone.features_file, weights / backbone.lins_file
            _load(backbone, model.net, _read(backbone, features), features)
            _load(backbone, model.lins, _read(backbone, lins), lins)
        self._scaling: nn.Module = model.scaling_layer.to(self._device)
        self._slices: list[nn.Module] = list(model.net.to(self._device).children())
        self._lins: list[nn.Module] = list(model.lins.to(self._device))

    def __call__(self, sr: np.ndarray, hr: np.ndarray) -> float:
        """The distance of two pictures, in either order.

        Args:
            sr, hr: (H, W, 3) RGB uint8 of one shape, each side at least 31 (AlexNet) or 16
                (VGG16) pixels.

        Raises:
            ValueError: the pictures have another form.
        """
        import torch

        self._check(sr, hr)
        total = 0.0
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            a, b = self._scaled(sr), self._scaled(hr)
            for part, lin in zip(self._slices, self._lins, strict=True):
                a, b = part(a), part(b)
                squares: Tensor = (_unit_length(a) - _unit_length(b)).square_()
                total += lin(squares).mean().item()
        return total

    def _check(self, sr: np.ndarray, hr: np.ndarray) -> None:
        check_pair(sr, hr)
        height, width = hr.shape[:2]
        if min(height, width) < (least := self._backbone.smallest):
            raise ValueError(
                f"{width} x {height} pixels are too few: LPIPS of {self._backbone.title} needs "
                f"{least} a side"
            )

    def _scaled(self, image: np.ndarray) -> "Tensor":
        """The picture as the network takes it: 1 x 3 x H x W, of ImageNet's mean and deviation."""
        import torch

        pixels = torch.as_tensor(np.ascontiguousarray(image), device=self._device)
        return self._scaling(pixels.permute(2, 0, 1)[None].float() / 127.5 - 1)


def _unit_length(x: "Tensor") -> "Tensor":
    return x / (x.square().sum(1, keepdim=True).sqrt_() + EPSILON)


def _empty_model(net: str) -> Any:
    """lpips.LPIPS without weights, and without memory or time for random ones."""
    import lpips
    import torch

    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision: lpips calls it in an old way
        model = lpips.LPIPS(net=net, pretrained=False, pnet_rand=True, verbose=False)
    model.scaling_layer = lpips.ScalingLayer()  # the one on "meta" has lost its constants
    return model


def _load(
    backbone: _Backbone, module: "nn.Module", tensors: Mapping[str, "Tensor"], source: object
) -> None:
    """Put weights into a network; a tensor that is missing or of another shape is an error."""
    state: dict[str, Tensor] = {}
    for own_name, parameter in module.named_parameters():
        name = _stored_name(own_name)
        if name not in tensors:
            raise LPIPSError(f"{source}: tensor {name} is missing; {backbone.advice}")
        found, shape = tuple(tensors[name].shape), tuple(parameter.shape)
        if found != shape:
            raise LPIPSError(
                f"{source}: tensor {name} has shape {found}, not {shape}; {backbone.advice}"
            )
        state[own_name] = tensors[name].float()
    module.load_state_dict(state, assign=True)


def _stored_name(name: str) -> str:
    """lpips's name of a parameter, slice2.3.weight or 4.model.1.weight, as files have it."""
    first, _, rest = name.partition(".")
    return f"features.{rest}" if first.startswith("slice") else f"lin{first}"


def _read(backbone: _Backbone, path: Path) -> "dict[str, Tensor]":
    try:
        return read_safetensors(path, "pt")[0]
    except TensorFileError as error:
        raise LPIPSError(f"{error}; {backbone.advice}") from error


def _torchvision_features(backbone: _Backbone) -> "Mapping[str, Tensor]":
    try:
        return torchvision_weights(backbone.file)
    except TensorFileError as error:
        raise LPIPSError(f"{error}; {backbone.advice}") from error


def _package_lins(backbone: _Backbone, net: str) -> "tuple[dict[str, Tensor], Path]":
    """The lins that the package lpips brings, and their file."""
    import lpips
    import torch

    path = Path(lpips.__file__).parent / "weights" / "v0.1" / f"{net}.pth"
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise nearly anything here
        raise LPIPSError(
            f"{path}: not a PyTorch file of plain tensors; {backbone.advice}"
        ) from error
    return {name.removesuffix(".model.1.weight"): x for name, x in tensors.items()}, path
