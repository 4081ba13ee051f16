"""The protocol of a step: one update of the networks from one batch.

A step owns its networks and optimizers, and returns named losses for the curves. The trainer
never asks which step it has: `PixelStep` (SRResNet) or `AdversarialStep` (SRGAN).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from srgan.networks.generator import Generator


class Batch(NamedTuple):
    """LR (N, 3, h, w) and HR (N, 3, scale * h, scale * w), RGB float32 in [0, 1]."""

    lr: Tensor
    hr: Tensor


def rgb(pictures: Tensor) -> Tensor:
    """Gray pictures, N x 1 x H x W, as RGB; RGB stays. Networks get gray as three equal colours."""
    return pictures if pictures.shape[1] == 3 else pictures.expand(-1, 3, -1, -1)


class Step(Protocol):
    """A training method, as the trainer sees it.

    Attributes:
        generator: the network itself, without wrappers for several processes.
        criterion: name of the validation metric that selects the best model. Higher is better;
            with a leading "-", lower is better.
        measured_by: identifies how the criterion is computed: values can be compared only where
            this is the same.
    """

    generator: Generator
    criterion: str
    measured_by: str

    def __call__(self, batches: list[Batch]) -> dict[str, Tensor]:
        """Update the networks once with the mean gradient of the micro-batches.

        Returns:
            float32 scalars on the device, by name. "finite" is 0 where a gradient was not finite
            and the update was skipped, else 1.
        """
        ...

    def scale_rates(self, factor: float) -> None:
        """Set every learning rate to `factor` times its own."""
        ...

    def measure(self, sr: Tensor, hr: Tensor) -> dict[str, float]:
        """Validation values of this method's own metrics for one picture.

        Args:
            sr, hr: 1 x 3 x H x W, RGB float32 in [0, 1].
        """
        ...

    def warning(self, means: Mapping[str, float]) -> str | None:
        """A warning in one line where the means of the last iterations show that training fails."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class Means(dict[str, Tensor]):
    """Means over the micro-batches of an iteration, by name."""

    def __init__(self, parts: int) -> None:
        super().__init__()
        self.parts = parts

    def add(self, name: str, value: Tensor) -> None:
        """Add a micro-batch's value to the mean of that name."""
        part = value.detach().float() / self.parts
        self[name] = self[name] + part if name in self else part


def with_last(batches: list[Batch]) -> list[tuple[bool, Batch]]:
    """Every batch, and whether it is the last one."""
    return [(i == len(batches) - 1, batch) for i, batch in enumerate(batches)]
