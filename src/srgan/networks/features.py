"""The frozen VGG behind the content loss (Ledig et al. 2017, section 2.2.1, equation 5).

VGG is Simonyan and Zisserman 2015 (arXiv:1409.1556), configurations D (VGG16) and E (VGG19).
Weights are in the layout of torchvision's files: `features.N.weight` and `features.N.bias`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from srgan.errors import UserError, need
from srgan.networks.tensors import TensorFileError, read_safetensors, torchvision_weights

# Convolutions in each block. A max pooling between two blocks halves both sides.
CONVOLUTIONS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
CHANNELS = (64, 128, 256, 512, 512)
# torchvision's index 17 is a convolution of VGG16 and an activation of VGG19.
ONLY_VGG16 = "features.17.weight"
ADVICE = "use --features FILE with a VGG19 or VGG16 in torchvision's layout, without BN"


class FeaturesError(UserError):
    """VGG weights that cannot be loaded: one line with the source, the reason and what to do."""


class FeatureExtractor(nn.Module):
    """Pictures, N x 3 x H x W, RGB in [0, 1], to VGG's features after the ReLU of convolutions i,j.

    Each output is N x C x H/2^(i-1) x W/2^(i-1), rounded down, and never negative. H and W must be
    at least 2^(i-1). The input is normalised inside with ImageNet's mean and standard deviation.
    The network ends at the last of `layers`. It is frozen: gradients reach the input, parameters
    take none, and `train()` changes nothing.

    Args:
        source: "vgg19" or "vgg16" for torchvision's weights IMAGENET1K_V1, downloaded once. Or a
            file of VGG19 or VGG16 weights: .safetensors, or a PyTorch file of plain tensors. The
            tensors tell which of both networks it is; "classifier.*" is ignored.
        layers: pairs (i, j), the j-th convolution of block i. j is clipped to the number of
            convolutions in the block: (5, 4) is (5, 3) in VGG16.

    Attributes:
        network: "vgg19" or "vgg16", as found in the source.
        layers: the pairs (i, j) after clipping, in the order of the outputs.
        channels: C of each output.

    Raises:
        FeaturesError: the download failed, or the file does not hold such a network.
        MissingExtraError: the download needs torchvision, which is not installed.
        ValueError: i is not 1 to 5, or j is below 1.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, source: str | Path = "vgg19", layers: Sequence[tuple[int, int]] = ((5, 4),)
    ) -> None:
        super().__init__()
        for block, position in layers:
            if not 1 <= block <= len(CHANNELS) or position < 1:
                raise ValueError(f"no convolution {block},{position} in VGG: i is 1 to 5, j from 1")
        tensors = _torchvision(str(source)) if source in CONVOLUTIONS else _read(Path(source))
        self.network = "vgg16" if ONLY_VGG16 in tensors else "vgg19"
        counts = CONVOLUTIONS[self.network]
        self.layers = sorted({(block, min(j, counts[block - 1])) for block, j in layers})
        self.channels = [CHANNELS[block - 1] for block, _ in self.layers]
        with torch.device("meta"):  # takes no memory before the weights below
            self.features = _layers(self.network, self.layers[-1])
        self._taps = {_index(counts, layer) for layer in self.layers}
        expected = {f"features.{k}": v.shape for k, v in self.features.state_dict().items()}
        if problem := _mismatch(expected, tensors):
            raise FeaturesError(f"{source}: {problem}; {ADVICE}")
        weights = {name: tensors[name].float() for name in expected}
        self.load_state_dict(weights, assign=True)
        self.register_buffer("mean", _channels(0.485, 0.456, 0.406), persistent=False)
        self.register_buffer("std", _channels(0.229, 0.224, 0.225), persistent=False)
        self.requires_grad_(False).train(False)

    def train(self, mode: bool = True) -> "FeatureExtractor":  # noqa: ARG002
        """Stay in evaluation mode, also when a surrounding module switches to training."""
        return super().train(False)

    def forward(self, picture: Tensor) -> list[Tensor]:
        x = (picture - self.mean) / self.std
        outputs: list[Tensor] = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self._taps:
                outputs.append(x)
        return outputs


def _channels(*values: float) -> Tensor:
    return torch.tensor(values).view(1, 3, 1, 1)


def _layers(network: str, layer: tuple[int, int]) -> nn.Sequential:
    """The network from its input to the activation of conv i,j, indexed as in torchvision."""
    layers: list[nn.Module] = []
    inputs = 3
    last_block, last_position = layer
    for block, outputs in enumerate(CHANNELS[:last_block], start=1):
        if block > 1:
            layers.append(nn.MaxPool2d(2))
        count = last_position if block == last_block else CONVOLUTIONS[network][block - 1]
        for _ in range(count):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True)]
            inputs = outputs
    return nn.Sequential(*layers)


def _index(counts: Sequence[int], layer: tuple[int, int]) -> int:
    """torchvision's index of the activation of conv i,j."""
    block, position = layer
    return sum(2 * count + 1 for count in counts[: block - 1]) + 2 * position - 1


def _mismatch(expected: Mapping[str, torch.Size], tensors: Mapping[str, Any]) -> str | None:
    """The first way in which `tensors` differ from `expected`, in words; None if they fit."""
    for name, shape in expected.items():
        tensor = tensors.get(name)
        if not isinstance(tensor, Tensor):
            return f"tensor {name} is missing"
        if tensor.shape != shape:
            return f"tensor {name} has shape {tuple(tensor.shape)}, not {tuple(shape)}"
        if not tensor.isfinite().all():
            return f"tensor {name} holds values that are not finite"
    return None


def _read(path: Path) -> Mapping[str, Any]:
    """The tensors of a file by name, read without running code from the file."""
    if not path.is_file():
        raise FeaturesError(f"{path}: no such file; {ADVICE}")
    if path.suffix == ".safetensors":
        try:
            return read_safetensors(path, "pt", prefix="features.")[0]
        except TensorFileError as error:
            raise FeaturesError(f"{error}; {ADVICE}") from error
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise nearly anything here
        raise FeaturesError(f"{path}: not a PyTorch file of plain tensors; {ADVICE}") from error
    if not isinstance(tensors, Mapping):
        raise FeaturesError(f"{path}: holds no named tensors; {ADVICE}")
    return cast("Mapping[str, Any]", tensors)


def _torchvision(name: str) -> Mapping[str, Any]:
    need("train", f"--features {name}")
    try:
        return torchvision_weights(name)
    except TensorFileError as error:
        raise FeaturesError(f"{error}; {ADVICE}") from error
