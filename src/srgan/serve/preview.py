"""Pictures of a job for the screen: the original, its bicubic enlargement, and the result."""

from collections.abc import Callable, Iterator
from math import sqrt
from pathlib import Path
from typing import Literal

import numpy as np

from srgan.pictures.images import FORMATS, Picture, open_picture, write_picture
from srgan.pictures.resample import resize_rows, round_to
from srgan.serve.jobs import Job
from srgan.serve.orders import Result

MOST_PIXELS = 16_000_000  # of a preview: a browser holds two, with 4 bytes for each pixel
THUMBNAIL_SIDE = 320
BAND = 256  # rows read at a time
IN_BROWSERS = ("image/jpeg", "image/png", "image/webp", "image/avif", "image/gif")

Kind = Literal["thumbnail", "original", "bicubic", "result"]


def make_preview(
    job: Job, kind: Kind, result: Result | None, reserve: Callable[[int], None]
) -> Path:
    """The file of a preview in the job's folder, written at its first use.

    A result that browsers can show is its own preview. Previews have at most MOST_PIXELS.

    Args:
        result: the job's, for "bicubic" and "result".
        reserve: called with the bytes that the job's folder will take at most.

    Raises:
        PictureError: the picture is damaged, or the preview cannot be written.
        OSError: the job's files are gone.
        Problem: `reserve` refuses.
    """
    name = result.file if kind == "result" and result else None
    if name and result and result.type in IN_BROWSERS and result.size.pixels <= MOST_PIXELS:
        return job.folder / name
    for format in ("jpeg", "png"):
        path = _file(job, kind, format)
        if path.exists():
            return path
    picture = open_picture((job.folder / (name or job.upload.name)).read_bytes(), 1 << 40)
    height, width, bands = picture.shape
    if kind == "bicubic" and result:
        width, height = result.size.width, result.size.height
    most = THUMBNAIL_SIDE / max(height, width) if kind == "thumbnail" else 1.0
    shrink = min(1.0, most, sqrt(MOST_PIXELS / (width * height)))
    target = max(round(height * shrink), 1), max(round(width * shrink), 1)
    format = "png" if bands in (2, 4) else "jpeg"
    reserve(job.files_bytes() + target[0] * target[1] * (bands if format == "png" else 2))
    path = _file(job, kind, format)
    _write(picture, path, target, format)
    return path


def _file(job: Job, kind: Kind, format: str) -> Path:
    return job.folder / f"preview-{kind}{FORMATS[format].suffixes[0]}"


def _write(picture: Picture, path: Path, target: tuple[int, int], format: str) -> None:
    height, width, bands = picture.shape
    rows = _bands(picture)
    if (height, width) != target:
        resized = resize_rows(rows, (height, width), target)
        rows = (round_to(block, picture.dtype) for block in resized)
    write_picture(
        path, rows, (*target, bands), picture.dtype, format=format, source=picture, overwrite=True
    )


def _bands(picture: Picture) -> Iterator[np.ndarray]:
    height, width, _ = picture.shape
    for top in range(0, height, BAND):
        yield picture[top : top + BAND, 0:width]
