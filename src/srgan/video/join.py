"""Joins encoded parts to one video, and copies what the source has beside its pictures.

Nothing is encoded here. Sound, subtitles, chapters, fonts and metadata are copied byte by byte.
"""

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av import Packet
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition, Stream

from srgan.pictures.files import write_error
from srgan.video.container import VideoError, lacks_room, opened, picture_stream
from srgan.video.facts import Facts
from srgan.video.order import DecodingTimes

Packets = Iterator["Packet[Any]"]

_COVERS = {"mjpeg": ("jpg", "image/jpeg"), "png": ("png", "image/png")}
_FORMATS = {"mp4": "mp4", "mov": "mov", "mkv": "matroska"}


@dataclass(frozen=True)
class Cut:
    """The part of the source that the result shows, in seconds; `last` None is its end.

    Both count from the source's start, and the result's times from `first`.
    """

    first: Fraction = Fraction(0)
    last: Fraction | None = None


def join(
    parts: Sequence[Path],
    source: Path,
    facts: Facts,
    target: Path,
    name: Path,
    cut: Cut,
    *,
    trial: bool = False,
) -> list[str]:
    """Write the parts, with all else that the source has, into one file.

    Args:
        parts: videos of the same encoding, in the order of their times.
        facts: about the source.
        target: the file to write.
        name: its later name, whose suffix chooses the container.
        trial: write the header only, to see whether the container holds the streams.

    Returns:
        A note for the user on each thing that the container cannot hold.

    Raises:
        VideoError: the file cannot be written.
    """
    try:
        with (
            opened(source) as original,
            opened(parts[0]) as first,
            _created(target, name.suffix.removeprefix(".").lower()) as output,
        ):
            pictures = picture_stream(original, source)
            video: Any = output.add_stream_from_template(
                picture_stream(first, parts[0]), opaque=True
            )
            video.time_base = facts.time_base
            video.codec_context.framerate = facts.rate  # else Matroska claims a thousand or more
            _copy_tags(pictures, video)
            copies, notes = _add_others(source, original, pictures, output)
            output.metadata.update(original.metadata)
            if cut == Cut():
                _copy_chapters(original, output, facts.start)
            output.start_encoding()
            if not trial:
                encoded = _encoded(parts, video, facts.time_base, cut)
                for packet in _merged(encoded, _copied(original, copies, facts.start, cut)):
                    output.mux_one(packet)
    except (FFmpegError, ValueError) as error:
        if lacks_room(error):
            raise VideoError(str(write_error(name, error))) from error
        raise VideoError(
            f"{name}: the streams of {source.name} do not fit into it ({error}): use -o with a "
            "name that ends in .mkv"
        ) from error
    return notes


def _created(target: Path, suffix: str) -> Any:
    return av.open(
        f"file:{target}",
        "w",
        format=_FORMATS[suffix],
        options={"movflags": "use_metadata_tags"} if suffix != "mkv" else {},
        metadata_errors="surrogateescape",
    )


def _add_others(
    source: Path, original: InputContainer, pictures: Stream, output: Any
) -> tuple[dict[int, Stream], list[str]]:
    """Streams of the result for those of the source by index, and notes on what is left out."""
    copies: dict[int, Stream] = {}
    notes: list[str] = []
    known = output.supported_codecs
    for stream in original.streams:
        if stream.index == pictures.index:
            continue
        context: Any = stream.codec_context
        codec = "" if context is None else context.codec.canonical_name
        if stream.disposition & Disposition.attached_pic:
            if not _attach_cover(source, stream, output):
                notes.append(f"the cover ({codec}) is left out: only .mkv holds it")
            continue
        fits = codec in known or (stream.type == "attachment" and "ass" in known)
        if not fits or stream.type == "video":
            if not (stream.type == "data" and original.chapters()):  # their track in MP4
                what = " ".join(filter(None, (codec, stream.type)))
                notes.append(f"the stream {stream.index} ({what}) is left out")
            continue
        copy = copies[stream.index] = output.add_stream_from_template(stream)
        _copy_tags(stream, copy)
    return copies, notes


