"""HR batches to LR batches, on the device that trains.

`bicubic` is the reduction of the field's benchmarks: MATLAB's, 8 bits after each pass. `blurry`
makes pictures as they are found: blurred, resized, noisy, saved as JPEG, maybe twice, in the
spirit of Real-ESRGAN (arXiv:2107.10833) and BSRGAN (arXiv:2103.14006). Every sample has its own
blur, sizes, noise and quality; what they are comes from a generator of random numbers that the
caller seeds, so that a batch can be made again.
"""

import functools
from collections.abc import Callable
from math import ceil

import numpy as np
import torch
from torch import Tensor

from srgan.degrade_blur import Blur, convolve, kernels
from srgan.degrade_draw import Damage, Draw, draw, windows
from srgan.degrade_jpeg import jpeg
from srgan.degrade_presets import BICUBIC, Ranges, read_ranges
from srgan.degrade_resize import Windows, resize, take
from srgan.resample import bicubic_matrix

# HR, uint8 N x 3 x H x W, H and W multiples of the scale; the scale; what is random; to LR,
# float32 in [0, 1] of 8 bits, N x 3 x H/scale x W/scale.
Degrade = Callable[[Tensor, int, np.random.Generator], Tensor]

# What a generator of random numbers is for, beside those of data.py.
_TRAINING, _FIXED = 4, 5


def make_degrade(name: str, *, whole: bool = False) -> Degrade:
    """`bicubic`, or `blurry` by a preset or TOML file; of several, by commas, a sample gets one.

    Args:
        whole: pictures are whole, and their JPEG blocks start at their corner; in crops blocks
            start anywhere.

    Raises:
        OptionError: no such degradation.
    """
    parts = [_one_degrade(part, whole=whole) for part in name.split(",")]
    return functools.partial(_mixed_lr, parts=parts) if len(parts) > 1 else parts[0]


def _one_degrade(name: str, *, whole: bool) -> Degrade:
    if name == BICUBIC:
        return lambda hr, scale, _rng: bicubic_lr(hr, scale)
    return functools.partial(blurry_lr, ranges=read_ranges(name), whole=whole)


def _mixed_lr(hr: Tensor, scale: int, rng: np.random.Generator, *, parts: list[Degrade]) -> Tensor:
    """Every sample by one of the parts, each as probable."""
    height, width = _lr_size(hr, scale)
    lr = torch.empty((len(hr), 3, height, width), device=hr.device)
    chosen = rng.integers(len(parts), size=len(hr))
    for i, degrade in enumerate(parts):
        _apply(lr, chosen == i, lambda _, on, degrade=degrade: degrade(hr[on], scale, rng))
    return lr


def training_rng(seed: int, iteration: int, stream: int) -> np.random.Generator:
    """Of a micro-batch: `stream` counts those of an iteration, over all processes."""
    return np.random.default_rng((seed, _TRAINING, iteration, stream))


def fixed_rng(seed: int, name: str) -> np.random.Generator:
    """Of a picture by its name, whatever other pictures there are."""
    return np.random.default_rng((seed, _FIXED, *name.encode(errors="surrogateescape")))


def degrade_picture(
    degrade: Degrade, hr: np.ndarray, scale: int, rng: np.random.Generator
) -> np.ndarray:
    """The LR of a picture in memory, both uint8 (H, W, 3); sides are multiples of the scale."""
    lr = degrade(torch.from_numpy(hr).permute(2, 0, 1)[None], scale, rng)[0]
    return (lr * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()


def unit(hr: Tensor) -> Tensor:
    """uint8 to float32 in [0, 1], in the same shape and memory format."""
    return hr.to(torch.float32) / 255


@torch.no_grad()
def bicubic_lr(hr: Tensor, scale: int) -> Tensor:
    """The LR of a batch, sample by sample what `resample.bicubic_8bit` gives.

    Args:
        hr: uint8, N x 3 x H x W, on any device; H and W are multiples of `scale`.

    Returns:
        float32 in [0, 1], N x 3 x H/scale x W/scale; times 255 these are whole numbers.

    Raises:
        ValueError: H or W is no multiple of `scale`.
    """
    height, width = _lr_size(hr, scale)
    # In float64 the products are exact, whatever TF32 and autocast are set to. Apple's GPUs have
    # float32 only, in which they are exact too, for scales 2 and 4.
    dtype = torch.float32 if hr.device.type == "mps" else torch.float64
    pixels = hr.to(dtype, memory_format=torch.contiguous_format)  # half the time of channels_last
    rows = _eight_bits(_matrix(height * scale, scale, hr.device, dtype) @ pixels)
    lr = _eight_bits(rows @ _matrix(width * scale, scale, hr.device, dtype).T)
    return unit(lr)


def _lr_size(hr: Tensor, scale: int) -> tuple[int, int]:
    height, width = hr.shape[2:]
    if height % scale or width % scale:
        raise ValueError(f"HR of {height} x {width} is no multiple of the scale, {scale}")
    return height // scale, width // scale


def reduced(hr: Tensor, scale: int) -> Tensor:
    """The same reduction without the rounding and clipping, for gradients to go through.

    Args:
        hr: float32, N x 3 x H x W; H and W are multiples of `scale`.
    """
    height, width = hr.shape[2:]
    rows = _matrix(height, scale, hr.device, hr.dtype) @ hr
    return rows @ _matrix(width, scale, hr.device, hr.dtype).T


def _eight_bits(image: Tensor) -> Tensor:
    """Clip to 0..255 and round half up."""
    return image.clamp_(0, 255).add_(0.5).floor_()


@functools.lru_cache(maxsize=8)
def _matrix(size: int, scale: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """(size / scale, size): the matrix that shrinks `size` samples."""
    _, matrix = bicubic_matrix(size, size // scale)
    return torch.from_numpy(matrix).to(device, dtype)


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
