"""`srgan degrade`: LR pictures of HR files, by the reduction that training and benchmarks use."""

import numpy as np

from srgan.batch import Job
from srgan.images import Picture, PictureError, make_folder, open_picture, write_picture
from srgan.pixels import rgb_uint8
from srgan.resample import Edges, bicubic_8bit


def open_hr(job: Job, scale: int) -> tuple[Picture, tuple[int, int]]:
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
    picture: Picture, size: tuple[int, int], job: Job, scale: int, *, edges: Edges, overwrite: bool
) -> None:
    """Reduce a picture, cropped to a multiple of the scale, to an 8-bit RGB file.

    Raises:
        PictureError: with the reason; no partial file stays behind.
    """
    height, width = size
    hr = np.ascontiguousarray(rgb_uint8(picture[: height * scale, : width * scale]))
    lr = bicubic_8bit(hr, height, width, edges)
    make_folder(job.target.parent)
    write_picture(job.target, [lr], lr.shape, lr.dtype, format="png", overwrite=overwrite)
