"""Exponential moving average (EMA) of a network's weights: validation and model files use it."""

from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

# (means, new values, unused): moves each mean in place.
_Average = Callable[[list[Tensor], list[Tensor], int], None]


class EMA:
    """The mean over past weights and BN statistics of a network, fp32, on its device.

    Early in a run the mean covers few iterations: the decay of iteration i is at most
    (1 + i) / (10 + i), which soon forgets the first, random weights.

    torch's `AveragedModel` has a fixed decay, copies the weights at its first update and averages
    BN's integer counters. So only torch's update is used, on the tensors themselves.

    Args:
        network: its tensors are read at every update; they must not be replaced.
        decay: weight of the past at each update, 0 to 1. 0 follows the network.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay = decay
        self._source = _float_tensors(network)
        self._mean = {name: tensor.clone() for name, tensor in self._source.items()}

    @torch.no_grad()
    def update(self, iteration: int) -> None:
        """Average in the network's weights after `iteration`, counted from 1."""
        decay = min(self._decay, (1 + iteration) / (10 + iteration)) if self._decay else 0.0
        average = cast(_Average, get_ema_multi_avg_fn(decay))
        average(list(self._mean.values()), list(self._source.values()), 0)

    @torch.no_grad()
    def repair(self) -> None:
        """Replace the network's tensors that are not finite by their means.

        A forward pass that overflows spoils BN's statistics even where no weight moves.
        """
        for name, tensor in self._source.items():
            if not tensor.isfinite().all():
                tensor.copy_(self._mean[name])

    def state_dict(self) -> dict[str, Tensor]:
        """The means, under the names of the network's tensors."""
        return dict(self._mean)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Load the means of `state_dict`. Raises KeyError where one is missing."""
        for name, tensor in self._mean.items():
            tensor.copy_(state[name])


def _float_tensors(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and BN statistics, sharing their memory; BN's batch counters are integers."""
    tensors: dict[str, Tensor] = network.state_dict(keep_vars=False)
    return {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}
