"""Benchmark sets of a foreign ground: LR made by other people's filters, codecs and a sensor.

    python benchmarks/real_world.py ../shared/bench/BSD100/HR /tmp/ground
    srgan evaluate /tmp/ground/* --metrics psnr_y lpips_alex lpips_vgg dists pyiqa:niqe \\
        --model srgan-blurry-x4 ../shared/peers/RealESRGAN_x4plus.safetensors

No model was trained on it: our own degradations have none of this code. Each set is a chain:

- camera: libvips blurs and reduces, a Bayer sensor adds noise, the rest is interpolated, libjpeg;
- gallery: a camera's picture, twice resized by Pillow by other factors, WebP, then libjpeg;
- messenger: libvips reduces by Lanczos, libjpeg twice, the second time with little left;
- screenshot: Pillow reduces by area and sharpens, AVIF.
"""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyvips
from PIL import Image, ImageFilter
from scipy.ndimage import convolve

from srgan.cli.run import run_script
from srgan.degradation.degrade import fixed_rng
from srgan.pictures.images import open_picture
from srgan.pictures.pixels import rgb_uint8

SCALE = 4
BAYER = np.array([[0, 1], [1, 2]])  # the colour that each place of the sensor sees
# A missing colour is the mean of its neighbours of that colour.
RED_OR_BLUE = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4
GREEN = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4

Chain = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def main(hr: Path, output: Path, *, pictures: int = 25, seed: int = 0) -> None:
    """Make a benchmark set of each chain, OUTPUT/NAME/HR and OUTPUT/NAME/LRx4.

    Args:
        hr: A folder of clean pictures that no model was trained on.
        output: A new folder.
        pictures: How many, evenly over the sorted names.
        seed: Decides about blur, noise and qualities, together with a picture's name.
    """
    paths = sorted(path for path in hr.iterdir() if path.is_file())
    paths = paths[:: max(len(paths) // pictures, 1)][:pictures]
    for name, chain in CHAINS.items():
        for kind in ("HR", f"LRx{SCALE}"):
            (output / name / kind).mkdir(parents=True)
        for path in paths:
            picture = open_picture(path)
            height, width = (side // SCALE * SCALE for side in picture.shape[:2])
            large = np.ascontiguousarray(rgb_uint8(picture[:height, :width]))
            small = chain(large, fixed_rng(seed, f"{name}/{path.name}"))
            assert small.shape == (height // SCALE, width // SCALE, 3)
            for kind, pixels in (("HR", large), (f"LRx{SCALE}", small)):
                Image.fromarray(pixels).save(output / name / kind / f"{path.stem}.png")


def camera(hr: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    blurred = pyvips.Image.new_from_array(hr).gaussblur(SCALE * rng.uniform(0.3, 1.0))
    small = blurred.resize(1 / SCALE, kernel="linear").numpy().astype(float) / 255
    return jpeg(developed(sensed(small**2.2, rng)), quality(rng, 70, 95))


def gallery(hr: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    picture = Image.fromarray(camera(hr, rng))
    size, factor = picture.size, rng.uniform(0.6, 1.4)
    other = round(size[0] * factor), round(size[1] * factor)
    shared = picture.resize(other, Image.Resampling.BICUBIC)
    stored = reopened(shared, "webp", quality=quality(rng, 60, 90))
    fitted = stored.resize(size, Image.Resampling.LANCZOS)
    return jpeg(np.asarray(fitted), quality(rng, 60, 90))


def messenger(hr: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    once = jpeg(hr, quality(rng, 85, 95))
    small = pyvips.Image.new_from_array(once).resize(1 / SCALE, kernel="lanczos3").numpy()
    return jpeg(jpeg(small, quality(rng, 60, 85)), quality(rng, 40, 70))


def screenshot(hr: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    picture = Image.fromarray(hr)
    size = picture.width // SCALE, picture.height // SCALE
    small = picture.resize(size, Image.Resampling.BOX)
    sharp = small.filter(ImageFilter.UnsharpMask(1, int(rng.integers(0, 101)), 0))
    return np.asarray(reopened(sharp, "avif", quality=quality(rng, 45, 80)))


CHAINS: dict[str, Chain] = {
    each.__name__: each for each in (camera, gallery, messenger, screenshot)
}


def sensed(light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a Bayer sensor counts of linear light (H, W, 3): (H, W), with photon and read noise."""
    height, width, _ = light.shape
    seen = np.tile(BAYER, (height // 2 + 1, width // 2 + 1))[:height, :width]
    raw = np.take_along_axis(light, seen[..., None], 2)[..., 0]
    photons = 10 ** rng.uniform(2.5, 4)
    return rng.poisson(raw * photons) / photons + rng.normal(0, 0.002, raw.shape)


def developed(raw: np.ndarray) -> np.ndarray:
    """The picture of a sensor's counts, uint8: missing colours interpolated, gamma 2.2."""
    height, width = raw.shape
    seen = np.tile(BAYER, (height // 2 + 1, width // 2 + 1))[:height, :width]
    planes = [
        convolve(raw * (seen == colour), GREEN if colour == 1 else RED_OR_BLUE, mode="mirror")
        for colour in range(3)
    ]
    light = np.stack(planes, 2).clip(0, 1)
    return np.rint(255 * light ** (1 / 2.2)).astype(np.uint8)


def quality(rng: np.random.Generator, least: int, most: int) -> int:
    return int(rng.integers(least, most + 1))


def jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    return np.asarray(reopened(Image.fromarray(picture), "jpeg", quality=quality))


def reopened(picture: Image.Image, kind: str, **options: int) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return Image.open(file).convert("RGB")


if __name__ == "__main__":
    run_script(main)
