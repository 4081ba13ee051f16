"""DISTS (Ding et al. 2020, arXiv:2004.07728): structure and texture of two pictures, compared.

It compares means (texture) and correlations (structure) of VGG16's features over the whole picture,
so a texture that is another sample of the same kind counts as similar, which LPIPS does not see.
The package DISTS_pytorch brings the learned weighting of the features, not VGG16.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from srgan.errors import UserError
from srgan.evaluation.metrics import check_pair
from srgan.networks.features import FeatureExtractor, FeaturesError

_LAYERS = ((1, 2), (2, 2), (3, 3), (4, 3), (5, 3))
_CHANNELS = [3, 64, 128, 256, 512, 512]  # of the picture and of the layers
_STABLE = 1e-6  # keeps quotients of two small numbers near 1
_SMALLEST = 16  # side of a picture of which one pixel reaches the last layer


class DISTSError(UserError):
    """DISTS cannot be computed here: one line with the reason and what to do."""


class DISTS:
    """The distance of two pictures: 0 where equal, lower is better.

    As in the reference implementation: RGB, nothing cropped, in float32, on the GPU where there is
    one. It takes 1 KB of memory a pixel.

    Args:
        weights: a folder with vgg16_features.safetensors (torchvision's names). None: VGG16's
            weights from torchvision, downloaded once.

    Raises:
        DISTSError: weights are missing, damaged or of other shapes.
    """

    def __init__(self, weights: Path | None = None) -> None:
        source = "vgg16" if weights is None else weights / "vgg16_features.safetensors"
        try:
            network = FeatureExtractor(source, _LAYERS)
        except FeaturesError as error:
            reason = str(error).partition(";")[0]
            raise DISTSError(
                f"{reason}; use --lpips-weights DIR with vgg16_features.safetensors in it"
            ) from error
        for index, layer in enumerate(network.features):
            if isinstance(layer, nn.MaxPool2d):
                network.features[index] = _L2Pooling()
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network = network.to(self._device)
        alpha, beta = (part.to(self._device) for part in _weighting())
        self._texture = torch.split(alpha, _CHANNELS, 1)
        self._structure = torch.split(beta, _CHANNELS, 1)

    def __call__(self, sr: np.ndarray, hr: np.ndarray) -> float:
        """The distance of two pictures, in either order.

        Args:
            sr, hr: (H, W, 3) RGB uint8 of one shape, each side at least 16 pixels.

        Raises:
            ValueError: the pictures have another form.
        """
        check_pair(sr, hr)
        if min(hr.shape[:2]) < _SMALLEST:
            height, width = hr.shape[:2]
            raise ValueError(
                f"{width} x {height} pixels are too few: DISTS needs {_SMALLEST} a side"
            )
        similar = 0.0
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            pairs = zip(self._features(sr), self._features(hr), strict=True)
            for (a, b), alpha, beta in zip(pairs, self._texture, self._structure, strict=True):
                similar += _similarity(a, b, alpha, beta).item()
        return 1 - similar

    def _features(self, image: np.ndarray) -> list[Tensor]:
        """The picture and its features, 1 x C x H x W each."""
        pixels = torch.as_tensor(np.ascontiguousarray(image), device=self._device)
        picture = pixels.permute(2, 0, 1)[None].float() / 255
        return [picture, *self._network(picture)]


def _similarity(a: Tensor, b: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """The weighted similarity of features: equations 4 to 6, summed over channels."""
    mean_a, mean_b = (x.mean((2, 3), keepdim=True) for x in (a, b))
    of_a, of_b = (
        (x - mean).square().mean((2, 3), keepdim=True) for x, mean in ((a, mean_a), (b, mean_b))
    )
    shared = (a * b).mean((2, 3), keepdim=True) - mean_a * mean_b
    means = (2 * mean_a * mean_b + _STABLE) / (mean_a.square() + mean_b.square() + _STABLE)
    correlations = (2 * shared + _STABLE) / (of_a + of_b + _STABLE)
    return (alpha * means + beta * correlations).sum()


class _L2Pooling(nn.Module):
    """Halves both sides without aliasing: the root of squares under a Hann window (section 2.2)."""

    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        hann = torch.hann_window(5, periodic=False)[1:-1]
        window = torch.outer(hann, hann)
        self.register_buffer("window", (window / window.sum())[None, None])

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        kernel = self.window.expand(channels, -1, -1, -1)
        squares = conv2d(x.square(), kernel, stride=2, padding=1, groups=channels)
        return (squares + 1e-12).sqrt()


def _weighting() -> tuple[Tensor, Tensor]:
    """The share of each channel's texture, alpha, and structure, beta: 1 x 1475 x 1 x 1 each."""
    package = find_spec("DISTS_pytorch")  # importing it would import torchvision for nothing
    if package is None or package.origin is None:
        raise DISTSError("DISTS needs the package DISTS_pytorch: pip install DISTS_pytorch")
    path = Path(package.origin).with_name("weights.pt")
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
        alpha, beta = tensors["alpha"].detach(), tensors["beta"].detach()
    except Exception as error:  # a damaged file can raise nearly anything here
        raise DISTSError(f"{path}: damaged; install DISTS_pytorch again") from error
    total = alpha.sum() + beta.sum()
    return alpha / total, beta / total
