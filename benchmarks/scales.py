"""Benchmarks for models of the same size, from photographs that training holds out.

    python benchmarks/scales.py PHOTOGRAPHS OUT
    srgan evaluate --scale 1 -b OUT/blurry OUT/blurry-light --model srgan-blurry-x1 \
        srresnet-blurry-x1 srgan-blurry-x4 srresnet-blurry-x4 --metrics psnr_y lpips_alex
    srgan evaluate --scale 1 -b OUT/clean --model srgan-blurry-x1 srresnet-blurry-x1 \
        --metrics psnr_y

The second command prints the row "bicubic", the input itself, and those of the x4 models, reduced:
the way of srgan 0.1.0. The third compares the results of sharp, clean pictures with the pictures.
OUT/train has the other photographs, reduced, to train on.
"""

from pathlib import Path

import numpy as np

from srgan.cli.run import run_script
from srgan.degradation.degrade import degrade_picture, fixed_rng, make_degrade
from srgan.pictures.images import write_picture
from srgan.pictures.pixels import rgb_uint8
from srgan.pictures.resample import bicubic_8bit
from srgan.training.data.crops import split
from srgan.training.data.sources import find_source
from srgan.training.data.stored import StoredPicture, open_training_picture

PRESETS = ("blurry", "blurry-light")
SIDE = 400  # pixels; photographs with a shorter one are not for training


def main(photographs: Path, output: Path, count: int = 24, seed: int = 0) -> None:
    """Write OUT/PRESET/HR and OUT/PRESET/LRx1 for both presets, OUT/clean/HR and OUT/train.

    Args:
        photographs: A folder of photographs.
        output: A new folder.
        count: How many photographs are held out.
        seed: Which ones; that of the degradation is 0.
    """
    others, held_out = split(find_source(str(photographs)), count, seed)
    for number, found in enumerate(others):
        if min(open_training_picture(found).shape[:2]) >= SIDE:
            write(output / "train" / f"{number:04}-{Path(found.name).stem}.png", reduced(found))
    degrades = {preset: make_degrade(preset, whole=True) for preset in PRESETS}
    for found in held_out:
        hr = reduced(found)
        name = f"{Path(found.name).stem}.png"
        write(output / "clean/HR" / name, hr)
        for preset, degrade in degrades.items():
            lr = degrade_picture(degrade, hr, 1, fixed_rng(0, name))
            if (lr != hr).any():  # some stay clean: the input's PSNR would be infinite
                write(output / preset / "HR" / name, hr)
                write(output / preset / "LRx1" / name, lr)


def reduced(found: Path | StoredPicture) -> np.ndarray:
    """Half the size, so that it is clean: without noise, blur and JPEG of its own."""
    photograph = rgb_uint8(open_training_picture(found)[:, :])
    height, width = (side // 2 for side in photograph.shape[:2])
    return bicubic_8bit(photograph[: 2 * height, : 2 * width], height, width)


def write(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(path, [picture], picture.shape, picture.dtype, format="png")


if __name__ == "__main__":
    run_script(main)
