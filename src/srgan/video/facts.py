"""What a video is: read from its first frame, and from the table of its packets."""

import math
import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av import VideoFrame
from av.container import InputContainer
from av.video.stream import VideoStream

from srgan.pictures.files import read_error
from srgan.video.colour import Colour, colour_of
from srgan.video.container import VideoError, opened, picture_stream

_RATE_FACTOR = 1.5  # a claimed rate may be wrong by less
_TOLERANCE = 0.5  # seconds that a file may be shorter than its header says
_WHOLE_TURNS = {(1, 0, 0, 1): 0, (0, 1, -1, 0): 1, (-1, 0, 0, -1): 2, (0, -1, 1, 0): 3}


@dataclass(frozen=True)
class Facts:
    """What a video is.

    Attributes:
        size: (height, width) of a frame, upright.
        colour: of its samples.
        rate: mean frames per second.
        time_base: of the timestamps, in seconds.
        pixel_aspect: width of a pixel by its height, upright.
        frames: how many there are.
        start: the file's time, in seconds, at which the video starts. All other times count
            from it; some cameras and recorders do not start their clock at 0.
        end: of the last frame, in seconds from the start.
        flipped, turns: how a frame becomes upright: mirrored first, then turned by so many
            quarters counterclockwise.
        light: HDR's mastering display and light levels, as FFmpeg's structures.
        notes: for the user.
    """

    size: tuple[int, int]
    colour: Colour
    rate: Fraction
    time_base: Fraction
    pixel_aspect: Fraction
    frames: int
    start: Fraction
    end: float
    flipped: bool
    turns: int
    light: tuple[bytes | None, bytes | None]
    notes: tuple[str, ...]


def inspect_video(path: Path, max_pixels: int, last: Fraction | None = None) -> Facts:
    """Read a video's first frame and the table of all its packets, without decoding them.

    Args:
        max_pixels: the limit for a frame's width x height.
        last: seconds from the start that matter; damage after them is no error.

    Raises:
        VideoError: it cannot be read, is damaged, or has a frame that is too large.
    """
    _check_is_file(path)
    with opened(path) as container:
        stream = picture_stream(container, path)
        width, height = stream.codec_context.width, stream.codec_context.height
        if width * height > max_pixels:
            raise VideoError(
                f"{path}: frames of {width:,} x {height:,} pixels are more than the limit of "
                f"{max_pixels:,}: raise it with --max-pixels"
            )
        frame = next(container.decode(stream), None)
        if frame is None:
            raise VideoError(f"{path}: there is no frame in it: get a fresh copy")
        return _facts(path, stream, frame, _read_table(path, last))


def _facts(path: Path, stream: VideoStream, frame: VideoFrame, table: "_Table") -> Facts:
    try:
        colour = colour_of(frame)
    except ValueError as error:
        raise VideoError(
            f"{path}: {error} cannot be upscaled: convert it to H.264 first"
        ) from error
    entries: Any = frame.side_data
    side_data: dict[str, bytes] = {each.type.name: bytes(each) for each in entries}
    if "DOVI_METADATA" in side_data and colour.transfer == 2:
        raise VideoError(
            f"{path}: Dolby Vision without an HDR10 base cannot be upscaled: export it as HDR10"
        )
    flipped, turns = _orientation(path, side_data.get("DISPLAYMATRIX"))
    height, width = frame.height, frame.width
    aspect = Fraction(stream.sample_aspect_ratio or 1) or Fraction(1)
    if turns % 2:
        height, width, aspect = width, height, 1 / aspect
    notes: list[str] = []
    if "DYNAMIC_HDR_PLUS" in side_data or "DOVI_METADATA" in side_data:
        notes.append("HDR10+ and Dolby Vision data of single scenes are left out")
    if frame.interlaced_frame:
        notes.append("interlaced fields become whole frames")
    if any(each.is_alpha for each in frame.format.components) and "pal" not in frame.format.name:
        notes.append("the transparency is left out")
    return Facts(
        (height, width),
        colour,
        _rate(stream, table),
        Fraction(stream.time_base or Fraction(1, 1000)),
        aspect,
        table.frames,
        table.start,
        table.end,
        flipped,
        turns,
        (side_data.get("MASTERING_DISPLAY_METADATA"), side_data.get("CONTENT_LIGHT_LEVEL")),
        tuple(notes),
    )


