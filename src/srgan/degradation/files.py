"""`srgan degrade`: LR pictures of HR files, by the reductions that training and benchmarks use."""

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
    """How LR is made.

    Attributes:
        scale: HR pixels per LR pixel.
        apply: gives LR of HR, whose sides are multiples of the scale, both uint8 (H, W, 3), and
            of the picture's name.
    """

    scale: int
    apply: Callable[[np.ndarray, str], np.ndarray]


def make_reduction(preset: str, scale: int, *, edges: Edges, seed: int) -> Reduction:
    """The reduction of a preset. What it does to a picture depends on the seed and its name.

    Raises:
        OptionError: no such preset, or PyTorch is missing, which all but bicubic need.
    """
    if preset == BICUBIC:
        return Reduction(
            scale,
            lambda hr, _: bicubic_8bit(hr, hr.shape[0] // scale, hr.shape[1] // scale, edges),
        )
    if edges != "replicate":
        raise OptionError("--edges is for --preset bicubic")
    need("torch", f"--preset {preset}")
    from srgan.degradation.degrade import degrade_picture, fixed_rng, make_degrade

    degrade = make_degrade(preset, whole=True)
    return Reduction(
        scale, lambda hr, name: degrade_picture(degrade, hr, scale, fixed_rng(seed, name))
    )


def open_hr(job: PictureJob, scale: int) -> tuple[Picture, tuple[int, int]]:
    """Open a job's HR picture; returns it and the (height, width) of its LR.

    Raises:
        PictureError: it cannot be read or written, or has fewer pixels than the scale.
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
) -> None:
    """Reduce a picture, cropped to a multiple of the scale, to an 8-bit RGB file.

    Args:
        output: the folder of all LR pictures: a picture's name is its file's in there.

    Raises:
        PictureError: with the reason; no partial file stays behind.
    """
    height, width = (side // reduction.scale * reduction.scale for side in picture.shape[:2])
    hr = np.ascontiguousarray(rgb_uint8(picture[:height, :width]))
    lr = reduction.apply(hr, job.target.relative_to(output).as_posix())
    make_folder(job.target.parent)
    write_picture(job.target, [lr], lr.shape, lr.dtype, format="png", overwrite=overwrite)
