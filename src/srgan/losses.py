"""Pixel, content and adversarial losses (Ledig et al. 2017, arXiv:1609.04802, section 2.2).

Pictures are RGB in [0, 1], N x 3 x H x W; logits are N x 1. Every loss is a float32 scalar, a
mean over the batch, computed in float32 whatever autocast makes of the networks.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from srgan.degrade import reduced
from srgan.training_config import ContentLoss, PixelLoss

CHARBONNIER_EPSILON = 1e-3
TINY = 1e-6  # mean feature of a black layer


def pixel_loss(sr: Tensor, hr: Tensor, kind: PixelLoss = "mse") -> Tensor:
    """Mean over all samples of a function of d = SR - HR.

    "mse": d^2 (equation 4). "l1": |d|. "charbonnier": sqrt(d^2 + e^2), e = 1e-3 (Lai et al.
    2017, arXiv:1704.03915, equation 2).
    """
    difference = sr.float() - hr.float()
    if kind == "mse":
        return difference.square().mean()
    if kind == "l1":
        return difference.abs().mean()
    return (difference.square() + CHARBONNIER_EPSILON**2).sqrt().mean()


def content_loss(
    extractor: Callable[[Tensor], Sequence[Tensor]],
    sr: Tensor,
    hr: Tensor,
    kind: ContentLoss = "mse",
) -> Tensor:
    """How far features phi(SR) are from phi(HR), the mean over the layers of the `extractor`.

    "mse": mean((phi(SR) - phi(HR))^2) over a layer's N, C, H and W (equation 5). "relative":
    mean(|phi(SR) - phi(HR)|) / mean(|phi(HR)|), about 0.5 to 1 in every layer for the SR of an
    SRResNet, so that shallow and deep ones weigh the same. HR is a constant: no gradient goes to
    it.
    """
    with torch.no_grad():
        targets = [target.float() for target in extractor(hr)]
    losses = []
    for features, target in zip(extractor(sr), targets, strict=True):
        difference = features.float() - target
        if kind == "mse":
            losses.append(difference.square().mean())
        else:
            losses.append(difference.abs().mean() / target.abs().mean().clamp_min(TINY))
    return torch.stack(losses).mean()


def consistency_loss(sr: Tensor, hr: Tensor, scale: int) -> Tensor:
    """mean(|R(SR) - R(HR)|), R being the bicubic reduction.

    Of all HR with the same reduction none is preferred: it holds colours and brightness, and
    leaves texture to the other losses. R(HR) is the bicubic LR; a blurry one would teach blur.
    """
    with torch.no_grad():
        target = reduced(hr.float(), scale)
    return (reduced(sr.float(), scale) - target).abs().mean()


def generator_adversarial_loss(logits_sr: Tensor) -> Tensor:
    """mean(-log(sigmoid(D(SR)))): how far SR is from passing for HR (equation 6).

    BCE with logits against the label 1. Equation 6 sums over the batch; this is its mean.
    """
    return _cross_entropy(logits_sr, label=1)


def discriminator_loss(logits_hr: Tensor, logits_sr: Tensor) -> Tensor:
    """mean(-log(sigmoid(D(HR)))) + mean(-log(1 - sigmoid(D(SR)))) (equation 2, negated).

    BCE with logits, HR labelled 1 and SR 0. The sum of both halves, as in equation 2, not
    their mean: a discriminator that knows nothing has the loss 2 log 2.
    """
    return _cross_entropy(logits_hr, label=1) + _cross_entropy(logits_sr, label=0)


def _cross_entropy(logits: Tensor, label: float) -> Tensor:
    logits = logits.float()
    return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))
