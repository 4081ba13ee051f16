"""LR like real small pictures: blurred, resized, noisy, saved as JPEG, often twice."""

from collections.abc import Callable
from math import ceil

import numpy as np
import torch
from torch import Tensor

from srgan.degradation.bicubic import lr_size, round_to_8_bits, unit
from srgan.degradation.blur import Blur, convolve, kernels
from srgan.degradation.device import on_device
from srgan.degradation.draw import Damage, Draw, draw, windows
from srgan.degradation.jpeg import jpeg
from srgan.degradation.ranges import Ranges
from srgan.degradation.resize import Windows, resize, take


@torch.no_grad()
def blurry_lr(
    hr: Tensor, scale: int, rng: np.random.Generator, *, ranges: Ranges, whole: bool = False
) -> Tensor:
    """The LR of a batch, blurred and damaged, each sample in its own way.

    First HR is blurred and resized to an intermediate size. There some samples get noise, JPEG
    and a second blur. Then all are resized to the size of LR and get noise and JPEG. The result
    is aligned with HR like bicubic LR.

    Args:
        hr: uint8, N x 3 x H x W, on any device; H and W are multiples of `scale`. Or gray uint16,
            N x 1 x H x W: only JPEG rounds it.
        rng: the source of all randomness. The values of noise depend on the kind of device.
        whole: the pictures are whole, not crops; see `make_degrade`.

    Returns:
        float32 in [0, 1], N x C x H/scale x W/scale; of uint8, multiplied by 255 they are integers.

    Raises:
        ValueError: H or W is not a multiple of `scale`.
    """
    height, width = lr_size(hr, scale)
    plan = draw(ranges, len(hr), rng, whole=whole)
    noise = torch.Generator(hr.device).manual_seed(int(rng.integers(2**63)))
    images = unit(hr).contiguous()
    replace_chosen(
        images, plan.blurred, lambda some, on: _optical_blur(some, plan, on, scale, ranges)
    )

    between = windows(height, width, plan.ratio, plan.corner[0])
    images = resize(images, Windows.whole(images), between, plan.down)
    replace_chosen(images, plan.second, lambda some, on: _first_pass(some, plan, on, noise, ranges))

    last = windows(height, width, np.ones(len(hr)), plan.corner[1])
    images = _damaged(resize(images, between, last, plan.up), plan.last, noise)
    lr = take(images, last, height, width)
    return lr.clamp_(0, 1) if hr.dtype == torch.uint16 else round_to_8_bits(lr * 255) / 255


def replace_chosen(
    images: Tensor, chosen: np.ndarray, function: Callable[[Tensor, np.ndarray], Tensor]
) -> None:
    """Replace the chosen images, in place, by the results of a function.

    Args:
        images: N x 3 x H x W.
        chosen: (N,) bool.
        function: takes the chosen images and their indices in the batch.
    """
    on = np.flatnonzero(chosen)
    if len(on):
        places = on_device(on, images.device)
        images[places] = function(images[places], on)


def _optical_blur(images: Tensor, plan: Draw, on: np.ndarray, scale: int, ranges: Ranges) -> Tensor:
    """Blur light, not gamma-encoded values, so that bright points grow. Gamma is taken as 2."""
    lengths = (plan.sigma, plan.across, plan.radius, plan.length)
    values = (plan.kind, plan.angle, *(scale * each for each in lengths))
    blur = Blur(*(_tensor(each[on], images) for each in values))
    farthest = max(3 * ranges.sigma[1], ranges.radius[1], ranges.length[1] / 2)
    light = convolve(images.square(), kernels(blur, ceil(scale * farthest) + 1))
    return light.clamp_(0, 1).sqrt_()


def _first_pass(
    images: Tensor, plan: Draw, on: np.ndarray, noise: torch.Generator, ranges: Ranges
) -> Tensor:
    """Noise, JPEG and a soft blur at the intermediate size."""
    images = _damaged(images, plan.first.of(on), noise)
    sigma = _tensor((plan.softness * plan.ratio)[on], images)
    none = torch.zeros_like(sigma)
    reach = ceil(3 * ranges.softness[1] * ranges.ratio[1])
    return convolve(images, kernels(Blur(none, none, sigma, sigma, none, none), reach))


def _damaged(images: Tensor, damage: Damage, noise: torch.Generator) -> Tensor:
    """Noise, then JPEG. Poisson noise is drawn as normal: visible noise comes from many photons."""
    images = images.clamp(0, 1)
    gaussian, poisson, gray = (
        _tensor(each, images)[:, None, None, None]
        for each in (damage.gaussian, damage.poisson, damage.gray)
    )
    normal = torch.randn(images.shape, generator=noise, device=images.device)
    normal = torch.where(gray > 0, normal[:, :1], normal)
    images += normal * (gaussian.square() + poisson.square() * images).sqrt_()

    def compressed(some: Tensor, on: np.ndarray) -> Tensor:
        rgb = some.expand(-1, 3, -1, -1)
        return jpeg(rgb, damage.quality[on], damage.full_chroma[on])[:, : some.shape[1]]

    replace_chosen(images, damage.quality > 0, compressed)
    return images


def _tensor(values: np.ndarray, like: Tensor) -> Tensor:
    return on_device(values, like.device, like.dtype)
