"""Reads the frames of a video as upright RGB, with exact times.

A damaged video is an error, as a damaged picture is: FFmpeg's own repair of missing parts is
smeared pixels, which a network would sharpen.
"""

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from av import VideoFrame
from av.error import FFmpegError, InvalidDataError

from srgan.video.colour import Converter
from srgan.video.container import VideoError, opened, picture_stream
from srgan.video.facts import Facts

_BACK = 0, 3, 12, 48  # seconds before a time, to look for a key frame


@dataclass(frozen=True)
class Frame:
    """One frame: its time and duration in units of the video's time base, its pixels (H, W, 3).

    Times count from the video's start. Pixels are RGB, uint8 or, for more than 8 bits, uint16.
    """

    pts: int
    duration: int
    pixels: np.ndarray


def frames_of(
    path: Path, facts: Facts, first: Fraction, last: Fraction | None
) -> Generator[Frame, None, None]:
    """The frames from `first` to before `last`, in seconds from the video's start, in order.

    Raises:
        VideoError: the video is damaged; the text says at which time.
    """
    reader = _Reader(path, facts)
    for frame in _in_order(path, facts, first, last):
        if (frame.pts or 0) * facts.time_base >= first:
            yield from reader.read(frame)
    yield from reader.read(None)


def _in_order(
    path: Path, facts: Facts, first: Fraction, last: Fraction | None
) -> Iterator[VideoFrame]:
    """Decoded frames from a key frame at or before `first`, each later than the one before."""
    step = max(round(1 / (facts.rate * facts.time_base)), 1)
    start = round(facts.start / facts.time_base)
    place = _place(path, facts, first)
    previous: int | None = None
    with opened(path) as container:
        stream = picture_stream(container, path)
        if place is not None:
            container.seek(place, stream=stream)
        try:
            for frame in container.decode(stream):
                if frame.pts is not None:
                    frame.pts -= start
                if frame.pts is None or (previous is not None and frame.pts <= previous):
                    frame.pts = 0 if previous is None else previous + step
                if last is not None and frame.pts * facts.time_base >= last:
                    return
                previous = frame.pts
                frame.time_base = facts.time_base
                if frame.is_corrupt and previous * facts.time_base >= first:
                    raise InvalidDataError(1, "damaged frame")
                yield frame
        except InvalidDataError as error:
            at = math.floor((previous or 0) * facts.time_base * 100) / 100
            raise VideoError(
                f"{path}: the video is damaged after {at:.2f} seconds: get a fresh copy, or add "
                f"--to {at:.2f}"
            ) from error


def _place(path: Path, facts: Facts, first: Fraction) -> int | None:
    """Where to seek, in units of the time base, to decode from a key frame at or before `first`.

    FFmpeg seeks to any packet where the format has no table of key frames, such as MPEG-TS.

    Returns:
        The place; None: decode from the beginning.
    """
    for back in _BACK:
        if first <= back:
            return None
        with opened(path) as container:
            stream = picture_stream(container, path)
            place = math.floor((facts.start + first - back) / facts.time_base)
            try:
                container.seek(place, stream=stream)
                frame = next(container.decode(stream), None)
            except FFmpegError:
                continue
            if frame is None or frame.pts is None or not frame.key_frame:
                continue
            if frame.pts * facts.time_base - facts.start <= first:
                return place
    return None


class _Reader:
    """Turns decoded frames into upright RGB."""

    def __init__(self, path: Path, facts: Facts) -> None:
        self._path, self._facts = path, facts
        self._converter: Converter | None = None
        self._deinterlace = False

    def read(self, frame: VideoFrame | None) -> Iterator[Frame]:
        """The frames that are ready after this one; None ends the video."""
        if frame is None:
            if self._converter is not None:
                yield from map(self._upright, self._converter.convert(None))
            return
        self._deinterlace |= frame.interlaced_frame
        converter = self._converter
        if converter is None or not converter.fits(frame, deinterlace=self._deinterlace):
            if converter is not None:
                yield from map(self._upright, converter.convert(None))
            self._check(frame)
            converter = self._converter = Converter(
                frame,
                self._facts.colour.rgb_format,
                self._facts.colour,
                deinterlace=self._deinterlace,
            )
        yield from map(self._upright, converter.convert(frame))

    def _check(self, frame: VideoFrame) -> None:
        size = (frame.width, frame.height) if self._facts.turns % 2 else (frame.height, frame.width)
        if size != self._facts.size:
            at = float((frame.pts or 0) * self._facts.time_base)
            raise VideoError(
                f"{self._path}: the size of its frames changes after {at:.2f} seconds: upscale the "
                "parts one by one with --from and --to"
            )

    def _upright(self, frame: VideoFrame) -> Frame:
        pixels: Any = frame.to_ndarray()
        if self._facts.flipped:
            pixels = pixels[:, ::-1]
        if self._facts.turns:
            pixels = np.rot90(pixels, self._facts.turns)
        return Frame(frame.pts or 0, frame.duration or 0, np.ascontiguousarray(pixels))
