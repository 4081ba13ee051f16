"""A network in training: device, precision, processes, gradients, updates."""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from srgan.networks.winograd import use_winograd
from srgan.training.optimizers import build_optimizer
from srgan.training.options import OptimizerOptions

OWN = ("initial_lr", "betas")  # of an optimizer: its options decide, not a state it loads


class NetworkInTraining:
    """A network with its optimizer, on the device and in the precision of the accelerator."""

    def __init__(
        self, network: nn.Module, options: OptimizerOptions, accelerator: Accelerator
    ) -> None:
        placed(network, accelerator).train()
        if options.freeze_bn:
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        self.optimizer: Optimizer = build_optimizer(
            network,
            options.optimizer,
            rate=options.rate,
            muon_rate=options.muon_rate,
            betas=options.betas,
        )
        self.network = network
        self._wrapped: nn.Module = accelerator.prepare_model(network)
        self._clip = options.clip
        self._accelerator = accelerator

    def __call__(self, x: Tensor) -> Tensor:
        return self._wrapped(x)

    def bare(self, x: Tensor) -> Tensor:
        """The network without DDP, which would wait for the backward pass of its parameters."""
        return self.network(x)

    def accumulating(self, last: bool) -> Any:
        """The context of a micro-batch: processes exchange gradients in the last one only."""
        return nullcontext() if last else self._accelerator.no_sync(self._wrapped)

    def gradients(self, loss: Tensor, at: list[Tensor]) -> list[Tensor | None]:
        """The gradients of a loss at some tensors, and nowhere else; None where it has none."""
        scaler = self._accelerator.scaler
        scale = scaler.get_scale() if scaler is not None else 1.0
        found = torch.autograd.grad(scale * loss, at, allow_unused=True)
        return [None if gradient is None else gradient / scale for gradient in found]

    def backward(self, loss: Tensor) -> None:
        self._accelerator.backward(loss)

    def update(self) -> Tensor:
        """Move the weights along their gradients, unless one is not finite; forget them.

        Returns 1 where the weights moved, 0 where they did not.
        """
        scaler = self._accelerator.scaler
        if scaler is not None:
            scaler.unscale_(self.optimizer)
        parameters = list(self.network.parameters())
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        finite = norm.isfinite()
        if finite:
            if self._clip is not None:
                nn.utils.clip_grads_with_norm_(parameters, self._clip, norm)
            if scaler is None:
                self.optimizer.step()
            else:
                scaler.step(self.optimizer)
        if scaler is not None:
            scaler.update()
        self.optimizer.zero_grad()
        return finite.float()

    def state_dict(self) -> dict[str, Any]:
        return {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        own = [
            {name: group[name] for name in OWN if name in group}
            for group in self.optimizer.param_groups
        ]
        self.optimizer.load_state_dict(state["optimizer"])
        for group, options in zip(self.optimizer.param_groups, own, strict=True):
            group.update(options)


def placed(network: nn.Module, accelerator: Accelerator) -> nn.Module:
    """Move a network to the device, and make its convolutions those that are fastest there."""
    device: Any = accelerator.device
    if device.type == "cpu" and accelerator.mixed_precision == "no":
        use_winograd(network)
    return network.to(device).to(memory_format=torch.channels_last)
