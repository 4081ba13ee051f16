"""Write the int8 ranges of a model file, and what int8 loses, from photographs of a folder.

    python benchmarks/calibrate_int8.py MODEL.safetensors PHOTOGRAPHS --degradation blurry-light

The shipped models were calibrated on the training photographs; never do it on a benchmark set.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from srgan.cli.run import run_script
from srgan.degradation.degrade import degrade_picture, fixed_rng, make_degrade
from srgan.engines.openvino import CALIBRATION_SIDE, Int8Ranges, OpenVINOEngine, calibrate
from srgan.engines.options import EngineOptions, Precision
from srgan.engines.precision import AUTO_KEPT_FLOAT
from srgan.evaluation.metrics import psnr_y
from srgan.models.file import save_checkpoint
from srgan.models.load import load_checkpoint
from srgan.networks.architecture import Checkpoint
from srgan.networks.folding import fold
from srgan.pictures.images import PICTURE_SUFFIXES, open_picture
from srgan.pictures.pixels import quantise, rgb_uint8

LOSS_PARTS = 16  # of as many photographs
LOSS_SIDE = 128  # LR pixels; in smaller parts those without detail decide, where int8 is not seen


def main(model: Path, photographs: Path, tiles: int = 64, degradation: str = "bicubic") -> None:
    """Calibrate MODEL on PHOTOGRAPHS; store the ranges and the loss in it.

    Args:
        model: A model file; replaced by one with ranges, its weights rounded to float16.
        photographs: A folder of high-resolution photographs.
        tiles: How many LR tiles, each from another photograph. Larger parts of others measure the
            loss, as mean PSNR-Y.
        degradation: How LR is made; see srgan train.
    """
    checkpoint = load_checkpoint(model)
    scale = checkpoint.architecture.scale
    some = tiles_of(photographs, slice(tiles), CALIBRATION_SIDE * scale, scale, degradation)
    others = slice(tiles, tiles + LOSS_PARTS)
    pairs = list(tiles_of(photographs, others, LOSS_SIDE * scale, scale, degradation))
    ranges = calibrate(fold(checkpoint), [tensor(lr) for lr, _ in some])
    rounded = {name: [float(f"{end:.4g}") for end in ends] for name, ends in ranges.items()}
    automatic = {name: ends for name, ends in rounded.items() if name != AUTO_KEPT_FLOAT}
    loss = {
        name: scored(checkpoint, "fp32", {}, pairs) - scored(checkpoint, "int8", each, pairs)
        for name, each in (("int8", rounded), ("auto", automatic))
    }
    print(f"int8 loses {loss['int8']:.3f} dB; as --precision auto uses it, {loss['auto']:.3f} dB")
    info = checkpoint.info | {"int8": rounded, "int8_loss": round(loss["auto"], 4)}
    save_checkpoint(model, replace(checkpoint, info=info), half=True)


def tiles_of(
    folder: Path, which: slice, side: int, scale: int, degradation: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """LR and HR tiles, (H, W, 3) uint8, `side` HR pixels or less, of shuffled photographs."""
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES)
    rng, degrade = np.random.default_rng(0), make_degrade(degradation, whole=True)
    for number in rng.permutation(len(paths))[which]:
        picture = open_picture(paths[number])
        top, left = (rng.integers(max(length - side, 0) + 1) for length in picture.shape[:2])
        hr = rgb_uint8(picture[top : top + side, left : left + side])
        height, width = (length // scale * scale for length in hr.shape[:2])
        hr = hr[:height, :width]
        yield degrade_picture(degrade, hr, scale, fixed_rng(0, paths[number].name)), hr


def scored(
    checkpoint: Checkpoint,
    precision: Precision,
    ranges: Int8Ranges,
    pairs: list[tuple[np.ndarray, np.ndarray]],
) -> float:
    """Mean PSNR-Y."""
    checkpoint = replace(checkpoint, info={"int8": ranges})
    engine = OpenVINOEngine(checkpoint, EngineOptions("openvino", precision))
    scores: list[float] = []
    for lr, hr in pairs:
        sr = np.empty(hr.shape, np.uint8)
        quantise(engine(tensor(lr))[0].transpose(1, 2, 0), sr)
        scores.append(psnr_y(sr, hr, 4))
    return float(np.mean(scores))


def tensor(picture: np.ndarray) -> np.ndarray:
    """As the network takes it: (1, 3, H, W) in [0, 1]."""
    return (picture.astype(np.float32) / 255).transpose(2, 0, 1)[None]


if __name__ == "__main__":
    run_script(main)
