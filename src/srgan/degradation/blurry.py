"""LR as pictures are found: blurred, resized, noisy, saved as JPEG, maybe twice."""

from collections.abc import Callable
from math import ceil

import numpy as np
import torch
from torch import Tensor

from srgan.degradation.bicubic import _eight_bits, _lr_size, unit
from srgan.degradation.blur import Blur, convolve, kernels
from srgan.degradation.draw import Damage, Draw, draw, windows
from srgan.degradation.jpeg import jpeg
from srgan.degradation.ranges import Ranges
from srgan.degradation.resize import Windows, resize, take


@torch.no_grad()
def blurry_lr(
    hr: Tensor, scale: int, rng: np.random.Generator, *, ranges: Ranges, whole: bool = False
) -> Tensor:
    """The LR of a batch, blurred and damaged, each sample in its own way.

    HR is blurred, and resized to a size in between; there some samples get noise, JPEG and a
    second blur. Then all are resized to LR's size, and get noise and JPEG. LR lies on HR as
    bicubic's does.

    Args, Returns, Raises: as of `bicubic_lr`.
        rng: all that is random comes from it; the values of noise depend on the kind of device.
        whole: see `make_degrade`.
    """
    height, width = _lr_size(hr, scale)
    plan = draw(ranges, len(hr), rng, whole=whole)
    noise = torch.Generator(hr.device).manual_seed(int(rng.integers(2**63)))
    images = unit(hr).contiguous()
    _apply(images, plan.blurred, lambda some, on: _optical_blur(some, plan, on, scale, ranges))

    between = windows(height, width, plan.ratio, plan.corner[0])
    images = resize(images, Windows.whole(images), between, plan.down)
    _apply(images, plan.second, lambda some, on: _first_pass(some, plan, on, noise, ranges))

    last = windows(height, width, np.ones(len(hr)), plan.corner[1])
    images = _damaged(resize(images, between, last, plan.up), plan.last, noise)
    return _eight_bits(take(images, last, height, width) * 255) / 255


def _apply(
    images: Tensor, chosen: np.ndarray, function: Callable[[Tensor, np.ndarray], Tensor]
) -> None:
    """Replace the chosen images by what the function makes of them and their places."""
    on = np.flatnonzero(chosen)
    if len(on):
        places = torch.from_numpy(on).to(images.device)
        images[places] = function(images[places], on)


def _optical_blur(images: Tensor, plan: Draw, on: np.ndarray, scale: int, ranges: Ranges) -> Tensor:
    """Of light, before the camera's gamma, which is taken as 2: bright points grow."""
    lengths = (plan.sigma, plan.across, plan.radius, plan.length)
    values = (plan.kind, plan.angle, *(scale * each for each in lengths))
    blur = Blur(*(_tensor(each[on], images) for each in values))
    farthest = max(3 * ranges.sigma[1], ranges.radius[1], ranges.length[1] / 2)
    light = convolve(images.square(), kernels(blur, ceil(scale * farthest) + 1))
    return light.clamp_(0, 1).sqrt_()


def _first_pass(
    images: Tensor, plan: Draw, on: np.ndarray, noise: torch.Generator, ranges: Ranges
) -> Tensor:
    """Noise, JPEG and a soft blur at the size in between."""
    images = _damaged(images, plan.first.of(on), noise)
    sigma = _tensor((plan.softness * plan.ratio)[on], images)
    none = torch.zeros_like(sigma)
    reach = ceil(3 * ranges.softness[1] * ranges.ratio[1])
    return convolve(images, kernels(Blur(none, none, sigma, sigma, none, none), reach))


def _damaged(images: Tensor, damage: Damage, noise: torch.Generator) -> Tensor:
    """Noise, then JPEG. Photons' noise is normal: where it shows there are many of them."""
    images = images.clamp(0, 1)
    gaussian, poisson, gray = (
        _tensor(each, images)[:, None, None, None]
        for each in (damage.gaussian, damage.poisson, damage.gray)
    )
    normal = torch.randn(images.shape, generator=noise, device=images.device)
    normal = torch.where(gray > 0, normal[:, :1], normal)
    images += normal * (gaussian.square() + poisson.square() * images).sqrt_()

    def compressed(some: Tensor, on: np.ndarray) -> Tensor:
        return jpeg(some, damage.quality[on], damage.full_chroma[on])

    _apply(images, damage.quality > 0, compressed)
    return images


def _tensor(values: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(values).to(like.device, like.dtype)
