"""Muon, or the natural gradient, for 3x3 kernels and Adam for the rest, in one optimizer.

Muon moves a weight matrix along its orthogonalised momentum: every singular value of the
update is about 1 (Jordan 2024, https://kellerjordan.github.io/posts/muon/). A kernel is the
matrix out x (in * 9).

The natural gradient is the momentum divided by the curvature of the loss. Batches are small and
the error of a pixel is unpredictable, so gradients are mostly noise. The covariance of this noise
is the curvature times a constant. It is assumed to be diagonal in the eigenbases of E[G G^T] and
E[G^T G], where G is a kernel's gradient (EK-FAC: George et al. 2018, arXiv:1806.03884; bases from
gradients alone: Vyas et al. 2024, arXiv:2409.11321, who divide by the square root).
"""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.adam import adam

from srgan.training.options import OptimizerKind
from srgan.training.precision import cpu_has_fast_bf16

_linalg: Any = torch.linalg  # its functions have no types
_torch: Any = torch  # nor have those for many tensors at once, which torch's optimizers use

MOMENTUM = 0.95
STEPS = 5
# Jordan's quintic: f(x) = a x + b x^3 + c x^5, repeated, takes (0, 1] to about [0.7, 1.2].
QUINTIC = (3.4445, -4.7750, 2.0315)
EPSILON = 1e-8
TINY = 1e-30  # lower bound of divisors
MEMORY = 0.99  # decay of the gradients' second moments at each update
DAMPING = 0.03  # added to the second moments, as a part of their mean
NEW_BASES = (10, 30, 60)  # the first updates with new bases
NEW_BASES_EVERY = 100  # updates, after the first ones
COVARIANCES_EVERY = 4  # updates, after the first 60: covariances change slowly


def build_optimizer(
    network: nn.Module,
    kind: OptimizerKind = "muon",
    *,
    rate: float = 5e-4,
    muon_rate: float = 0.01,
    betas: tuple[float, float] = (0.9, 0.99),
) -> Optimizer:
    """The optimizer of a network: "adam" for all, "muon" or "natural" for its 3x3 kernels.

    A generator has 3x3 kernels in its residual blocks, trunk and upsampling. Its 9x9 head and
    tail, biases, BN and PReLU always use Adam.

    Args:
        rate: Adam's learning rate.
        muon_rate: learning rate of the 3x3 kernels; unused with "adam".
        betas: Adam's decay rates of the first and second moment.
    """
    parameters = list(network.parameters())
    optimizer: Optimizer
    if kind != "adam":
        kernels = [p for p in parameters if p.shape[2:] == (3, 3)]
        others = [p for p in parameters if p.shape[2:] != (3, 3)]
        method = Muon if kind == "muon" else Natural
        optimizer = method(kernels, others, kernel_rate=muon_rate, rate=rate, betas=betas)
    else:
        # One pass over memory instead of ten: the discriminator has 23.6 million parameters.
        optimizer = Adam(parameters, lr=rate, betas=betas, eps=EPSILON, fused=True)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def set_skip(optimizer: Optimizer, skip: Tensor) -> None:
    """Make the next step change nothing if `skip`, a float32 scalar on the device, is 1, not 0.

    The name is that of torch's fused optimizers, which GradScaler makes skip in this way.
    """
    optimizer.found_inf = skip  # pyright: ignore[reportAttributeAccessIssue]


def scale_rates(optimizer: Optimizer, factor: float) -> None:
    """Set every learning rate to `factor` times what `build_optimizer` was given."""
    for group in optimizer.param_groups:
        group["lr"] = factor * group["initial_lr"]


class KernelOptimizer(Optimizer, ABC):
    """A subclass's method for `kernels` (4-D), Adam for `others`.

    Parameters without a gradient are not updated. The state belongs to a parameter: for a kernel,
    the subclass defines it; for the others it is that of torch's Adam, "exp_avg", "exp_avg_sq"
    and "step".

    Attributes:
        found_inf: see `set_skip`; None for a step that is not skipped.
    """

    found_inf: Tensor | None = None

    def __init__(
        self,
        kernels: Iterable[Tensor],
        others: Iterable[Tensor],
        *,
        kernel_rate: float,
        rate: float,
        betas: tuple[float, float],
    ) -> None:
        groups: list[dict[str, Any]] = [
            {"params": list(kernels), "method": "kernels", "lr": kernel_rate},
            # "fused" makes load_state_dict put the step counts where fused Adam needs them.
            {"params": list(others), "method": "adam", "lr": rate, "betas": betas, "fused": True},
        ]
        super().__init__(groups, {})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter once; returns the result of `closure`, like torch's optimizers."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            update = self._adam_step if group["method"] == "adam" else self._kernel_step
            update(group, [p for p in group["params"] if p.grad is not None])
        return loss

    @abstractmethod
    def _kernel_step(self, group: dict[str, Any], kernels: list[Tensor]) -> None:
        """Update kernels that have gradients."""

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
            found_inf=self.found_inf,
        )


