"""One update of the networks: SRResNet's and SRGAN's methods, each in one place.

A step takes a batch and returns the mean of every loss and figure worth a curve, by name. It
owns its networks and optimizers; the trainer never asks which step it has. SRGAN's terms have
their gradients taken one by one at SR, or at VGG's features of it, where their norms tell the
terms' shares; their sum goes on through VGG and the generator: one backward pass.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from srgan.networks.discriminator import Discriminator, FeatureDiscriminator
from srgan.networks.features import FeatureExtractor
from srgan.networks.generator import Generator
from srgan.training.losses import (
    consistency_loss,
    content_loss,
    discriminator_loss,
    generator_adversarial_loss,
    grid_loss,
    pixel_loss,
    probability,
    relativistic,
    spectrum_loss,
)
from srgan.training.network import NetworkInTraining, placed
from srgan.training.optimizers import scale_rates
from srgan.training.options import OptimizerOptions, PixelLoss, SRGANOptions, SRResNetOptions

WON = 0.98  # mean probability that the discriminator gives the truth
COLLAPSED = 0.01  # difference of the probabilities of HR and SR


class Batch(NamedTuple):
    """LR (N, 3, h, w) and HR (N, 3, scale * h, scale * w), RGB float32 in [0, 1]."""

    lr: Tensor
    hr: Tensor


class _Seen(NamedTuple):
    """A picture, N x 3 x H x W, and VGG's features of it, as the losses get them."""

    picture: Tensor
    features: list[Tensor]

    def detach(self) -> "_Seen":
        return _Seen(self.picture.detach(), [layer.detach() for layer in self.features])


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
        self.trained = NetworkInTraining(generator, optimizer, accelerator)

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
        self.trained = NetworkInTraining(generator, optimizer, accelerator)
        self.discriminator: nn.Module = (
            FeatureDiscriminator(extractor.channels)
            if method.discriminator == "features"
            else Discriminator()
        )
        options = OptimizerOptions(
            optimizer="adam",
            rate=method.discriminator_rate,
            betas=optimizer.betas,
            clip=optimizer.clip,
        )
        self._discriminator = NetworkInTraining(self.discriminator, options, accelerator)
        self._updates = 0

    def __call__(self, batches: list[Batch]) -> dict[str, Tensor]:
        values = Means(len(batches))
        judged = []
        for last, batch in _with_last(batches):
            with self.trained.accumulating(last):
                judged.append(self._generator_backward(batch, values))
        finite = self.trained.update()
        for (last, _), (sr, hr) in zip(_with_last(batches), judged, strict=True):
            with self._discriminator.accumulating(last):
                self._discriminator_backward(sr, hr, values)
        values["finite"] = torch.minimum(finite, self._discriminator.update())
        self._updates += 1
        return values

    def _generator_backward(self, batch: Batch, values: "Means") -> tuple[_Seen, _Seen]:
        """Add to the generator's gradients; returns what the losses saw of SR, detached, and HR."""
        sr = self.trained(batch.lr)
        outputs = [sr, *self._needed_features(self._window(sr))]
        # The terms are computed on copies: their gradients go to SR or to the features, no
        # further, and neither VGG nor the discriminator gets one. In fp32, as fp16 is too coarse.
        copies = [output.detach().float().requires_grad_() for output in outputs]
        seen_sr = _Seen(self._window(copies[0]), copies[1:])
        with torch.no_grad():
            window = self._window(batch.hr)
            seen_hr = _Seen(window, self._needed_features(window))
        pull = [torch.zeros_like(copy) for copy in copies]
        for name, weight, loss in self._terms(copies[0], batch.hr, seen_sr, seen_hr):
            values.add(f"loss/{name}", loss)
            gradients = self.trained.gradients(weight * loss, copies)
            found = [gradient for gradient in gradients if gradient is not None]
            values.add(f"gradient/{name}", nn.utils.get_total_norm(found))
            pull = [x if y is None else x + y for x, y in zip(pull, gradients, strict=True)]
        products = [(x.float() * y).sum() for x, y in zip(outputs, pull, strict=True)]
        self.trained.backward(torch.stack(products).sum() / values.parts)
        return seen_sr.detach(), seen_hr

    def _terms(
        self, sr: Tensor, hr: Tensor, seen_sr: _Seen, seen_hr: _Seen
    ) -> list[tuple[str, float, Tensor]]:
        """Name, weight and loss of the generator's terms."""
        method = self._method
        terms = []
        if method.content_weight:
            loss = content_loss(seen_sr.features, seen_hr.features, method.content_loss)
            terms.append(("content", method.content_weight, loss))
        if method.adversarial_weight:
            loss = self._adversarial_loss(seen_sr, seen_hr)
            terms.append(("adversarial", method.adversarial_weight, loss))
        if method.pixel_weight:
            terms.append(("pixel", method.pixel_weight, pixel_loss(sr, hr, method.pixel_loss)))
        scale = self.generator.architecture.scale
        if method.consistency_weight:
            loss = consistency_loss(sr, hr, scale)
            terms.append(("consistency", method.consistency_weight, loss))
        if method.grid_weight:
            terms.append(("grid", method.grid_weight, grid_loss(sr, hr, scale)))
        if method.spectrum_weight:
            terms.append(("spectrum", method.spectrum_weight, spectrum_loss(sr, hr)))
        return terms

    def _adversarial_loss(self, sr: _Seen, hr: _Seen) -> Tensor:
        logits = self._logits(self._discriminator.bare, sr)
        if self._method.adversarial_loss == "relativistic":
            with torch.no_grad():
                others = self._logits(self._discriminator.bare, hr)
            logits = relativistic(logits, others)
        return generator_adversarial_loss(logits)

    def _window(self, picture: Tensor) -> Tensor:
        """What VGG and the discriminator see of SR or HR in this iteration.

        Poolings and strides of 2 have a grid of their own, which lies on the generator's (pixel
        shuffling's) in the same way in every crop: a fixed pattern of SR that flatters it costs
        nothing. Seen from another of the scale x scale pixels in every iteration, it does.
        """
        if not self._method.jitter:
            return picture
        scale = self.generator.architecture.scale
        top, left = divmod(self._updates % scale**2, scale)
        height, width = (side - scale for side in picture.shape[-2:])
        return picture[..., top : top + height, left : left + width]

    def _needed_features(self, picture: Tensor) -> list[Tensor]:
        """None where no loss is computed from them: VGG is a third of the step."""
        method = self._method
        needed = method.content_weight or method.discriminator == "features"
        return self._features(picture) if needed else []

    def _features(self, picture: Tensor) -> list[Tensor]:
        with self._accelerator.autocast():
            return self.extractor(picture)

    def _logits(self, discriminator: Callable[[Any], Any], seen: _Seen) -> Sequence[Tensor]:
        """Those of each head."""
        if self._method.discriminator == "features":
            return discriminator(seen.features)
        return [discriminator(seen.picture)]

    def _discriminator_backward(self, sr: _Seen, hr: _Seen, values: "Means") -> None:
        logits_hr, logits_sr = (self._logits(self._discriminator, seen) for seen in (hr, sr))
        if self._method.adversarial_loss == "relativistic":
            logits_hr, logits_sr = (
                relativistic(logits_hr, logits_sr),
                relativistic(logits_sr, logits_hr),
            )
        loss = discriminator_loss(logits_hr, logits_sr)
        values.add("loss/discriminator", loss)
        values.add("d_hr", probability(logits_hr))
        values.add("d_sr", probability(logits_sr))
        self._discriminator.backward(loss / values.parts)

    def scale_rates(self, factor: float) -> None:
        scale_rates(self.trained.optimizer, factor)
        scale_rates(self._discriminator.optimizer, factor)

    def measure(self, sr: Tensor, hr: Tensor) -> dict[str, float]:
        with torch.no_grad():
            features = self._features(sr), self._features(hr)
            return {"content": float(content_loss(*features, self._method.content_loss))}

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
            "updates": self._updates,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.trained.load_state_dict(state["generator"])
        self._discriminator.load_state_dict(state["discriminator"])
        self._updates = state["updates"]


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
