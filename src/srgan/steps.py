"""One update of the networks: SRResNet's and SRGAN's methods, each in one place.

A step takes a batch and returns the mean of every loss and figure worth a curve, by name. It
owns its networks and optimizers; the trainer never asks which step it has. Every term's gradient
is taken at the generator's output, where its norm tells the terms' shares, and their sum goes
on through the generator: that costs no more than one backward pass.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor

from srgan.losses import (
    consistency_loss,
    content_loss,
    discriminator_loss,
    generator_adversarial_loss,
    pixel_loss,
)
from srgan.networks.discriminator import Discriminator
from srgan.networks.features import FeatureExtractor
from srgan.networks.generator import Generator
from srgan.optim import scale_rates
from srgan.trained import Trained, placed
from srgan.training_config import OptimizerOptions, PixelLoss, SRGANOptions, SRResNetOptions

WON = 0.98  # mean probability that the discriminator gives the truth
COLLAPSED = 0.01  # difference of the probabilities of HR and SR


class Batch(NamedTuple):
    """LR (N, 3, h, w) and HR (N, 3, scale * h, scale * w), RGB float32 in [0, 1]."""

    lr: Tensor
    hr: Tensor


class Step(Protocol):
    """What the trainer knows of a method.

    Attributes:
        generator: the bare network.
        criterion: the validation figure that says which model is best; the higher the better,
            or with a leading "-" the lower.
    """

    generator: Generator
    criterion: str

    def __call__(self, batches: list[Batch]) -> dict[str, Tensor]:
        """Update the networks once with the mean gradient of the micro-batches.

        Returns float32 scalars on the device, among them "finite": 0 where a gradient was not
        finite and the update was skipped, else 1.
        """
        ...

    def scale_rates(self, factor: float) -> None:
        """Set every learning rate to `factor` times its own."""
        ...

    def measure(self, sr: Tensor, hr: Tensor) -> dict[str, float]:
        """Validation figures of this method for a picture, 1 x 3 x H x W."""
        ...

    def warning(self, means: Mapping[str, float]) -> str | None:
        """What is wrong with the run, in a line, by the means of the last iterations."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


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
        self.trained = Trained(generator, optimizer, accelerator)

    def __call__(self, batches: list[Batch]) -> dict[str, Tensor]:
        values = Means(len(batches))
        for last, batch in _with_last(batches):
            with self.trained.accumulating(last):
                sr = self.trained(batch.lr)
                loss = pixel_loss(sr, batch.hr, self._loss)
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


