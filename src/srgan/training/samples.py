"""The sample grid, a picture that shows a run: LR, bicubic, SR and HR side by side."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from srgan.pictures.resample import bicubic, round_to

COLUMNS = ("LR", "bicubic", "SR", "HR")
HEADER = 24  # pixels, height of the names
GAP = 4  # pixels between pictures
WHITE = 255

# LR, SR and HR.
SampleRow = tuple[np.ndarray, np.ndarray, np.ndarray]


def sample_grid(rows: Sequence[SampleRow]) -> np.ndarray:
    """A grid with a row for each LR, SR and HR, and a header with the columns' names.

    Args:
        rows: LR (h, w, 3), SR and HR, both (H, W, 3), RGB uint8. H and W are h and w times the
            same integer; rows may differ in size.

    Returns:
        RGB uint8 (height, width, 3), with columns of HR's size: LR with repeated pixels, bicubic
        of LR, SR and HR.
    """
    grid = [[_enlarged(lr, hr), _bicubic(lr, hr), sr, hr] for lr, sr, hr in rows]
    width = max(row[0].shape[1] for row in grid)
    bands = [_header(width), *(_side_by_side(row, width) for row in grid)]
    return np.concatenate(bands)


def _enlarged(lr: np.ndarray, hr: np.ndarray) -> np.ndarray:
    scale = hr.shape[0] // lr.shape[0]
    return lr.repeat(scale, 0).repeat(scale, 1)


def _bicubic(lr: np.ndarray, hr: np.ndarray) -> np.ndarray:
    height, width = hr.shape[:2]
    return round_to(bicubic(lr.astype(np.float32), height, width), np.dtype(np.uint8))


def _side_by_side(pictures: list[np.ndarray], width: int) -> np.ndarray:
    """Pictures of one size, each in a column `width` wide, with a gap below."""
    height, own_width = pictures[0].shape[:2]
    band = np.full((height + GAP, len(pictures) * (width + GAP) - GAP, 3), WHITE, np.uint8)
    for i, picture in enumerate(pictures):
        left = i * (width + GAP)
        band[:height, left : left + own_width] = picture
    return band


def _header(width: int) -> np.ndarray:
    canvas = Image.new("RGB", (len(COLUMNS) * (width + GAP) - GAP, HEADER), "white")
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=15)
    for i, name in enumerate(COLUMNS):
        left = i * (width + GAP)
        draw.text((left + 2, HEADER // 2), name, fill="black", font=font, anchor="lm")
    return np.asarray(canvas)
