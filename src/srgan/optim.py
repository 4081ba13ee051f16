"""Muon for 3x3 kernels and Adam for the rest, in one optimizer.

Muon moves a weight matrix along its orthogonalised momentum: every singular value of the
update is about 1 (Jordan 2024, https://kellerjordan.github.io/posts/muon/). A kernel is the
matrix out x (in * 9).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.adam import adam

from srgan.processor import bf16_is_slow

OptimizerKind = Literal["muon", "adam"]

MOMENTUM = 0.95
STEPS = 5
# Jordan's quintic: f(x) = a x + b x^3 + c x^5, repeated, takes (0, 1] to about [0.7, 1.2].
QUINTIC = (3.4445, -4.7750, 2.0315)
EPSILON = 1e-8


def build_optimizer(
    network: nn.Module,
    kind: OptimizerKind = "muon",
    *,
    rate: float = 5e-4,
    muon_rate: float = 0.01,
    betas: tuple[float, float] = (0.9, 0.99),
) -> Optimizer:
    """The optimizer of a network: "adam" for all of it, or "muon" for its 3x3 kernels.

    A generator's 3x3 kernels are those of its residual blocks, trunk and upsampling; its 9x9
    head and tail, biases, BN and PReLU are Adam's with both kinds.

    Args:
        rate: Adam's learning rate.
        muon_rate: Muon's learning rate; unused with "adam".
        betas: Adam's decay rates of the first and second moment.
    """
    parameters = list(network.parameters())
    optimizer: Optimizer
    if kind == "muon":
        kernels = [p for p in parameters if p.shape[2:] == (3, 3)]
        others = [p for p in parameters if p.shape[2:] != (3, 3)]
        optimizer = Muon(kernels, others, muon_rate=muon_rate, rate=rate, betas=betas)
    else:
        # One pass over memory instead of ten: the discriminator has 23.6 million parameters.
        optimizer = Adam(parameters, lr=rate, betas=betas, eps=EPSILON, fused=True)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def scale_rates(optimizer: Optimizer, factor: float) -> None:
    """Set every learning rate to `factor` times what `build_optimizer` was given."""
    for group in optimizer.param_groups:
        group["lr"] = factor * group["initial_lr"]


class Muon(Optimizer):
    """Muon for `kernels` (4-D), Adam for `others`; a parameter without gradient stays.

    The state is tensors per parameter: a kernel's "momentum"; for the others what torch's Adam
    keeps, "exp_avg", "exp_avg_sq" and "step".
    """

    def __init__(
        self,
        kernels: Iterable[Tensor],
        others: Iterable[Tensor],
        *,
        muon_rate: float,
        rate: float,
        betas: tuple[float, float],
    ) -> None:
        groups: list[dict[str, Any]] = [
            {"params": list(kernels), "method": "muon", "lr": muon_rate},
            # "fused" has load_state_dict put the step counts where fused Adam wants them.
            {"params": list(others), "method": "adam", "lr": rate, "betas": betas, "fused": True},
        ]
        super().__init__(groups, {})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter once; returns what `closure` does, as torch's optimizers."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            update = self._muon_step if group["method"] == "muon" else self._adam_step
            update(group, [p for p in group["params"] if p.grad is not None])
        return loss

    def _muon_step(self, group: dict[str, Any], kernels: list[Tensor]) -> None:
        alike: dict[Any, list[Tensor]] = defaultdict(list)
        for kernel in kernels:
            alike[kernel.shape, kernel.device].append(kernel)
        for same_shape in alike.values():
            matrices = torch.stack([self._nesterov(kernel).flatten(1) for kernel in same_shape])
            rows, columns = matrices.shape[1:]
            rate = group["lr"] * max(1, rows / columns) ** 0.5
            for kernel, update in zip(same_shape, orthogonalise(matrices), strict=True):
                kernel.add_(update.view(kernel.shape), alpha=-rate)

    def _nesterov(self, kernel: Tensor) -> Tensor:
        """Take the kernel's gradient into its momentum, and look one step ahead."""
        state = self.state[kernel]
        if not state:
            state["momentum"] = torch.zeros_like(kernel)
        gradient = _gradient(kernel)
        momentum = state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        return gradient.lerp(momentum, MOMENTUM)

    def _adam_step(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                state["step"] = torch.zeros((), device=parameter.device)
                state["exp_avg"] = torch.zeros_like(parameter)
                state["exp_avg_sq"] = torch.zeros_like(parameter)
        adam(
            parameters,
            [_gradient(p) for p in parameters],
            [self.state[p]["exp_avg"] for p in parameters],
            [self.state[p]["exp_avg_sq"] for p in parameters],
            [],
            [self.state[p]["step"] for p in parameters],
            fused=group["fused"],
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=0,
            eps=EPSILON,
            maximize=False,
        )


def orthogonalise(matrices: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """About U V^T of every matrix U S V^T in B x rows x columns, whatever their scale.

    Five Newton-Schulz steps on all matrices at once. Singular values come out in about
    [0.7, 1.2]; those below some thousandths of a matrix's norm come out smaller.

    Args:
        dtype: of the products; the default is bfloat16 where that is fast, which the rough
            result allows, else float32. The result has the dtype of `matrices`.
    """
    if matrices.shape[1] > matrices.shape[2]:
        return orthogonalise(matrices.mT, dtype).mT
    a, b, c = QUINTIC
    norms = torch.linalg.matrix_norm(matrices, keepdim=True)
    x = (matrices / norms.clamp_min(1e-12)).to(dtype or _product_dtype(matrices.device))
    for _ in range(STEPS):
        gram = x @ x.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return x.to(matrices.dtype)


def _product_dtype(device: torch.device) -> torch.dtype:
    native = device.type == "cuda" or (
        device.type == "cpu" and torch.cpu._is_avx512_bf16_supported() and not bf16_is_slow()
    )
    return torch.bfloat16 if native else torch.float32


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None  # step() has sorted the others out
    return parameter.grad
