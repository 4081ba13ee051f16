"""Encodes frames into a file: how each codec is told what the video is."""

import contextlib
import os
import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import av
from av import VideoFrame
from av.error import FFmpegError

from srgan.errors import OptionError
from srgan.pictures.files import write_error
from srgan.video.colour import Colour, Converter
from srgan.video.container import VideoError, lacks_room
from srgan.video.facts import Facts
from srgan.video.options import Codec, VideoOptions
from srgan.video.order import DecodingTimes
from srgan.video.source import Frame

_REORDERED = 4  # packets that may come before their turn; the encoders need at most 2
_X_PRESETS = (
    *("ultrafast", "superfast", "veryfast", "faster", "fast"),
    *("medium", "slow", "slower", "veryslow"),
)


@dataclass(frozen=True)
class _Coder:
    """An encoder of FFmpeg.

    Attributes:
        library: FFmpeg's name.
        crf, preset: the defaults; None where it has none.
        presets: the values of `preset`.
        bits: most bits of a sample.
        chroma: the kinds that it takes; the first replaces others.
        options: of the encoder.
        side: longest side of a frame.
    """

    library: str
    crf: int | None
    preset: str | None
    presets: tuple[str, ...]
    bits: int
    chroma: tuple[str, ...]
    options: dict[str, str]
    side: int


_CODERS: dict[str, _Coder] = {
    "h264": _Coder("libx264", 18, "medium", _X_PRESETS, 10, ("420", "422", "444"), {}, 16_384),
    "hevc": _Coder("libx265", 20, "fast", _X_PRESETS, 12, ("420", "422", "444"), {}, 16_384),
    "av1": _Coder("libsvtav1", 28, "8", tuple(map(str, range(14))), 10, ("420",), {}, 16_384),
    "prores": _Coder("prores_ks", None, None, (), 10, ("422", "444"), {}, 16_384),
    "ffv1": _Coder(
        "ffv1", None, None, (), 16, ("420", "422", "444"), {"level": "3", "slices": "16"}, 65_535
    ),
}
assert tuple(_CODERS) == get_args(Codec)


@dataclass(frozen=True)
class Encoding:
    """How a result is encoded.

    Attributes:
        codec: its name.
        size: (height, width).
        format: FFmpeg's pixel format.
        colour: of the result.
        rate, time_base, pixel_aspect: as in `Facts`.
        options: of the encoder.
        notes: for the user.
    """

    codec: Codec
    size: tuple[int, int]
    format: str
    colour: Colour
    rate: Fraction
    time_base: Fraction
    pixel_aspect: Fraction
    options: dict[str, str]
    notes: tuple[str, ...]

    @property
    def suffix(self) -> str:
        """Of a file that holds this video alone, with its exact times."""
        return ".mov" if self.codec == "prores" else ".mp4"


def choose_encoding(
    path: Path, facts: Facts, options: VideoOptions, size: tuple[int, int]
) -> Encoding:
    """Choose the encoding that keeps the colours of a video.

    Args:
        path: of the source, for errors.
        size: (height, width) of the result.

    Raises:
        OptionError: the codec does not take an option.
        VideoError: the codec cannot hold the video.
    """
    source = facts.colour
    codec: Codec = options.codec or ("h264" if source.bits <= 8 else "hevc")
    coder = _CODERS[codec]
    if max(size) > coder.side:
        raise VideoError(
            f"{path}: {size[1]:,} x {size[0]:,} pixels, but {codec} holds at most {coder.side:,} "
            "a side: ask for a smaller --scale or --width"
        )
    if source.hdr and codec == "h264":
        raise VideoError(f"{path}: h264 does not keep HDR ({source.hdr}): use --codec hevc")
    chroma = {"gray": "420", "rgb": "444"}.get(source.chroma, source.chroma)
    if chroma not in coder.chroma:
        chroma = coder.chroma[0]
    bits = min(next(each for each in (8, 10, 12, 16) if each >= min(source.bits, 16)), coder.bits)
    bits = 10 if codec == "prores" else bits
    notes: list[str] = []
    if bits < source.bits:
        notes.append(f"{source.bits} bits rounded to the {bits} that {codec} has")
    if source.chroma in ("422", "444") and chroma != source.chroma:
        notes.append(f"colour stored at 4:{chroma[1]}:{chroma[2]}, as {codec} does")
    suffix = "" if bits == 8 else f"{bits}le"
    return Encoding(
        codec,
        size,
        f"yuv{chroma}p{suffix}",
        source,
        facts.rate,
        facts.time_base,
        facts.pixel_aspect,
        _encoder_options(codec, chroma, facts, options),
        tuple(notes),
    )


