"""Small videos of a photograph that moves, as cameras, screens and editors write them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from skimage import data

SIZE = 48, 64  # height, width


def moving(count: int, size: tuple[int, int] = SIZE, step: int = 2) -> list[np.ndarray]:
    """Frames (H, W, 3) of a photograph under a camera that pans."""
    photo = data.coffee()
    height, width = size
    return [
        np.ascontiguousarray(photo[100 : 100 + height, 60 + step * k : 60 + step * k + width])
        for k in range(count)
    ]


@dataclass(frozen=True)
class Clip:
    """How to write a video.

    Attributes:
        times: of the frames, in units of `base`; by default 25 frames a second.
        colour: matrix, primaries, transfer, range by FFmpeg's numbers.
        context: further attributes of the encoder.
        tracks: of sound: a codec for each.
        subtitles: pairs of a time in seconds and a text.
    """

    codec: str = "libx264"
    format: str = "yuv420p"
    base: Fraction = Fraction(1, 12800)
    times: Sequence[int] | None = None
    colour: tuple[int, int, int, int] = (1, 1, 1, 1)
    options: dict[str, str] = field(default_factory=lambda: {"crf": "10", "preset": "superfast"})
    context: dict[str, Any] = field(default_factory=dict[str, Any])
    tracks: Sequence[str] = ()
    subtitles: Sequence[tuple[float, str]] = ()
    turn: int = 0
    chapters: Sequence[tuple[float, float, str]] = ()
    metadata: dict[str, str] = field(default_factory=dict[str, str])


def write_clip(path: Path, frames: Sequence[np.ndarray], clip: Clip = Clip()) -> Path:
    """Write a video."""
    times = clip.times or [round(k / 25 / clip.base) for k in range(len(frames))]
    with av.open(str(path), "w") as output:
        container: Any = output
        stream: Any = container.add_stream(clip.codec, rate=25, options=clip.options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = clip.format
        context = stream.codec_context
        context.time_base = stream.time_base = clip.base
        context.colorspace, context.color_primaries = clip.colour[:2]
        context.color_trc, context.color_range = clip.colour[2:]
        for name, value in clip.context.items():
            setattr(context, name, value)
        if clip.turn:
            stream.set_display_rotation(clip.turn)
        sounds = [_sound(container, codec, k) for k, codec in enumerate(clip.tracks)]
        texts = container.add_mux_stream("subrip") if clip.subtitles else None
        container.metadata.update(clip.metadata)
        if clip.chapters:
            container.set_chapters(
                [
                    {
                        "id": k,
                        "start": round(start * 1000),
                        "end": round(end * 1000),
                        "time_base": Fraction(1, 1000),
                        "metadata": {"title": title},
                    }
                    for k, (start, end, title) in enumerate(clip.chapters)
                ]
            )
        container.start_encoding()
        for pixels, pts in zip(frames, times, strict=True):
            container.mux(stream.encode(_frame(pixels, pts, clip)))
        container.mux(stream.encode(None))
        seconds = float(times[-1] * clip.base)
        for sound in sounds:
            container.mux(_samples(sound, seconds))
        for k, (at, text) in enumerate(clip.subtitles):
            packet = av.Packet(text.encode())
            packet.time_base = Fraction(1, 1000)
            packet.stream = texts  # type: ignore[assignment]
            packet.pts = packet.dts = round(at * 1000)
            packet.duration = 100 + k
            container.mux(packet)
    return path


def _frame(pixels: np.ndarray, pts: int, clip: Clip) -> av.VideoFrame:
    kind = "rgb24" if pixels.dtype == np.uint8 else "rgb48le"
    if pixels.ndim == 2:  # the planes of YUV, one under the other
        kind = clip.format
    frame = av.VideoFrame.from_ndarray(pixels, kind)
    if kind != clip.format:
        frame = frame.reformat(
            format=clip.format,
            dst_colorspace=clip.colour[0] if clip.colour[0] != 2 else 5,
            src_color_range=2,
            dst_color_range=clip.colour[3] or 1,
        )
    frame.pts, frame.time_base = pts, clip.base
    frame.color_primaries, frame.color_trc = clip.colour[1:3]
    return frame


def _sound(container: Any, codec: str, number: int) -> Any:
    stream = container.add_stream(codec, rate=16000)
    stream.metadata["language"] = ("eng", "deu", "fra")[number]
    return stream


def _samples(stream: Any, seconds: float) -> Iterable[Any]:
    count = max(round(16000 * seconds), 4096)
    tone = (8000 * np.sin(np.arange(count) / 8)).astype(np.int16)[None]
    frame = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = 16000, 0, Fraction(1, 16000)
    resampler = av.AudioResampler(
        stream.format.name, stream.layout.name, 16000, frame_size=stream.frame_size or None
    )
    ready = [*resampler.resample(frame), *resampler.resample(None)]
    packets = [packet for each in ready for packet in stream.encode(each)]
    return [*packets, *stream.encode(None)]


def times(path: Path) -> list[Fraction]:
    """The times of a video's decoded frames, in seconds."""
    with av.open(str(path)) as container:
        return [
            Fraction((frame.pts or 0) * (frame.time_base or 0))
            for frame in container.decode(video=0)
        ]


def pictures(path: Path) -> list[np.ndarray]:
    """The decoded frames as RGB (H, W, 3) uint8."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def others(path: Path) -> list[list[tuple[Any, ...]]]:
    """Time, duration and bytes of all packets of each stream but the video's."""
    with av.open(str(path)) as container:
        streams = [each for each in container.streams if each.type != "video"]
        found: dict[int, list[tuple[Any, ...]]] = {each.index: [] for each in streams}
        for packet in container.demux(streams):
            if packet.size:
                times = [
                    None if value is None else value * packet.time_base
                    for value in (packet.pts, packet.dts, packet.duration)
                ]
                found[packet.stream.index].append((*times, bytes(packet)))
        return list(found.values())
