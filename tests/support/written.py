"""A file that another library wrote, with the picture in it, and what its writers share."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import ImageCms
from skimage import data

RGB = np.ascontiguousarray(data.astronaut()[60:97, 190:241])  # (37, 51, 3): a face
GRAY = RGB[..., 1].copy()
ALPHA = np.linspace(20, 255, GRAY.size).reshape(GRAY.shape).astype(np.uint8)
RGBA = np.dstack([RGB, ALPHA])
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
EXACT, CLOSE, LOSSY = 1.0, 3.0, 25.0  # mean differences in levels; LOSSY still tells pictures apart


@dataclass(frozen=True)
class Written:
    """A file and the picture in it.

    Attributes:
        name: what wrote it, with its options.
        file: its bytes.
        pixels: what it shows, (H, W, 4) in [0, 255], not multiplied by alpha.
        close: how far a reading may be from `pixels`, in levels, on average.
    """

    name: str
    file: bytes
    pixels: np.ndarray
    close: float


def one_by_one(options: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """No option, then each option with each of its values."""
    yield {}
    for name, values in options.items():
        for value in values:
            yield {name: value}


def named(*parts: object) -> str:
    return re.sub("(?<!zli)b'.{20,}?'", "bytes", " ".join(str(part) for part in parts))
