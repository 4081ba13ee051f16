"""Pixel, content and adversarial losses (Ledig et al. 2017, arXiv:1609.04802, section 2.2).

Pictures are RGB in [0, 1], N x 3 x H x W. Every loss is a float32 scalar, a mean over the batch,
and computed in float32 also under autocast. `cell` is `Architecture.cell`: in most networks, the
scale.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from srgan.degradation.bicubic import reduced
from srgan.networks import elementwise
from srgan.pictures.colour import BEND, LUMA_OF_RGB, OFFSET, SLOPE, WHITE, XYZ_FROM_RGB
from srgan.training.options import ContentLoss, PixelLoss

CHARBONNIER_EPSILON = 1e-3
COLOUR_SHARE = 0.2  # of RGB's squared error beside luma's
GRID_WINDOW = 6  # cells
SPECTRUM_WINDOW = 32  # pixels
NEIGHBOURS = 9  # frequencies, side of a square
UNSEEN = 1e-5  # added to powers: about the power of noise of 0.8 8-bit levels, which is invisible
TINY = 1e-6  # added to squared lengths, so that the square root has a gradient at 0

_fft: Any = torch.fft  # it has no types


def pixel_loss(sr: Tensor, hr: Tensor, kind: PixelLoss = "mse") -> Tensor:
    """Mean over all samples of a function of d = SR - HR.

    "mse": d^2 (equation 4). "l1": |d|. "charbonnier": sqrt(d^2 + e^2), e = 1e-3 (Lai et al.
    2017, arXiv:1704.03915, equation 2). "rmse": the mean over crops of
    sqrt(mean(luma d^2) + mean(RGB d^2) / 5). It follows PSNR-Y more closely, which is also
    computed picture by picture.
    """
    difference = sr.float() - hr.float()
    if kind == "mse":
        return difference.square().mean()
    if kind == "l1":
        return difference.abs().mean()
    if kind == "rmse":
        luma = torch.einsum("nchw,c->nhw", difference, _luma(difference.device))
        colour = COLOUR_SHARE * difference.square().mean((1, 2, 3))
        return (luma.square().mean((1, 2)) + colour + UNSEEN).sqrt().mean()
    return (difference.square() + CHARBONNIER_EPSILON**2).sqrt().mean()


def content_loss(sr: Sequence[Tensor], hr: Sequence[Tensor], kind: ContentLoss = "mse") -> Tensor:
    """Distance of VGG's features phi(SR) and phi(HR), each N x C x H x W; the mean over layers.

    "mse": mean((phi(SR) - phi(HR))^2) over a layer's N, C, H and W (equation 5). "unit": the
    same on features normalised to length 1 along C; the sum over C, from 0 to 2 (LPIPS without
    learned weights: Zhang et al. 2018, arXiv:1801.03924, equation 1).
    """
    losses: list[Tensor] = []
    for features, target in zip(sr, hr, strict=True):
        if kind == "mse":
            losses.append((features.float() - target.float()).square().mean())
        else:
            losses.append(_unit_distance(features, target))
    return torch.stack(losses).mean()


def _unit_distance(features: Tensor, target: Tensor) -> Tensor:
    if not target.requires_grad and elementwise.takes_features(features, target):
        return elementwise.unit_distance(features, target, TINY)
    return (_unit(features) - _unit(target)).square().sum(1).mean()


def _unit(features: Tensor) -> Tensor:
    """Features scaled to the length 1 over C, in float32; features of length 0 stay 0."""
    features = features.float()
    return features / (features.square().sum(1, keepdim=True) + TINY).sqrt()


def consistency_loss(sr: Tensor, hr: Tensor, cell: int) -> Tensor:
    """mean(|C(R(SR)) - C(R(HR))|) / 100, with R the bicubic reduction by cell and C CIELAB.

    1 is the distance from black to white. The loss holds colours and brightness at the size of the
    features, and leaves texture to the other losses. CIELAB, since the eye sees a change of hue
    sooner than one of brightness; distances of RGB values let hues drift. The target is bicubic
    LR even if training uses blurry LR; a blurry target would teach blur.
    """
    with torch.no_grad():
        target = _cielab(reduced(hr.float(), cell))
    difference = _cielab(reduced(sr.float(), cell)) - target
    return (difference.square().sum(1) + TINY).sqrt().mean() / 100


def _cielab(picture: Tensor) -> Tensor:
    """As `pictures.colour.cielab`, for RGB in [0, 1] and slightly beyond; N x 3 x H x W."""
    bright = ((picture.clamp(min=0) + 0.055) / 1.055) ** 2.4
    linear = torch.where(picture > 0.04045, bright, picture / 12.92)
    xyz = torch.einsum("ij,njhw->nihw", _to_xyz(picture.device), linear)
    root = xyz.clamp(min=BEND) ** (1 / 3)
    x, y, z = torch.where(xyz > BEND, root, SLOPE * xyz + OFFSET).unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


# A constant that is copied to the device in every step makes the step wait for the device.
@functools.cache
def _luma(device: torch.device) -> Tensor:
    return torch.as_tensor(LUMA_OF_RGB / 255, dtype=torch.float32, device=device)


@functools.cache
def _to_xyz(device: torch.device) -> Tensor:
    return torch.as_tensor(XYZ_FROM_RGB / WHITE[:, None], dtype=torch.float32, device=device)


def grid_loss(sr: Tensor, hr: Tensor, cell: int) -> Tensor:
    """mean(|P(SR) - P(HR)|), with P the pattern that repeats in every cell.

    PixelShuffle has a separate kernel for each of the cell x cell positions, so generators
    easily produce a repeating grid. P is the difference of each of the cell x cell pixels from
    their mean, averaged over windows of 6 x 6 cells (fewer in small crops) at every third cell.
    The average removes most of the natural texture.
    """

    def pattern(picture: Tensor) -> Tensor:
        unshuffled: Tensor = nn.PixelUnshuffle(cell)(picture.float())
        count, _, height, width = unshuffled.shape
        phases = unshuffled.view(count, 3, cell**2, height, width)
        phases = phases - phases.mean(dim=2, keepdim=True)
        window = min(GRID_WINDOW, *phases.shape[-2:])
        return functional.avg_pool2d(phases.flatten(1, 2), window, GRID_WINDOW // 2)

    with torch.no_grad():
        target = pattern(hr)
    return (pattern(sr) - target).abs().mean()


def spectrum_loss(sr: Tensor, hr: Tensor) -> Tensor:
    """mean(max(D, 0)^2) over all frequencies; D compares a frequency with its surroundings.

    D is the ratio of the powers of SR and HR at a frequency, in nats, less the mean of this ratio
    over the 9 x 9 frequencies around it. A generator makes unknown texture at a few frequencies
    only, which shows as leather or ripples. A ratio that changes smoothly with frequency costs
    little: SR has less of the high frequencies, and more of them would be noise. Durall et al.
    2020 (arXiv:2003.01826) compare the spectra themselves.

    The power is that of the mean of R, G and B, in windows of 32 x 32 pixels that overlap by half
    (each minus its mean, times a Hann window), averaged over a picture's windows; its logarithm
    is averaged over the batch.
    """

    def power(picture: Tensor) -> Tensor:
        gray = picture.float().mean(1)
        side = min(SPECTRUM_WINDOW, *gray.shape[-2:])
        windows = gray.unfold(1, side, side // 2).unfold(2, side, side // 2)
        windows = windows - windows.mean((-2, -1), keepdim=True)
        hann = torch.hann_window(side, periodic=False, device=gray.device)
        spectra: Tensor = _fft.fft2(windows * hann * hann[:, None]) / hann.square().sum()
        return (spectra.abs().square().mean((1, 2)) + UNSEEN).log().mean(0)

    with torch.no_grad():
        target = power(hr)
    ratio = (power(sr) - target)[None, None]
    padded = functional.pad(ratio, (NEIGHBOURS // 2,) * 4, "circular")
    return (ratio - functional.avg_pool2d(padded, NEIGHBOURS, 1)).relu().square().mean()


# SRGAN's loss terms that compare SR with HR alone: (SR, HR, cell) to a float32 scalar, by the
# name that `SRGANOptions` gives a weight to.
PICTURE_TERMS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "consistency": consistency_loss,
    "grid": grid_loss,
    "spectrum": lambda sr, hr, _cell: spectrum_loss(sr, hr),
}


def relativistic(logits: Sequence[Tensor], others: Sequence[Tensor]) -> list[Tensor]:
    """Difference of each head's logits and those at the same places of the other picture.

    Used instead of the logits, they give the relativistic GAN (RSGAN, Jolicoeur-Martineau 2019,
    arXiv:1807.00734): the discriminator decides which of SR and its HR is real. The content of the
    picture does not help it, since both show the same.
    """
    return [x.float() - y.float() for x, y in zip(logits, others, strict=True)]


def generator_adversarial_loss(logits_sr: Sequence[Tensor]) -> Tensor:
    """mean(-log(sigmoid(D(SR)))): the generator's loss against the discriminator (equation 6).

    BCE with logits against the label 1. Equation 6 sums over the batch; this is its mean.

    Args:
        logits_sr: one tensor for each head of the discriminator; heads weigh the same.
    """
    return _cross_entropy(logits_sr, label=1)


def discriminator_loss(logits_hr: Sequence[Tensor], logits_sr: Sequence[Tensor]) -> Tensor:
    """mean(-log(sigmoid(D(HR)))) + mean(-log(1 - sigmoid(D(SR)))) (equation 2, negated).

    BCE with logits; the label of HR is 1, that of SR 0. The two halves are added, as in
    equation 2: a discriminator that guesses has the loss 2 log 2.

    Args:
        logits_hr, logits_sr: one tensor for each head; heads weigh the same.
    """
    return _cross_entropy(logits_hr, label=1) + _cross_entropy(logits_sr, label=0)


def probability(logits: Sequence[Tensor]) -> Tensor:
    """Mean probability that the discriminator gives to its input being HR."""
    return torch.stack([head.float().sigmoid().mean() for head in logits]).mean()


def _cross_entropy(logits: Sequence[Tensor], label: float) -> Tensor:
    losses: list[Tensor] = []
    for head in map(Tensor.float, logits):
        labels = torch.full_like(head, label)
        losses.append(functional.binary_cross_entropy_with_logits(head, labels))
    return torch.stack(losses).mean()