def _attach_cover(source: Path, cover: Stream, output: Any) -> bool:
    """Add a cover to the result, if the result is an MKV; it is an attachment there."""
    kind = _COVERS.get(cover.codec_context.codec.canonical_name)
    if kind is None or output.format.name != "matroska":
        return False
    with opened(source) as again:
        picture = bytes(next(again.demux(again.streams[cover.index])))
    output.add_attachment(f"cover.{kind[0]}", kind[1], picture)
    return True


def _copy_tags(source: Stream, target: Stream) -> None:
    target.metadata.update(source.metadata)
    target.disposition = source.disposition


def _copy_chapters(original: InputContainer, output: Any, start: Fraction) -> None:
    """Copy the chapters of a source that starts at `start`, in seconds."""
    chapters = original.chapters()
    for chapter in chapters:
        shift = round(start / (chapter["time_base"] or 1))
        chapter["start"] = max(chapter["start"] - shift, 0)
        chapter["end"] = max(chapter["end"] - shift, 0)
    output.set_chapters(chapters)


def _copied(
    original: InputContainer, copies: dict[int, Stream], start: Fraction, cut: Cut
) -> Packets:
    """The packets of the other streams, in the source's order; the source starts at `start`."""
    wanted = [each for each in original.streams if each.index in copies]
    if not wanted:
        return
    for packet in original.demux(wanted):
        if packet.dts is None or not _moved(packet, start, cut):
            continue
        packet.stream = copies[packet.stream.index]
        yield packet


def _moved(packet: "Packet[Any]", start: Fraction, cut: Cut) -> bool:
    """Whether a packet belongs to the cut; if so, its times become those of the result.

    A text that is still shown where the cut begins is shown from there.
    """
    base = Fraction(packet.time_base)
    if cut != Cut() and packet.pts is not None:
        at = packet.pts * base - start
        if cut.last is not None and at >= cut.last:
            return False
        if at < cut.first:
            missing = math.ceil((cut.first - at) / base)
            if packet.stream.type != "subtitle" or (packet.duration or 0) <= missing:
                return False
            packet.pts, packet.dts = packet.pts + missing, (packet.dts or 0) + missing
            packet.duration = (packet.duration or 0) - missing
    shift = round((start + cut.first) / base)
    packet.dts = (packet.dts or 0) - shift
    packet.pts = None if packet.pts is None else packet.pts - shift
    return True


def _encoded(parts: Sequence[Path], video: Stream, time_base: Fraction, cut: Cut) -> Packets:
    """The packets of all parts with exact times, and decoding times that always grow."""
    decoding = DecodingTimes(max(map(_reordering, parts)))
    shift = round(cut.first / time_base)
    for part in parts:
        with opened(part) as container:
            stream = picture_stream(container, part)
            packets: Packets = container.demux(stream)
            for packet in packets:
                if packet.pts is None:
                    continue
                exact = Fraction(packet.time_base) / time_base
                pts = round(packet.pts * exact) - shift
                duration = round((packet.duration or 0) * exact)
                packet.time_base = time_base
                packet.pts, packet.dts = pts, decoding.of(pts, duration)
                packet.duration = duration
                packet.stream = video
                yield packet


def times_of(part: Path) -> list[Fraction]:
    """The times of a part's packets in seconds, in decoding order."""
    with opened(part) as container:
        stream = picture_stream(container, part)
        return [
            packet.pts * Fraction(packet.time_base)
            for packet in container.demux(stream)
            if packet.pts is not None
        ]


def _reordering(part: Path) -> int:
    """How many packets a packet of this part comes before its turn, at most."""
    times = times_of(part)
    place = {time: i for i, time in enumerate(sorted(times))}
    return max((i - place[time] for i, time in enumerate(times)), default=0)


def _merged(video: Packets, others: Packets) -> Packets:
    """Both by decoding time, so that no player has to look far ahead for either."""

    def when(packet: "Packet[Any]") -> Fraction:
        return (packet.dts or 0) * Fraction(packet.time_base)

    return heapq.merge(video, others, key=when)
