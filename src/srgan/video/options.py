"""Options of `srgan video`. This module is cheap to import: `srgan --help` reads it."""

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Literal, get_args

from cyclopts import Parameter

from srgan.errors import OptionError
from srgan.pictures.options import ResultOptions

Codec = Literal["h264", "hevc", "av1", "prores", "ffv1"]

CONTAINERS = ("mp4", "mov", "mkv")
"""The suffixes of results, without the dot."""

DEFAULT_DETAIL = 0.5
"""Of models with a partner: what a network invents differs from frame to frame."""

_TIME = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class VideoOptions:
    """Size, part and coding of the result.

    Attributes:
        scale: Result pixels per pixel, 1 to 8; by default the model's.
        width: Width of the result in pixels. With --height, the largest size that fits both.
        height: Height of the result in pixels.
        codec: By default h264, and hevc for more than 8 bits a channel.
        crf: Quality of h264, hevc and av1: lower is better and larger. By default 18, 20 and 28.
        preset: Effort of the encoder: ultrafast to veryslow for h264 and hevc, 0 to 13 for av1.
        start: Begin at this time, such as 90, 1:30 or 0:01:30.5.
        end: End at this time.
        frames: Upscale at most so many frames.
        steady: Blend what the network adds with the frames before, along the motion, so that it
            does not flicker.
        overwrite: Replace a result that exists, and what a stopped run left of it.

    Raises:
        OptionError: a value is out of range, or options contradict each other.
    """

    scale: float | None = None
    width: int | None = None
    height: int | None = None
    codec: Codec | None = None
    crf: int | None = None
    preset: str | None = None
    start: Annotated[str | None, Parameter(name="--from")] = None
    end: Annotated[str | None, Parameter(name="--to")] = None
    frames: int | None = None
    steady: Annotated[bool, Parameter(negative_bool="no-")] = True
    overwrite: bool = False

    def __post_init__(self) -> None:
        _ = self.result  # checks the size
        if self.codec is not None and self.codec not in get_args(Codec):
            raise OptionError(f"--codec must be one of {', '.join(get_args(Codec))}")
        if self.codec in ("prores", "ffv1") and (self.crf is not None or self.preset is not None):
            raise OptionError(f"{self.codec} has no --crf and no --preset")
        if self.crf is not None and not 0 <= self.crf <= 63:
            raise OptionError("--crf must be from 0 to 63")
        if self.frames is not None and self.frames < 1:
            raise OptionError("--frames must be at least 1")
        first, last = self.first, self.last
        if last is not None and last <= first:
            raise OptionError("--to must be later than --from")

    @property
    def result(self) -> ResultOptions:
        """The size asked for, as for pictures."""
        return ResultOptions(scale=self.scale, width=self.width, height=self.height)

    @property
    def first(self) -> Fraction:
        """Where to begin, in seconds."""
        return Fraction(0) if self.start is None else seconds(self.start, "--from")

    @property
    def last(self) -> Fraction | None:
        """Where to end, in seconds; None for the end of the video."""
        return None if self.end is None else seconds(self.end, "--to")

    @property
    def cut(self) -> bool:
        """Whether only a part of the video is asked for."""
        return any(value is not None for value in (self.start, self.end, self.frames))


def seconds(text: str, option: str) -> Fraction:
    """A time such as 90, 1:30 or 0:01:30.5 in seconds.

    Args:
        option: that it was given with, for the error.

    Raises:
        OptionError: it is not a time.
    """
    found = _TIME.fullmatch(text)
    if found is None:
        raise OptionError(f"{option} {text}: not a time; write seconds, or 1:30, or 0:01:30.5")
    hours, minutes, rest = found.groups(default="0")
    return int(hours) * 3600 + int(minutes) * 60 + Fraction(rest)
