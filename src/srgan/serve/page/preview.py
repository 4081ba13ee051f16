"""Writes the two pictures of the page's slider: bicubic and SR of the same size, as PNG."""

from collections.abc import Iterator
from math import sqrt
from pathlib import Path

import numpy as np

from srgan.pictures.images import Picture, open_picture, write_picture
from srgan.pictures.resample import resize_rows, round_to

MOST_PIXELS = 16_000_000  # of a preview: a browser holds two, with 4 bytes for each pixel
BAND = 256  # rows read at a time


def write_previews(source: Picture, result: Path, size: tuple[int, int]) -> tuple[Path, Path]:
    """Write bicubic.png and sr.png beside the result.

    Args:
        source: the LR picture.
        result: the SR picture's file.
        size: (width, height) of the SR picture.

    Returns:
        The two files. They are smaller than a result of more than MOST_PIXELS.
    """
    shrink = min(1.0, sqrt(MOST_PIXELS / (size[0] * size[1])))
    target = max(round(size[1] * shrink), 1), max(round(size[0] * shrink), 1)
    before, after = result.with_name("bicubic.png"), result.with_name("sr.png")
    _write(source, before, target)
    _write(open_picture(result, size[0] * size[1]), after, target)
    return before, after


def _write(picture: Picture, path: Path, target: tuple[int, int]) -> None:
    height, width, bands = picture.shape
    rows = _bands(picture)
    if (height, width) != target:
        resized = resize_rows(rows, (height, width), target)
        rows = (round_to(block, picture.dtype) for block in resized)
    write_picture(path, rows, (*target, bands), picture.dtype, format="png", source=picture)


def _bands(picture: Picture) -> Iterator[np.ndarray]:
    height, width, _ = picture.shape
    for top in range(0, height, BAND):
        yield picture[top : top + BAND, 0:width]
