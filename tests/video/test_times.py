"""Frames, times, sound, text and chapters of the result are the source's."""

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image

from srgan.video.facts import inspect_video
from tests.support.clips import Clip, moving, others, pictures, times, write_clip
from tests.video.conftest import Convert

UNEVEN = [0, 400, 1500, 1900, 2700, 5200, 5300, 9000, 9600, 9700, 12000, 12801]


def source(tmp_path: Path, name: str) -> Path:
    count = 12
    clips = {
        "b-frames.mp4": Clip(tracks=["aac"], options={"bf": "3", "x264-params": "b-adapt=0"}),
        "variable.mp4": Clip(times=UNEVEN, tracks=["aac"]),
        "late.mp4": Clip(times=[5000 + 512 * k for k in range(count)], tracks=["aac"]),
        "ntsc.mov": Clip(base=Fraction(1001, 30000), times=range(count), tracks=["pcm_s16le"]),
        "tracks.mkv": Clip(
            base=Fraction(1, 1000),
            tracks=["aac", "libopus"],
            subtitles=[(0.05, "one"), (0.3, "two")],
            chapters=[(0, 0.2, "begin"), (0.2, 0.48, "end")],
            metadata={"title": "A title"},
        ),
        "phone.mov": Clip(
            turn=-90, tracks=["aac"], metadata={"creation_time": "2026-01-02T03:04:05.000000Z"}
        ),
    }
    return write_clip(tmp_path / name, moving(count), clips[name])


@pytest.mark.parametrize(
    "name",
    ["b-frames.mp4", "variable.mp4", "late.mp4", "ntsc.mov", "tracks.mkv", "phone.mov"],
)
def test_frames_times_and_other_packets_are_the_sources(
    tmp_path: Path, convert: Convert, name: str
) -> None:
    video = source(tmp_path, name)
    target = tmp_path / f"large{video.suffix}"
    assert convert(video, target.name) == []
    assert times(target) == times(video)
    assert len(times(target)) == 12
    assert others(target) == others(video)


def test_b_frames_are_really_there(tmp_path: Path) -> None:
    with av.open(str(source(tmp_path, "b-frames.mp4"))) as container:
        order = [packet.pts for packet in container.demux(video=0) if packet.pts is not None]
    assert order != sorted(order)


def test_tags_languages_and_chapters_are_kept(tmp_path: Path, convert: Convert) -> None:
    video = source(tmp_path, "tracks.mkv")
    convert(video, "large.mkv")
    with av.open(str(video)) as before, av.open(str(tmp_path / "large.mkv")) as after:
        assert [s.language for s in after.streams] == [s.language for s in before.streams]
        assert [(c["start"], c["metadata"]) for c in after.chapters()] == [
            (c["start"], c["metadata"]) for c in before.chapters()
        ]
        assert len(after.chapters()) == 2
        assert after.metadata["title"] == "A title"


def test_a_phones_video_becomes_upright(tmp_path: Path, convert: Convert) -> None:
    video = source(tmp_path, "phone.mov")
    convert(video, "large.mov")
    result = pictures(tmp_path / "large.mov")
    assert result[0].shape == (128, 96, 3)
    with av.open(str(tmp_path / "large.mov")) as container:
        assert next(container.decode(video=0)).rotation == 0
        assert container.metadata["creation_time"].startswith("2026-01-02")
    with av.open(str(video)) as container:
        assert next(container.decode(video=0)).rotation == -90
    # Turned by -90 degrees, so clockwise.
    upright = np.rot90(moving(1)[0], -1).astype(int)
    assert np.abs(result[0][::2, ::2] - upright).mean() < 6


def test_a_part_begins_at_zero_with_its_own_sound(tmp_path: Path, convert: Convert) -> None:
    video = write_clip(tmp_path / "long.mp4", moving(50, step=1), Clip(tracks=["aac"]))
    convert(video, "part.mp4", start="1", end="1.4")
    assert times(tmp_path / "part.mp4") == [Fraction(k, 25) for k in range(10)]
    [sound] = others(tmp_path / "part.mp4")
    [whole] = others(video)
    assert [packet[3] for packet in sound] == [p[3] for p in whole if 1 <= p[0] < 1.4]
    assert 0 <= sound[0][0] < 0.07
    shown = pictures(tmp_path / "part.mp4")[0][::2, ::2]
    assert np.abs(shown - moving(50, step=1)[25].astype(int)).mean() < 6
    convert(video, "three.mp4", frames=3)
    assert len(times(tmp_path / "three.mp4")) == 3


