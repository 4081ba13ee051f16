"""One update of SRResNet: the generator follows the pixel loss."""

from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from srgan.engines.base import BORDER
from srgan.networks.generator import Generator
from srgan.training.losses import pixel_loss
from srgan.training.network import NetworkInTraining
from srgan.training.optimizers import scale_rates
from srgan.training.options import OptimizerOptions, PixelLoss, SRResNetOptions
from srgan.training.step import Batch, Means, with_last
from srgan.training.teacher import Teacher


class PixelStep:
    """SRResNet: the generator follows the pixel loss."""

    criterion = measured_by = "psnr_y"

    def __init__(
        self,
        generator: Generator,
        method: SRResNetOptions,
        optimizer: OptimizerOptions,
        accelerator: Accelerator,
    ) -> None:
        self.generator = generator
        self._loss: PixelLoss = method.pixel_loss
        self._border = BORDER * generator.architecture.cell
        self._teacher: Teacher | None = None
        if method.teacher is not None:
            scale = generator.architecture.scale
            self._teacher = Teacher(method.teacher, method.teacher_weight, scale, accelerator)
        self.trained = NetworkInTraining(generator, optimizer, accelerator)

    def __call__(self, batches: list[Batch]) -> dict[str, Tensor]:
        values = Means(len(batches))
        for last, batch in with_last(batches):
            with self.trained.accumulating(last):
                sr = self.trained(batch.lr)
                target = batch.hr if self._teacher is None else self._teacher.target(batch)
                target = flat_target(target, batch.hr, sr, self._border)
                loss = pixel_loss(sr, target, self._loss)
                values.add("loss/pixel", loss)
                self.trained.backward(loss / len(batches))
        values["finite"] = self.trained.update()
        return values

    def scale_rates(self, factor: float) -> None:
        scale_rates(self.trained.optimizer, factor)

    def measure(self, sr: Tensor, hr: Tensor) -> dict[str, float]:  # noqa: ARG002
        return {}

    def warning(self, means: Mapping[str, float]) -> str | None:  # noqa: ARG002
        return None

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self.trained.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.trained.load_state_dict(state["generator"])


def flat_target(target: Tensor, hr: Tensor, sr: Tensor, border: int) -> Tensor:
    """The target, in which crops of one colour in HR keep it, and have no border.

    There the zeros with which convolutions pad are near, and no network can be right. Upscaling
    never shows that border: it continues pictures by their mirror image.

    Args:
        target, hr, sr: N x 3 x H x W.
        border: in SR pixels.
    """
    flat = (hr == hr[..., :1, :1]).flatten(1).all(1)[:, None, None, None]
    inside = torch.zeros(hr.shape[-2:], dtype=torch.bool, device=hr.device)
    inside[border:-border, border:-border] = True
    return torch.where(flat, torch.where(inside, hr, sr.detach().float()), target)
