"""Random weights of VGG and AlexNet that keep the size of activations."""

import torch
from torch import nn
from torchvision import models

Weights = dict[str, torch.Tensor]


def torchvision_features(network: str) -> nn.Sequential:
    """torchvision's layers, as it builds them, without memory for their weights."""
    with torch.device("meta"):
        return getattr(models, network)(weights=None, init_weights=False).features


def random_weights(network: str, layers: int) -> Weights:
    """Weights for the first layers that keep the activations' size from layer to layer."""
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name, tensor in torchvision_features(network)[:layers].state_dict().items():
        deviation = (2 / tensor[0].numel()) ** 0.5 if tensor.ndim == 4 else 0.1
        weights[f"features.{name}"] = deviation * torch.randn(tensor.shape, generator=generator)
    return weights