def test_what_the_container_cannot_hold_is_noted(tmp_path: Path, convert: Convert) -> None:
    video = source(tmp_path, "tracks.mkv")
    notes = convert(video, "large.mp4")
    assert notes == ["the stream 3 (subrip subtitle) is left out"]
    assert len(others(tmp_path / "large.mp4")) == 3  # two of sound, and the chapters' track


def test_a_text_that_is_still_shown_where_a_part_begins(tmp_path: Path, convert: Convert) -> None:
    """The first is over, the second is shown from the part's start, the last begins after it."""
    clip = Clip(
        base=Fraction(1, 1000), subtitles=[(0, "over"), (0.05, "shown"), (0.2, "later"), (0.4, "x")]
    )
    video = write_clip(tmp_path / "texts.mkv", moving(12), clip)
    convert(video, "part.mkv", start="0.12", end="0.36")
    [texts] = others(tmp_path / "part.mkv")
    assert [(p[3], float(p[0]), float(p[2])) for p in texts] == [
        (b"shown", 0, 0.031),
        (b"later", 0.08, 0.102),
    ]


@pytest.mark.parametrize(
    ("name", "rate"), [("b-frames.mp4", 25), ("ntsc.mov", 30000 / 1001), ("variable.mp4", 800 / 61)]
)
def test_matroska_claims_the_mean_rate(
    tmp_path: Path, convert: Convert, name: str, rate: float
) -> None:
    """Its muxer would claim as many frames a second as a second has units."""
    convert(source(tmp_path, name), "large.mkv")
    with av.open(str(tmp_path / "large.mkv")) as container:
        stream = container.streams.video[0]
        assert stream.average_rate is not None
        assert float(stream.average_rate) == pytest.approx(rate, rel=0.02)


def test_an_absurd_rate_of_the_source_is_not_believed(tmp_path: Path) -> None:
    """Older results of srgan have one."""
    video = source(tmp_path, "b-frames.mp4")
    with av.open(str(video)) as before, av.open(str(tmp_path / "fast.mkv"), "w") as after:
        stream = before.streams.video[0]
        copy = after.add_stream_from_template(stream)
        copy.codec_context.framerate = Fraction(1000)
        for packet in before.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                after.mux(packet)
    with av.open(str(tmp_path / "fast.mkv")) as container:
        assert container.streams.video[0].average_rate == 1000
    rate = inspect_video(tmp_path / "fast.mkv", 10**8).rate
    assert float(rate) == pytest.approx(25, rel=1e-3)


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_a_cover_stays_in_mkv_and_is_noted_in_mp4(
    convert: Convert, tmp_path: Path, suffix: str
) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(picture, "JPEG")
    with av.open(str(tmp_path / "film.mp4"), "w") as film:
        pictures = film.add_stream("libx264", rate=10)
        cover: Any = film.add_stream("mjpeg")
        for stream in (pictures, cover):
            stream.width = stream.height = 32
        pictures.pix_fmt, cover.pix_fmt = "yuv420p", "yuvj420p"
        cover.disposition = Disposition.attached_pic
        film.start_encoding()
        packet = av.Packet(picture.getvalue())
        packet.stream, packet.pts, packet.dts = cover, 0, 0
        film.mux_one(packet)
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))
        film.mux([*pictures.encode(frame), *pictures.encode(None)])
    notes = convert(tmp_path / "film.mp4", f"large.{suffix}")
    with av.open(str(tmp_path / f"large.{suffix}")) as large:
        covers = [each for each in large.streams if each.disposition & Disposition.attached_pic]
        found = [bytes(next(large.demux(each))) for each in covers]
    assert found == ([picture.getvalue()] if suffix == "mkv" else [])
    noted = "the cover (mjpeg) is left out: only .mkv holds it" in notes
    assert noted == (suffix == "mp4")
