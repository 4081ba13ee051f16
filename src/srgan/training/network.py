"""A network in training: device, precision, processes, gradients, updates."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from srgan.networks.winograd import use_winograd
from srgan.training.optimizers import build_optimizer, set_skip
from srgan.training.options import OptimizerOptions

OWN = ("initial_lr", "betas")  # of an optimizer: set by the options, not by a loaded state


class NetworkInTraining:
    """A network with its optimizer, on the accelerator's device and in its precision."""

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
        """The network's output, in a forward pass whose gradients processes exchange."""
        return self._wrapped(x)

    def bare(self, x: Tensor) -> Tensor:
        """The output without DDP, which would wait for a backward pass to the parameters."""
        return self.network(x)

    def accumulating(self, last: bool) -> Any:
        """The context of a micro-batch. Processes exchange gradients only in the last one."""
        return nullcontext() if last else self._accelerator.no_sync(self._wrapped)

    def gradients(self, loss: Tensor, at: list[Tensor]) -> list[Tensor | None]:
        """The gradients of a loss at some tensors only; None for one that it does not reach."""
        scaler = self._accelerator.scaler
        # The scale stays on the device: to read it would wait for all work there.
        scale = None if scaler is None else scaler.scale(torch.ones_like(loss))
        found = cast(  # torch's types lack the None of `allow_unused`
            Sequence[Tensor | None],
            torch.autograd.grad(loss if scale is None else scale * loss, at, allow_unused=True),
        )
        if scale is None:
            return list(found)
        return [None if gradient is None else gradient / scale for gradient in found]

    def backward(self, loss: Tensor) -> None:
        """Add a loss's gradients to those of the parameters."""
        self._accelerator.backward(loss)

    def backward_from(self, pulled: Sequence[tuple[Tensor, Tensor]], parts: int) -> None:
        """Add a part of a loss's gradients to those of the parameters.

        Args:
            pulled: outputs, and the loss's gradient at each, float32.
            parts: the gradients are divided by it.
        """
        scaler = self._accelerator.scaler
        gradients: list[Tensor] = []
        for output, gradient in pulled:
            part = gradient if parts == 1 else gradient / parts
            scaled = part if scaler is None else scaler.scale(part)
            gradients.append(scaled.to(output.dtype))
        torch.autograd.backward([output for output, _ in pulled], gradients)

    def update(self) -> Tensor:
        """Move the weights along their gradients, unless one is not finite; clear the gradients.

        The device decides that, by itself: a process that asked for the decision would wait for
        all work that is queued there.

        Returns:
            A float32 scalar on the device: 1 if the weights moved, else 0.
        """
        scaler = self._accelerator.scaler
        if scaler is not None:
            scaler.unscale_(self.optimizer)
        parameters = list(self.network.parameters())
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        finite = norm.isfinite().float()
        if self._clip is not None:
            nn.utils.clip_grads_with_norm_(parameters, self._clip, norm)
        set_skip(self.optimizer, 1 - finite)
        self.optimizer.step()
        if scaler is not None:
            scaler.update()
        self.optimizer.zero_grad()
        return finite

    def state_dict(self) -> dict[str, Any]:
        """The states of the network and of its optimizer."""
        return {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load both states; the learning rates and the betas stay those of the options."""
        self.network.load_state_dict(state["network"])
        own = [
            {name: group[name] for name in OWN if name in group}
            for group in self.optimizer.param_groups
        ]
        self.optimizer.load_state_dict(state["optimizer"])
        for group, options in zip(self.optimizer.param_groups, own, strict=True):
            group.update(options)


def placed(network: nn.Module, accelerator: Accelerator) -> nn.Module:
    """Move a network to the device and give it the convolutions that are fastest there."""
    device: Any = accelerator.device
    if device.type == "cpu" and accelerator.mixed_precision == "no":
        use_winograd(network)
    return network.to(device).to(memory_format=torch.channels_last)
