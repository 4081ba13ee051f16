"""One update of SRResNet: the generator follows the pixel loss."""

from collections.abc import Mapping
from typing import Any

from accelerate import Accelerator
from torch import Tensor

from srgan.networks.generator import Generator
from srgan.training.losses import pixel_loss
from srgan.training.network import NetworkInTraining
from srgan.training.optimizers import scale_rates
from srgan.training.options import OptimizerOptions, PixelLoss, SRResNetOptions
from srgan.training.step import Batch, Means, with_last
from srgan.training.teacher import Teacher


class PixelStep:
    """SRResNet: the generator follows the pixel loss."""

    criterion = "psnr_y"

    def __init__(
        self,
        generator: Generator,
        method: SRResNetOptions,
        optimizer: OptimizerOptions,
        accelerator: Accelerator,
    ) -> None:
        self.generator = generator
        self._loss: PixelLoss = method.pixel_loss
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
                hr = batch.hr if self._teacher is None else self._teacher.target(batch)
                loss = pixel_loss(sr, hr, self._loss)
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
