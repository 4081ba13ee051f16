"""Many pictures: which files, where their results go, and one at a time through the upscaler."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from srgan.pictures.images import (
    Picture,
    PictureError,
    check_output,
    encode_picture,
    make_folder,
    open_picture,
    output_format,
    write_picture,
)
from srgan.pictures.jobs import PictureJob, result_size
from srgan.pictures.options import DEFAULT_MAX_PIXELS, ResultOptions
from srgan.upscaling.auto import ModelChooser
from srgan.upscaling.upscaler import Upscaler


def inspect(
    job: PictureJob, options: ResultOptions, model_scale: int, max_pixels: int
) -> tuple[Picture, tuple[int, int]]:
    """Open a job's picture and check all that can be known before work.

    Returns:
        The picture, and the (height, width) of its result.

    Raises:
        PictureError: with the reason.
    """
    if job.problem:
        raise PictureError(job.problem)
    picture = open_picture(job.source, max_pixels)
    size = result_size(picture, options, model_scale)
    check_output(output_format(job.target), size[1], size[0], str(job.target))
    return picture, size


@dataclass(frozen=True)
class Upscaled:
    """A picture file's bytes, (height, width) of the picture, and notes for the user."""

    data: bytes
    size: tuple[int, int]
    notes: list[str]


def upscale_bytes(
    data: bytes,
    models: ModelChooser,
    options: ResultOptions,
    *,
    format: str,
    name: str = "<bytes>",
    max_pixels: int = DEFAULT_MAX_PIXELS,
    tta: bool = False,
    progress: Callable[[float], None] = lambda _rows: None,
) -> Upscaled:
    """A picture file's bytes in, its result's bytes out: those that `run` would write.

    Args:
        models: the picture gets the one that suits it.
        format: of the result, a key of FORMATS.
        name: what errors call the picture.
        progress: as in `run`.

    Raises:
        PictureError: with the reason.
    """
    picture = open_picture(data, max_pixels, name=name)
    size = result_size(picture, options, models.scale)
    choice = models.choose(picture, same_size=size == picture.shape[:2])
    upscaler = models.upscaler(choice.model)
    result, notes = encode_picture(
        name,
        _rows(picture, size, upscaler, tta, progress),
        (*size, picture.shape[2]),
        picture.dtype,
        format=format,
        quality=options.quality,
        source=picture,
    )
    return Upscaled(result, size, [*picture.notes, *notes])


def run(
    picture: Picture,
    size: tuple[int, int],
    target: Path,
    upscaler: Upscaler,
    options: ResultOptions,
    *,
    tta: bool = False,
    progress: Callable[[float], None] = lambda _rows: None,
) -> list[str]:
    """Upscale one picture into a file.

    Args:
        size: (height, width) of the result.
        progress: called after every tile with the number of rows that are done, the fraction of
            those begun included; what it raises ends the work.

    Returns:
        Notes for the user on what the file could not hold.

    Raises:
        PictureError: with the reason; no partial file stays behind.
    """
    make_folder(target.parent)
    return write_picture(
        target,
        _rows(picture, size, upscaler, tta, progress),
        (*size, picture.shape[2]),
        picture.dtype,
        format=output_format(target),
        quality=options.quality,
        source=picture,
        overwrite=options.overwrite,
    )


def _rows(
    picture: Picture,
    size: tuple[int, int],
    upscaler: Upscaler,
    tta: bool,
    progress: Callable[[float], None],
) -> Iterator[np.ndarray]:
    return upscaler.rows(
        picture, size=size, tta=tta, progress=lambda fraction: progress(fraction * size[0])
    )