def _check_is_file(path: Path) -> None:
    try:
        if not path.is_file():
            path.stat()
            raise VideoError(f"{path}: it is not an ordinary file: give a video file")
        if path.stat().st_size == 0:
            raise VideoError(f"{path}: the file is empty: get a fresh copy")
    except OSError as error:
        raise VideoError(str(read_error(str(path), error))) from error


def _orientation(path: Path, matrix: bytes | None) -> tuple[bool, int]:
    """Whether frames are mirrored, and the quarter turns that make them upright."""
    if matrix is None:
        return False, 0
    values = struct.unpack("=9i", matrix)
    exact = [values[at] / 65536 for at in (0, 1, 3, 4)]
    a, b, c, d = map(round, exact)
    flipped = a * d - b * c < 0
    if flipped:
        a, b = -a, -b
    turns = _WHOLE_TURNS.get((a, b, c, d))
    if turns is None or any(abs(value - round(value)) > 0.01 for value in exact):
        raise VideoError(f"{path}: it is turned by a part of a quarter: turn it upright first")
    return flipped, -turns % 4  # positive angles of the matrix turn clockwise


@dataclass(frozen=True)
class _Table:
    """What the table of a file's packets says. `start`, `frames` and `end` are as in `Facts`.

    Attributes:
        between: mean seconds from a frame to the next; 0 for a single frame.
    """

    start: Fraction
    frames: int
    end: float
    between: float


def _rate(stream: VideoStream, table: _Table) -> Fraction:
    """The frames per second that the file claims, unless its packets show quite another mean."""
    claimed = Fraction(stream.average_rate or stream.guessed_rate or 25)
    if table.between == 0 or 1 / _RATE_FACTOR < claimed * table.between < _RATE_FACTOR:
        return claimed
    return Fraction(1 / table.between).limit_denominator(1001)


def _start(container: InputContainer, stream: VideoStream) -> Fraction:
    """Where a file starts, in seconds; a whole number of units of the video's time base.

    Sound alone may come before 0, where its codec needs a run-up: then the video starts at 0.
    """
    microseconds, base = container.start_time or 0, stream.time_base
    if base is None or (microseconds < 0 and (stream.start_time or 0) >= 0):
        return Fraction(0)
    exact = Fraction(2 * microseconds + 1, 2 * av.time_base)  # FFmpeg has rounded it
    return math.floor(exact / base) * Fraction(base)


def _read_table(path: Path, last: Fraction | None) -> _Table:
    """Read the times of all packets.

    Raises:
        VideoError: the file is shorter than its header says.
    """
    frames, end, whole_end = 0, 0.0, 0.0
    first, newest = math.inf, -math.inf  # times of frames
    with opened(path) as container:
        chosen = picture_stream(container, path)
        announced, start = chosen.frames, _start(container, chosen)
        for packet in container.demux():
            at = packet.pts if packet.pts is not None else packet.dts
            stream = packet.stream
            if at is None or stream.time_base is None:
                continue
            begin = float(at * stream.time_base - start)
            until = float((at + (packet.duration or 0)) * stream.time_base - start)
            whole_end = max(whole_end, until)
            if stream.index == chosen.index:
                end = max(end, until)
                if not packet.is_discard:
                    frames += 1
                    first, newest = min(first, begin), max(newest, begin)
        promised = (container.duration or 0) / av.time_base
        if chosen.duration is None:  # Matroska's header names the end instead of the duration
            promised = max(promised - float(start), 0)
    needed = promised if last is None else min(promised, float(last))
    missing = announced > 0 and frames < announced * 0.99 and end < needed - _TOLERANCE
    if missing or whole_end < needed - max(_TOLERANCE, 0.02 * promised):
        raise VideoError(
            f"{path}: the file is cut short at {end:.1f} of {promised:.1f} seconds: get a fresh "
            f"copy, or add --to {end:.1f}"
        )
    return _Table(start, frames, end, (newest - first) / (frames - 1) if frames > 1 else 0.0)