class AdversarialStep:
    """SRGAN: the generator follows VGG features and a discriminator, which learns beside it."""

    criterion = "-content"

    def __init__(
        self,
        generator: Generator,
        method: SRGANOptions,
        optimizer: OptimizerOptions,
        accelerator: Accelerator,
    ) -> None:
        self.generator = generator
        self._method = method
        self._accelerator = accelerator
        extractor = FeatureExtractor(method.features, method.layer)
        self.extractor = placed(extractor, accelerator)
        self.trained = Trained(generator, optimizer, accelerator)
        self.discriminator = Discriminator()
        muon_rate = method.discriminator_muon_rate
        options = OptimizerOptions(
            optimizer="muon" if muon_rate else "adam",
            rate=method.discriminator_rate,
            muon_rate=muon_rate or OptimizerOptions.muon_rate,
            betas=optimizer.betas,
            clip=optimizer.clip,
        )
        self._discriminator = Trained(self.discriminator, options, accelerator)

    def __call__(self, batches: list[Batch]) -> dict[str, Tensor]:
        values = Means(len(batches))
        made = []
        for last, batch in _with_last(batches):
            with self.trained.accumulating(last):
                made.append(self._generator_backward(batch, values))
        finite = self.trained.update()
        for (last, batch), sr in zip(_with_last(batches), made, strict=True):
            with self._discriminator.accumulating(last):
                self._discriminator_backward(batch.hr, sr, values)
        values["finite"] = torch.minimum(finite, self._discriminator.update())
        return values

    def _generator_backward(self, batch: Batch, values: "Means") -> Tensor:
        """Add to the generator's gradients; returns SR, detached."""
        sr = self.trained(batch.lr)
        gradient = torch.zeros_like(sr)
        for name, weight, loss in self._terms(sr, batch):
            values.add(f"loss/{name}", loss)
            # Only the gradient at SR is asked for: neither VGG nor the discriminator gets one.
            term = weight * self.trained.gradient(loss, sr)
            values.add(f"gradient/{name}", term.norm())
            gradient += term
        self.trained.backward((sr * gradient).sum() / values.parts)
        return sr.detach()

    def _terms(self, sr: Tensor, batch: Batch) -> list[tuple[str, float, Tensor]]:
        """Name, weight and loss of the generator's terms."""
        method, hr = self._method, batch.hr
        terms = []
        if method.content_weight:
            loss = self._content_loss(sr, hr)
            terms.append(("content", method.content_weight, loss))
        if method.adversarial_weight:
            loss = generator_adversarial_loss(self._discriminator.bare(sr))
            terms.append(("adversarial", method.adversarial_weight, loss))
        if method.pixel_weight:
            terms.append(("pixel", method.pixel_weight, pixel_loss(sr, hr, method.pixel_loss)))
        if method.consistency_weight:
            loss = consistency_loss(sr, hr, self.generator.architecture.scale)
            terms.append(("consistency", method.consistency_weight, loss))
        return terms

    def _content_loss(self, sr: Tensor, hr: Tensor) -> Tensor:
        with self._accelerator.autocast():
            return content_loss(self.extractor, sr, hr, self._method.content_loss)

    def _discriminator_backward(self, hr: Tensor, sr: Tensor, values: "Means") -> None:
        logits_hr, logits_sr = self._discriminator(hr), self._discriminator(sr)
        loss = discriminator_loss(logits_hr, logits_sr)
        values.add("loss/discriminator", loss)
        values.add("d_hr", logits_hr.sigmoid().mean())
        values.add("d_sr", logits_sr.sigmoid().mean())
        self._discriminator.backward(loss / values.parts)

    def scale_rates(self, factor: float) -> None:
        scale_rates(self.trained.optimizer, factor)
        scale_rates(self._discriminator.optimizer, factor)

    def measure(self, sr: Tensor, hr: Tensor) -> dict[str, float]:
        with torch.no_grad():
            return {"content": float(self._content_loss(sr, hr))}

    def warning(self, means: Mapping[str, float]) -> str | None:
        hr, sr = means["d_hr"], means["d_sr"]
        if hr > WON and sr < 1 - WON:
            return (
                f"the discriminator has won: D(HR) {hr:.3f}, D(SR) {sr:.3f}; the generator "
                "learns little from it: lower --discriminator-rate"
            )
        if abs(hr - sr) < COLLAPSED:
            return (
                f"the discriminator tells nothing apart: D(HR) {hr:.3f}, D(SR) {sr:.3f}: raise "
                "--discriminator-rate, or lower it if it was raised"
            )
        return None

    def state_dict(self) -> dict[str, Any]:
        return {
            "generator": self.trained.state_dict(),
            "discriminator": self._discriminator.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.trained.load_state_dict(state["generator"])
        self._discriminator.load_state_dict(state["discriminator"])


class Means(dict[str, Tensor]):
    """Means over the micro-batches of an iteration, by name."""

    def __init__(self, parts: int) -> None:
        super().__init__()
        self.parts = parts

    def add(self, name: str, value: Tensor) -> None:
        """Add a micro-batch's value to the mean of that name."""
        part = value.detach().float() / self.parts
        self[name] = self[name] + part if name in self else part


def _with_last(batches: list[Batch]) -> list[tuple[bool, Batch]]:
    """Every batch, and whether it is the last one."""
    return [(i == len(batches) - 1, batch) for i, batch in enumerate(batches)]
