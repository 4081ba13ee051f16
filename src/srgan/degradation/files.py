"""`srgan degrade`: makes LR files of HR files, as training and benchmarks make LR."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from srgan.degradation.ranges import BICUBIC
from srgan.errors import OptionError, need
from srgan.pictures.images import Picture, PictureError, make_folder, open_picture, write_picture
from srgan.pictures.jobs import PictureJob
from srgan.pictures.options import Edges
from srgan.pictures.pixels import rgb_uint8
from srgan.pictures.resample import bicubic_8bit


@dataclass(frozen=True)
class Reduction:
    """A way to make LR of one picture.

    Attributes:
        scale: HR pixels per LR pixel along each axis.
        apply: takes HR and the picture's name, returns LR. Both are uint8 (H, W, 3); HR's sides
            are multiples of the scale.
    """

    scale: int
    apply: Callable[[np.ndarray, str], np.ndarray]


def make_reduction(preset: str, scale: int, *, edges: Edges, seed: int) -> Reduction:
    """The reduction of a preset. Its result depends on the picture, its name and the seed only.

    Args:
        preset: see `degrade.make_degrade`. Only "bicubic" works without PyTorch.
        edges: for "bicubic" only.

    Raises:
        OptionError: there is no such preset, or `edges` does not go with it.
        MissingExtraError: the preset needs PyTorch, which is not installed.
    """
    if preset == BICUBIC:
        return Reduction(
            scale,
            lambda hr, _: bicubic_8bit(hr, hr.shape[0] // scale, hr.shape[1] // scale, edges),
        )
    if edges != "replicate":
        raise OptionError("--edges works only with --preset bicubic")
    need("torch", f"--preset {preset}")
    from srgan.degradation.degrade import degrade_picture, fixed_rng, make_degrade

    degrade = make_degrade(preset, whole=True)
    return Reduction(
        scale, lambda hr, name: degrade_picture(degrade, hr, scale, fixed_rng(seed, name))
    )


def open_hr(job: PictureJob, scale: int) -> tuple[Picture, tuple[int, int]]:
    """Open the HR picture of a job; return it and the (height, width) of its LR.

    Raises:
        PictureError: the picture cannot be read, its LR cannot be written, or a side is shorter
            than the scale.
    """
    if job.problem:
        raise PictureError(job.problem)
    picture = open_picture(job.source)
    height, width = picture.shape[0] // scale, picture.shape[1] // scale
    if min(height, width) == 0:
        raise PictureError(f"{job.source}: smaller than {scale} x {scale} pixels")
    return picture, (height, width)


def write_lr(
    picture: Picture, job: PictureJob, reduction: Reduction, output: Path, *, overwrite: bool
) -> list[str]:
    """Write the LR of a picture as an 8-bit RGB PNG. HR is cropped to a multiple of the scale.

    Args:
        output: the folder of all LR pictures. The path of a file below it is the picture's name.

    Returns:
        Notes for the user on what LR does not hold.

    Raises:
        PictureError: the reason; no partial file stays behind.
    """
    height, width = (side // reduction.scale * reduction.scale for side in picture.shape[:2])
    hr = np.ascontiguousarray(rgb_uint8(picture[:height, :width]))
    lr = reduction.apply(hr, job.target.relative_to(output).as_posix())
    make_folder(job.target.parent)
    write_picture(job.target, [lr], lr.shape, lr.dtype, format="png", overwrite=overwrite)
    notes = ["LR is RGB without transparency"] if picture.shape[2] in (2, 4) else []
    notes += ["16 bits rounded to 8"] if picture.dtype == np.uint16 else []
    return notes + [f"{name} is not kept in LR" for name in picture.metadata_names]
