"""Options for reading pictures and writing results. This module is cheap to import."""

from dataclasses import dataclass
from typing import Literal

from srgan.errors import OptionError
from srgan.pictures.codec.formats import FORMATS, LOSSY_FORMATS

# How bicubic resampling continues a picture beyond its edges. "replicate" repeats the last pixel,
# like MATLAB's imresize when the benchmark sets were made. "symmetric" mirrors the picture, like
# today's imresize. Only the outer pixels differ.
Edges = Literal["replicate", "symmetric"]

DEFAULT_MAX_PIXELS = 200_000_000


def check_max_pixels(max_pixels: int) -> None:
    """Raise OptionError if no picture can have so few pixels."""
    if max_pixels < 1:
        raise OptionError(f"--max-pixels must be at least 1, not {max_pixels}")


MAX_SCALE = 8


@dataclass(frozen=True)
class ResultOptions:
    """Size, format and name of the results.

    Attributes:
        scale: Result pixels per pixel, 1 to 8; by default the model's. 1 keeps the size and
            sharpens.
        width: Width of the result in pixels. With --height, the largest size that fits both.
        height: Height of the result in pixels.
        format: One of FORMATS, or gif for animations; by default the picture's.
        quality: From 1 to 100, for LOSSY_FORMATS.
        suffix: Added to the name. By default _x and the scale, or _w and the width, if the result
            lies beside the picture, and nothing in a folder given with -o.
        overwrite: Replace files that exist. Links are written through.
        keep_extension: With --format, add the new extension: a.jpg becomes a.jpg.webp. So
            a.jpg and a.png can go into one folder.
        first_frame: Of animations, upscale the first frame only.

    Raises:
        OptionError: a value is out of range, or options contradict each other.
    """

    scale: float | None = None
    width: int | None = None
    height: int | None = None
    format: str | None = None
    quality: int | None = None
    suffix: str | None = None
    overwrite: bool = False
    keep_extension: bool = False
    first_frame: bool = False

    def __post_init__(self) -> None:
        if self.scale is not None and not 1 <= self.scale <= MAX_SCALE:
            raise OptionError(f"--scale must be from 1 to {MAX_SCALE}")
        if self.scale is not None and (self.width or self.height):
            raise OptionError("give either --scale or --width and --height")
        if any(side is not None and side < 1 for side in (self.width, self.height)):
            raise OptionError("--width and --height must be at least 1")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise OptionError("--quality must be from 1 to 100")
        if self.suffix is not None and ("/" in self.suffix or "\\" in self.suffix):
            raise OptionError("--suffix is part of a file's name: no slashes")


# `srgan upscale --help` shows this text, with the names from the table of formats.
ResultOptions.__doc__ = (
    (ResultOptions.__doc__ or "")
    .replace("LOSSY_FORMATS", ", ".join(LOSSY_FORMATS))
    .replace("FORMATS", ", ".join(FORMATS))
)
