"""The README's before-and-after pictures, from photographs that come with scikit-image.

    python benchmarks/pictures.py

The astronaut's portrait (NASA) as examples/ has it, and coffee (Rachel Michetti, CC0) as a phone
might have taken it: out of focus, a little noise, JPEG of quality 60.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter
from skimage import data

from srgan.cli.run import run_script
from srgan.pictures.resample import bicubic_8bit
from srgan.upscaling.comparison import labelled
from srgan.upscaling.upscaler import Upscaler

ROOT = Path(__file__).parent.parent
WINDOW = 112  # LR pixels a side
SCALE = 4


def main(
    *,
    models: tuple[str, ...] = ("srresnet-x4", "srgan-x4"),
    blurry: tuple[str, ...] = ("srgan-x4", "srgan-blurry-x4"),
    folder: Path = ROOT / "docs",
) -> None:
    """Draw the pictures.

    Args:
        models: Beside bicubic, on the clean photograph.
        blurry: Beside bicubic, on the one of a phone.
        folder: For before-after.png and blurry.png.
    """
    clean = np.asarray(Image.open(ROOT / "examples/astronaut.png").convert("RGB"))
    draw(clean, (0, 68), models, folder / "before-after.png")
    draw(phone_like(data.coffee()), (20, 70), blurry, folder / "blurry.png")


def phone_like(photo: np.ndarray) -> np.ndarray:
    """Half the size, out of focus, noisy, and through JPEG."""
    picture = Image.fromarray(photo).reduce(2).filter(ImageFilter.GaussianBlur(0.8))
    noise = np.random.default_rng(0).normal(0, 3, (*picture.size[::-1], 3))
    noisy = np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noisy).save(file, "jpeg", quality=60)
    return np.asarray(Image.open(file))


def draw(lr: np.ndarray, corner: tuple[int, int], models: tuple[str, ...], path: Path) -> None:
    """A part of the picture, at 100 % of the result, by bicubic and by each model."""
    top, left = corner
    window = (
        slice(SCALE * top, SCALE * (top + WINDOW)),
        slice(SCALE * left, SCALE * (left + WINDOW)),
    )
    height, width = lr.shape[:2]
    results = {"bicubic": bicubic_8bit(lr, SCALE * height, SCALE * width)}
    results |= {model: Upscaler.load(model)(lr) for model in models}
    parts = [Image.fromarray(np.ascontiguousarray(each[window])) for each in results.values()]
    labelled(parts, list(results)).save(path)
    print(path)


if __name__ == "__main__":
    run_script(main)
