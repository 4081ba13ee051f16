"""Options for reading pictures and writing results. Importing this is cheap."""

from dataclasses import dataclass
from typing import Literal

from srgan.errors import OptionError

# What lies beyond a picture's edges: the last pixel repeated, as in MATLAB's imresize when the
# benchmark sets were made, or the picture mirrored, as in today's. Only outer pixels differ.
Edges = Literal["replicate", "symmetric"]


DEFAULT_MAX_PIXELS = 200_000_000


MAX_SCALE = 8


@dataclass(frozen=True)
class ResultOptions:
    """What is written, and where.

    Attributes:
        scale: Result pixels per pixel, 1 to 8; by default the model's own. 1 gives a picture
            of the same size, sharper.
        width: Width of the result in pixels; with --height: the most that fits both.
        height: Height of the result in pixels.
        format: One of jpeg, png, webp, tiff, avif; by default the picture's own.
        quality: Of JPEG, WebP and AVIF, 1 to 100.
        suffix: Added to the name. Default: _x and the scale, or _w and the width, beside the
            original; nothing in a folder given with -o.
        overwrite: Replace files that exist.
    """

    scale: float | None = None
    width: int | None = None
    height: int | None = None
    format: str | None = None
    quality: int | None = None
    suffix: str | None = None
    overwrite: bool = False

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