class Muon(KernelOptimizer):
    """Muon for kernels. A kernel's state is its "momentum"."""

    def _kernel_step(self, group: dict[str, Any], kernels: list[Tensor]) -> None:
        alike: dict[Any, list[Tensor]] = defaultdict(list)
        for kernel in kernels:
            alike[kernel.shape, kernel.device].append(kernel)
        for same_shape in alike.values():
            # A GPU takes all at once. In a CPU's cache, one kernel stays for all operations.
            one_by_one = same_shape[0].device.type == "cpu"
            parts = [[kernel] for kernel in same_shape] if one_by_one else [same_shape]
            matrices = torch.cat([self._nesterov(part).flatten(2) for part in parts])
            rows, columns = matrices.shape[1:]
            updates = orthogonalise(matrices)
            if self.found_inf is not None:
                updates = updates * (1 - self.found_inf)
            rate = group["lr"] * max(1, rows / columns) ** 0.5
            updates = updates.view(-1, *same_shape[0].shape)
            _torch._foreach_add_(same_shape, updates.unbind(), alpha=-rate)

    def _nesterov(self, kernels: list[Tensor]) -> Tensor:
        """Average the gradients of kernels of one shape into their momenta.

        Returns:
            The momenta one step ahead, with the kernels along the first dimension.
        """
        for kernel in kernels:
            if not self.state[kernel]:
                self.state[kernel]["momentum"] = torch.zeros_like(kernel)
        # In training, channels lie side by side in memory.
        kept = [self.state[kernel]["momentum"].permute(0, 2, 3, 1) for kernel in kernels]
        momenta = torch.stack(kept)
        gradients = torch.stack([_gradient(kernel).permute(0, 2, 3, 1) for kernel in kernels])
        if self.found_inf is not None:
            # The mean of a momentum and itself is that momentum, to the bit.
            gradients = torch.where(self.found_inf > 0, momenta, gradients)
        momenta = momenta.lerp(gradients, 1 - MOMENTUM)
        _torch._foreach_copy_(kept, momenta.unbind())
        return gradients.lerp(momenta, MOMENTUM).permute(0, 1, 4, 2, 3)


class Natural(KernelOptimizer):
    """The natural gradient for kernels. Its updates are as long as Muon's, so rates are the same.

    A kernel's state: "left" and "right", the covariances of its gradients; "left_basis" and
    "right_basis", their eigenvectors; "momentum" and the "variance" of its gradients, both in
    these bases; "updates", their number, with those that were skipped. This takes 3 MB for a
    kernel of 64 to 64 channels. Kernels are not updated until the tenth step, which computes the
    first bases.
    """

    def _kernel_step(self, group: dict[str, Any], kernels: list[Tensor]) -> None:
        for kernel in kernels:
            state = self._observed(kernel)
            if "left_basis" not in state:
                continue
            variance = state["variance"]
            damped = variance + DAMPING * variance.mean()
            update = state["momentum"] / damped.clamp_min(TINY)
            update = state["left_basis"] @ update @ state["right_basis"].mT
            length: Tensor = _linalg.matrix_norm(update).clamp_min(TINY)
            update *= len(update) ** 0.5 / length * self._kept()
            kernel.add_(update.view(kernel.shape), alpha=-group["lr"])

    def _kept(self) -> float | Tensor:
        """1, or 0 in a step that changes nothing."""
        return 1.0 if self.found_inf is None else 1 - self.found_inf

    def _observed(self, kernel: Tensor) -> dict[str, Any]:
        """The kernel's state after its gradient is averaged in."""
        gradient = _gradient(kernel).flatten(1)
        if self.found_inf is not None:
            gradient = gradient.masked_fill(self.found_inf > 0, 0)
        kept = self._kept()
        state = self.state[kernel]
        if not state:
            rows, columns = gradient.shape
            state["updates"] = 0
            state["momentum"] = torch.zeros_like(gradient)
            state["variance"] = torch.zeros_like(gradient)
            state["left"] = gradient.new_zeros(rows, rows)
            state["right"] = gradient.new_zeros(columns, columns)
        state["updates"] += 1
        every = 1 if state["updates"] <= NEW_BASES[-1] else COVARIANCES_EVERY
        if state["updates"] % every == 0:
            state["left"].lerp_(gradient @ gradient.mT, (1 - MEMORY**every) * kept)
            state["right"].lerp_(gradient.mT @ gradient, (1 - MEMORY**every) * kept)
        if state["updates"] in NEW_BASES or state["updates"] % NEW_BASES_EVERY == 0:
            self._turn(state)
        if "left_basis" in state:
            gradient = state["left_basis"].mT @ gradient @ state["right_basis"]
            state["variance"].lerp_(gradient.square(), (1 - MEMORY) * kept)
        state["momentum"].lerp_(gradient, (1 - MOMENTUM) * kept)
        return state

    def _turn(self, state: dict[str, Any]) -> None:
        """Compute new bases from the covariances and rotate the momentum into them."""
        momentum = state["momentum"]
        if "left_basis" in state:
            momentum = state["left_basis"] @ momentum @ state["right_basis"].mT
        for side in ("left", "right"):
            state[f"{side}_basis"] = _linalg.eigh(state[side]).eigenvectors
        state["momentum"] = state["left_basis"].mT @ momentum @ state["right_basis"]


def orthogonalise(matrices: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """About U V^T of every matrix U S V^T in B x rows x columns, of any scale.

    Five Newton-Schulz steps on all matrices at once. The result's singular values are about
    0.7 to 1.2; those below some thousandths of a matrix's norm become smaller.

    Args:
        dtype: of the products. By default bfloat16 where that is fast, since the result is rough
            anyway, else float32. The result has the dtype of `matrices`.
    """
    if matrices.shape[1] > matrices.shape[2]:
        return orthogonalise(matrices.mT, dtype).mT
    a, b, c = QUINTIC
    norms: Tensor = _linalg.matrix_norm(matrices, keepdim=True)
    x = (matrices / norms.clamp_min(1e-12)).to(dtype or _product_dtype(matrices.device))
    for _ in range(STEPS):
        gram = x @ x.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return x.to(matrices.dtype)


def _product_dtype(device: torch.device) -> torch.dtype:
    fast = device.type == "cuda" or (device.type == "cpu" and cpu_has_fast_bf16())
    return torch.bfloat16 if fast else torch.float32


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None  # step() passes only parameters with gradients
    return parameter.grad
