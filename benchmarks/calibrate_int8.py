"""Write the int8 ranges of a model file, from photographs of a folder.

    python benchmarks/calibrate_int8.py MODEL.safetensors PHOTOGRAPHS

The shipped models were calibrated on the training photographs; never do it on a benchmark set.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from srgan.cli.run import run_script
from srgan.engines.openvino import CALIBRATION_SIDE, calibrate
from srgan.models.file import save_checkpoint
from srgan.models.load import load_checkpoint
from srgan.networks.folding import fold
from srgan.pictures.images import PICTURE_SUFFIXES, open_picture
from srgan.pictures.resample import bicubic_8bit


def main(model: Path, photographs: Path, tiles: int = 64) -> None:
    """Calibrate MODEL on PHOTOGRAPHS and store the ranges in it.

    Args:
        model: A model file; replaced by one with ranges, its weights rounded to float16.
        photographs: A folder of high-resolution photographs; LR is made by bicubic.
        tiles: How many LR tiles, each from another photograph.
    """
    checkpoint = load_checkpoint(model)
    scale = checkpoint.architecture.scale
    paths = sorted(p for p in photographs.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES)
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(paths), min(tiles, len(paths)), replace=False)
    lr = [lr_tile(paths[i], scale, rng) for i in chosen]
    ranges = calibrate(fold(checkpoint), lr)
    rounded = {name: [float(f"{end:.4g}") for end in ends] for name, ends in ranges.items()}
    info = checkpoint.info | {"int8": rounded}
    save_checkpoint(model, replace(checkpoint, info=info), half=True)


def lr_tile(path: Path, scale: int, rng: np.random.Generator) -> np.ndarray:
    """A random LR tile (1, 3, H, W) of a photograph."""
    picture = open_picture(path)
    side = CALIBRATION_SIDE * scale
    top, left = (rng.integers(max(length - side, 0) + 1) for length in picture.shape[:2])
    hr = picture[top : top + side, left : left + side]
    height, width = (length // scale for length in hr.shape[:2])
    lr = bicubic_8bit(hr[: height * scale, : width * scale, :3], height, width)
    rgb = np.broadcast_to(lr, (*lr.shape[:2], 3))
    return (rgb.astype(np.float32) / 255).transpose(2, 0, 1)[None]


if __name__ == "__main__":
    run_script(main)
