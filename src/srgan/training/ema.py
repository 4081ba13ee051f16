"""Exponential moving average (EMA) of a network's weights: validation and model files use it."""

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

_torch: Any = torch  # functions for many tensors at once have no types

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
        learned = dict(network.named_parameters())
        self._statistics = [name for name in self._source if name not in learned]
        self._mean = {name: tensor.clone() for name, tensor in self._source.items()}

    @torch.no_grad()
    def update(self, iteration: int) -> None:
        """Average in the network's weights after `iteration`, counted from 1."""
        decay = min(self._decay, (1 + iteration) / (10 + iteration)) if self._decay else 0.0
        self._repair()
        average = cast(_Average, get_ema_multi_avg_fn(decay))
        average(list(self._mean.values()), list(self._source.values()), 0)

    def _repair(self) -> None:
        """Replace BN's statistics that are not finite by their means, without asking the device.

        A forward pass that overflows spoils them even where no weight moves.
        """
        if not self._statistics:
            return
        now, means = ([of[name] for name in self._statistics] for of in (self._source, self._mean))
        joined = torch.cat(now)
        good = torch.where(joined.isfinite(), joined, torch.cat(means))
        _torch._foreach_copy_(now, torch.split(good, [len(tensor) for tensor in now]))

    def finite(self) -> Tensor:
        """A bool on the device: all means are finite."""
        return nn.utils.get_total_norm(list(self._mean.values())).isfinite()

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
