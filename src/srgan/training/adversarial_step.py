"""One update of SRGAN: a generator against a discriminator, both trained (Ledig et al. 2017).

The gradients of the loss terms are taken one by one at SR, or at VGG's features of SR, where their
norms give the shares of the terms. Their sum then passes VGG and the generator backwards, once.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from srgan.networks.discriminator import Discriminator, FeatureDiscriminator
from srgan.networks.features import FeatureExtractor
from srgan.networks.generator import Generator
from srgan.training.losses import (
    PICTURE_TERMS,
    content_loss,
    discriminator_loss,
    generator_adversarial_loss,
    pixel_loss,
    probability,
    relativistic,
)
from srgan.training.network import NetworkInTraining, placed
from srgan.training.optimizers import scale_rates
from srgan.training.options import OptimizerOptions, SRGANOptions
from srgan.training.step import Batch, Means, with_last

WON = 0.98  # mean probability of the right answer, from which the discriminator has won
HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
COLLAPSED = 0.01  # difference of D(HR) and D(SR), below which it cannot tell them apart


class _Seen(NamedTuple):
    """A picture, N x 3 x H x W, and VGG's features of it, as the losses get them."""

    picture: Tensor
    features: list[Tensor]

    def detach(self) -> "_Seen":
        return _Seen(self.picture.detach(), [layer.detach() for layer in self.features])


def _sum(x: Tensor | None, y: Tensor | None) -> Tensor | None:
    if x is None or y is None:
        return x if y is None else y
    return x + y


def _digest(extractor: FeatureExtractor) -> str:
    """Identify VGG's layers and weights. Called before they are converted or placed on a device."""
    digest = hashlib.sha256(str(extractor.layers).encode())
    for tensor in extractor.state_dict().values():
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


class AdversarialStep:
    """SRGAN's update: first the generator, by its loss terms, then the discriminator."""

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
        self.measured_by = f"{method.content_loss} {_digest(extractor)}"
        self.extractor = placed(extractor, accelerator)
        if accelerator.mixed_precision in HALF:
            # Autocast keeps a converted copy of trained weights only: these it would convert again
            # in every pass. The mean and the standard deviation of the input stay float32.
            extractor.features.to(HALF[accelerator.mixed_precision])
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
        judged: list[tuple[_Seen, _Seen]] = []
        for last, batch in with_last(batches):
            with self.trained.accumulating(last):
                judged.append(self._generator_backward(batch, values))
        finite = self.trained.update()
        for (last, _), (sr, hr) in zip(with_last(batches), judged, strict=True):
            with self._discriminator.accumulating(last):
                self._discriminator_backward(sr, hr, values)
        values["finite"] = torch.minimum(finite, self._discriminator.update())
        self._updates += 1
        return values

    def _generator_backward(self, batch: Batch, values: "Means") -> tuple[_Seen, _Seen]:
        """Add a micro-batch to the generator's gradients.

        Returns:
            SR, detached, and HR, as the losses saw them.
        """
        sr = self.trained(batch.lr)
        outputs = [sr, *self._needed_features(self._window(sr))]
        # The terms are computed on copies: their gradients stop at SR or at the features, so that
        # VGG and the discriminator get none. In fp32, since fp16 is too coarse.
        copies = [output.detach().float().requires_grad_() for output in outputs]
        seen_sr = _Seen(self._window(copies[0]), copies[1:])
        with torch.no_grad():
            window = self._window(batch.hr)
            seen_hr = _Seen(window, self._needed_features(window))
        pull: list[Tensor | None] = [None] * len(copies)
        for name, weight, loss in self._terms(copies[0], batch.hr, seen_sr, seen_hr):
            values.add(f"loss/{name}", loss)
            gradients = self.trained.gradients(weight * loss, copies)
            found = [gradient for gradient in gradients if gradient is not None]
            values.add(f"gradient/{name}", nn.utils.get_total_norm(found))
            pull = [_sum(x, y) for x, y in zip(pull, gradients, strict=True)]
        pulled = [(x, y) for x, y in zip(outputs, pull, strict=True) if y is not None]
        self.trained.backward_from(pulled, values.parts)
        return seen_sr.detach(), seen_hr

    def _terms(
        self, sr: Tensor, hr: Tensor, seen_sr: _Seen, seen_hr: _Seen
    ) -> list[tuple[str, float, Tensor]]:
        """Name, weight and loss of the generator's terms."""
        method = self._method
        terms: list[tuple[str, float, Tensor]] = []
        if method.content_weight:
            loss = content_loss(seen_sr.features, seen_hr.features, method.content_loss)
            terms.append(("content", method.content_weight, loss))
        if method.adversarial_weight:
            loss = self._adversarial_loss(seen_sr, seen_hr)
            terms.append(("adversarial", method.adversarial_weight, loss))
        if method.pixel_weight:
            terms.append(("pixel", method.pixel_weight, pixel_loss(sr, hr, method.pixel_loss)))
        cell = self.generator.architecture.cell
        for name, loss in PICTURE_TERMS.items():
            if method.weight(name):
                terms.append((name, method.weight(name), loss(sr, hr, cell)))
        return terms

    def _adversarial_loss(self, sr: _Seen, hr: _Seen) -> Tensor:
        logits = self._logits(self._discriminator.bare, sr)
        if self._method.adversarial_loss == "relativistic":
            with torch.no_grad():
                others = self._logits(self._discriminator.bare, hr)
            logits = relativistic(logits, others)
        return generator_adversarial_loss(logits)

    def _window(self, picture: Tensor) -> Tensor:
        """The part of SR or HR that VGG and the discriminator see in this iteration.

        VGG's strides and PixelShuffle form grids that are always aligned, so a fixed pattern could
        be invisible to VGG. Shifting the view each iteration exposes it.
        """
        if not self._method.jitter:
            return picture
        cell = self.generator.architecture.cell
        top, left = divmod(self._updates % cell**2, cell)
        height, width = (side - cell for side in picture.shape[-2:])
        return picture[..., top : top + height, left : left + width]

    def _needed_features(self, picture: Tensor) -> list[Tensor]:
        """VGG's features, or an empty list where no loss needs them: VGG is a third of the step."""
        method = self._method
        needed = method.content_weight or method.discriminator == "features"
        return self._features(picture) if needed else []

    def _features(self, picture: Tensor) -> list[Tensor]:
        with self._accelerator.autocast():
            return self.extractor(picture)

    def _logits(self, discriminator: Callable[[Any], Any], seen: _Seen) -> Sequence[Tensor]:
        """The discriminator's logits, one tensor for each of its heads."""
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
                f"the discriminator cannot tell HR from SR: D(HR) {hr:.3f}, D(SR) {sr:.3f}: "
                "raise --discriminator-rate, or lower it if it was raised"
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
