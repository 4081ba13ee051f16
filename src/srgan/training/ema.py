"""Exponential moving average of a network's weights: what is validated and saved."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class EMA:
    """The mean over past weights and BN statistics of a network, fp32, on its device.

    Early on the mean is over few iterations: the decay of iteration i is at most
    (1 + i) / (10 + i), so that the first, random weights are soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay = decay
        self._source = _float_tensors(network)
        self._mean = {name: tensor.clone() for name, tensor in self._source.items()}

    @torch.no_grad()
    def update(self, iteration: int) -> None:
        """Take in the network's weights after `iteration`, counted from 1."""
        decay = min(self._decay, (1 + iteration) / (10 + iteration)) if self._decay else 0.0
        for name, mean in self._mean.items():
            mean.lerp_(self._source[name], 1 - decay)

    @torch.no_grad()
    def repair(self) -> None:
        """Put the means in the place of what is not finite in the network.

        A forward pass that overflows spoils BN's statistics even where no weight moves.
        """
        for name, tensor in self._source.items():
            if not tensor.isfinite().all():
                tensor.copy_(self._mean[name])

    def state_dict(self) -> dict[str, Tensor]:
        """The means, named as the network's tensors."""
        return dict(self._mean)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        for name, tensor in self._mean.items():
            tensor.copy_(state[name])


def _float_tensors(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and BN statistics, sharing their memory; BN's batch counters are integers."""
    tensors = network.state_dict(keep_vars=False)
    return {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}