def _encoder_options(
    codec: Codec, chroma: str, facts: Facts, options: VideoOptions
) -> dict[str, str]:
    coder = _CODERS[codec]
    found = dict(coder.options)
    preset = options.preset or coder.preset
    if preset is not None:
        if preset not in coder.presets:
            known = f"{coder.presets[0]} to {coder.presets[-1]}"
            raise OptionError(f"--preset {preset}: {codec} takes {known}")
        found["preset"] = preset
    if coder.crf is not None:
        found["crf"] = str(coder.crf if options.crf is None else options.crf)
    if codec == "prores":
        found["profile"] = "4444" if chroma == "444" else "hq"
        found["vendor"] = "apl0"
    display, light = facts.light
    if codec == "hevc":
        parts = ["log-level=error"]
        parts += [f"master-display={_display(display, 50_000, 10_000)}"] if display else []
        parts += ["max-cll={},{}".format(*struct.unpack_from("=2I", light))] if light else []
        found["x265-params"] = ":".join(parts)
    if codec == "av1":
        parts = [f"mastering-display={_display(display, 1, 1)}"] if display else []
        parts += ["content-light={},{}".format(*struct.unpack_from("=2I", light))] if light else []
        if parts:
            found["svtav1-params"] = ":".join(parts)
    return found


def _display(structure: bytes, chromaticity: int, luminance: int) -> str:
    """FFmpeg's AVMasteringDisplayMetadata as encoders take it.

    Args:
        chromaticity, luminance: units in 1; integers are written if that is not 1.
    """
    numbers = struct.unpack_from("=20i", structure)
    fractions = [
        Fraction(top, bottom or 1) for top, bottom in zip(numbers[::2], numbers[1::2], strict=True)
    ]

    def text(value: Fraction, unit: int) -> str:
        return str(round(value * unit)) if unit > 1 else f"{float(value):.5f}"

    r, g, b, white = (
        ",".join(text(each, chromaticity) for each in fractions[at : at + 2]) for at in (0, 2, 4, 6)
    )
    low, high = (text(each, luminance) for each in fractions[8:10])
    return f"G({g})B({b})R({r})WP({white})L({high},{low})"


class Encoder:
    """Writes frames into a file of their own.

    A context: its end finishes the file, or after an error in the body closes it as it is.

    Raises:
        VideoError: the encoder refuses the video.
    """

    def __init__(self, path: Path, encoding: Encoding) -> None:
        self._path, self._encoding = path, encoding
        self._converter: Converter | None = None
        self._decoding = DecodingTimes(_REORDERED)
        coder = _CODERS[encoding.codec]
        os.environ.setdefault("SVT_LOG", "1")  # libsvtav1 reads it: errors only
        format = encoding.suffix.removeprefix(".")
        self._container: Any = av.open(f"file:{path}", "w", format=format)
        try:
            stream: Any = self._container.add_stream(
                coder.library, rate=encoding.rate, options=encoding.options
            )
            stream.height, stream.width = encoding.size
            stream.pix_fmt = encoding.format
            context = stream.codec_context
            context.time_base = stream.time_base = encoding.time_base
            context.sample_aspect_ratio = encoding.pixel_aspect
            colour = encoding.colour
            context.colorspace, context.color_primaries = colour.matrix, colour.primaries
            context.color_trc, context.color_range = colour.transfer, 2 if colour.full else 1
            if encoding.codec == "hevc":
                context.codec_tag = "hvc1"  # Apple's players know no other
            self._stream = stream
            self._container.start_encoding()
        except (FFmpegError, ValueError) as error:
            self._release()
            raise self._refused(error) from error

    def write(self, image: Frame) -> None:
        """Encode one frame."""
        frame = VideoFrame.from_ndarray(image.pixels, self._encoding.colour.rgb_format)
        frame.pts, frame.time_base = image.pts, self._encoding.time_base
        frame.duration = image.duration
        if self._converter is None:
            self._converter = Converter(frame, self._encoding.format, self._encoding.colour)
        try:
            for ready in self._converter.convert(frame):
                colour = self._encoding.colour
                ready.color_primaries, ready.color_trc = colour.primaries, colour.transfer
                self._mux(self._stream.encode(ready))
        except FFmpegError as error:
            raise self._refused(error) from error

    def __enter__(self) -> "Encoder":
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        try:
            if error is None:
                self._mux(self._stream.encode(None))
                self._container.close()
        except FFmpegError as failure:
            raise self._refused(failure) from failure
        finally:
            self._release()

    def _release(self) -> None:
        """Close the file, finished or not: Windows does not remove an open file."""
        with contextlib.suppress(FFmpegError):
            self._container.close()

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            packet.dts = self._decoding.of(packet.pts, packet.duration or 0)
            self._container.mux_one(packet)

    def _refused(self, error: Exception) -> VideoError:
        if lacks_room(error):
            return VideoError(str(write_error(self._path, error)))
        height, width = self._encoding.size
        return VideoError(
            f"the encoder of {self._encoding.codec} refuses {width} x {height} pixels of "
            f"{self._encoding.format} ({error}): try another --codec or --scale"
        )
