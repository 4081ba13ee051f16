"""Colours go in and come out as they are, in every matrix, range and depth."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from srgan.video.container import VideoError
from srgan.video.options import VideoOptions
from srgan.video.plan import plan_video
from tests.support.clips import Clip, moving, write_clip
from tests.video.conftest import Convert

LOSSLESS = {"crf": "0", "preset": "superfast"}
X265 = {"x265-params": "log-level=error:crf=4", "preset": "ultrafast"}
# Matrix, primaries, transfer, range: BT.709, BT.601 (NTSC), BT.2020, BT.709 full.
SPACES = {"709": (1, 1, 1, 1), "601": (6, 6, 6, 1), "2020": (9, 9, 14, 1), "full": (1, 1, 1, 2)}


def ramp_and_bars() -> np.ndarray:
    """A gray ramp above the eight colour bars, (64, 256, 3)."""
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2).repeat(32, 0)
    bars = np.array([[r, g, b] for g in (1, 0) for r in (1, 0) for b in (1, 0)], np.uint8) * 191
    return np.concatenate([ramp, bars.repeat(32, 0)[None].repeat(32, 0)])


def planes(path: Path) -> tuple[list[np.ndarray], Any]:
    """Y, U and V of the first frame, and the frame."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        return [np.asarray(each) for each in _planes(frame)], frame


def _planes(frame: av.VideoFrame) -> list[np.ndarray]:
    kind = np.uint8 if frame.format.components[0].bits == 8 else np.uint16
    found: list[np.ndarray] = []
    for plane in frame.planes:
        rows = np.frombuffer(bytes(plane), kind).reshape(plane.height, -1)
        found.append(rows[:, : plane.width].astype(int))
    return found


def tags(frame: Any) -> tuple[int, ...]:
    return tuple(
        map(int, (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range))
    )


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("format", ["yuv420p", "yuv444p", "yuv420p10le"])
def test_ramp_and_bars_stay_within_two_levels(
    tmp_path: Path, convert: Convert, space: str, format: str
) -> None:
    deep = format.endswith("10le")
    codec, options = ("libx265", X265) if deep else ("libx264", LOSSLESS)
    clip = Clip(codec, format, colour=SPACES[space], options=options)
    video = write_clip(tmp_path / "bars.mp4", [ramp_and_bars()] * 3, clip)
    assert convert(video, "large.mp4", crf=1) == []
    before, old = planes(video)
    after, new = planes(tmp_path / "large.mp4")
    assert tags(new) == tags(old) == SPACES[space]
    assert new.format.name.replace("yuvj", "yuv") == format
    for kind, (a, b) in enumerate(zip(before, after, strict=True)):
        shrunk = b.reshape(a.shape[0], 2, a.shape[1], 2).mean((1, 3))
        difference = np.abs(shrunk - a) / (4 if deep else 1)
        if kind == 0:
            assert difference[:28].max() <= 2
        bars = difference[a.shape[0] // 2 :]
        inner = bars.reshape(bars.shape[0], 8, -1)[2:-2, :, 4:-4]
        assert inner.max() <= 2, kind


def test_colours_do_not_move_beside_their_edges(tmp_path: Path, convert: Convert) -> None:
    """Chroma lies at the left of its two pixels; taken for centred, all colours would move."""
    x = np.linspace(0, 255, 64).astype(np.uint8)
    frame = np.stack([x, 128 + 0 * x, 255 - x], 1)[None].repeat(48, 0)
    video = write_clip(tmp_path / "a.mp4", [frame], Clip(format="yuv444p", options=LOSSLESS))
    halved = write_clip(tmp_path / "b.mp4", [frame], Clip(options=LOSSLESS))
    convert(video, "full.mp4", crf=1)
    convert(halved, "half.mp4", crf=1)
    (_, full, _), _ = planes(tmp_path / "full.mp4")
    (_, half, _), _ = planes(tmp_path / "half.mp4")
    there = np.arange(0, 128, 2)[8:-8]  # where chroma samples lie
    # The clip itself is written with centred chroma: half a pixel of 64, so a pixel of 128.
    moved = np.mean(full[40][there] - half[40][8:-8]) / np.mean(np.diff(full[40][8:-8]))
    assert abs(moved + 1) < 0.35


def test_untagged_video_gets_the_tags_that_players_assume(tmp_path: Path, convert: Convert) -> None:
    """Untagged and small is BT.601; four times as large, players would take it for BT.709."""
    clip = Clip(colour=(2, 2, 2, 0), options=LOSSLESS)
    video = write_clip(tmp_path / "plain.mp4", [ramp_and_bars()] * 3, clip)
    convert(video, "large.mp4")
    _, frame = planes(tmp_path / "large.mp4")
    assert tags(frame) == (6, 6, 6, 1)


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_kept_or_refused(tmp_path: Path, convert: Convert, transfer: int, name: str) -> None:
    light = ":master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
    options = {"x265-params": f"log-level=error{light}:max-cll=1000,400", "preset": "ultrafast"}
    clip = Clip("libx265", "yuv420p10le", colour=(9, 9, transfer, 1), options=options)
    video = write_clip(tmp_path / "hdr.mp4", [ramp_and_bars()] * 3, clip)
    assert convert(video, "large.mp4") == []
    _, old = planes(video)
    _, new = planes(tmp_path / "large.mp4")
    assert tags(new) == (9, 9, transfer, 1)
    for kind in ("MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"):
        sides = [{s.type.name: bytes(s) for s in each.side_data}[kind] for each in (old, new)]
        assert sides[0] == sides[1]
    with pytest.raises(VideoError, match=f"h264 does not keep HDR \\({name}\\): use --codec hevc"):
        plan_video(video, str(tmp_path / "x.mp4"), VideoOptions(codec="h264"), 4, 10**8)


def test_wide_pixels_and_interlaced_fields(tmp_path: Path, convert: Convert) -> None:
    frames = moving(8, step=6)
    woven = [np.where(np.arange(48)[:, None, None] % 2, b, a) for a, b in pairwise(frames)]
    options = {"crf": "4", "preset": "superfast", "x264-params": "tff=1"}
    clip = Clip(options=options, context={"sample_aspect_ratio": Fraction(16, 11)})
    video = write_clip(tmp_path / "tv.mp4", woven, clip)
    with av.open(str(video)) as container:
        assert next(container.decode(video=0)).interlaced_frame
    notes = convert(video, "large.mp4")
    assert notes == ["interlaced fields become whole frames"]
    with av.open(str(tmp_path / "large.mp4")) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(16, 11)
        shown = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    assert len(shown) == len(woven)
    rows = shown[3][::2, ::2].astype(float)
    combing = np.abs(rows[2:] - rows[:-2]).mean() / np.abs(rows[1:] - rows[:-1]).mean()
    assert combing > 1  # neighbours are more alike than rows of the same field


@pytest.mark.parametrize("codec", ["hevc", "av1", "prores", "ffv1"])
def test_every_codec(tmp_path: Path, convert: Convert, codec: str) -> None:
    video = write_clip(tmp_path / "clip.mkv", moving(3), Clip(base=Fraction(1, 1000)))
    preset = {"hevc": "ultrafast", "av1": "12"}.get(codec)
    notes = convert(video, "large.mkv", codec=codec, preset=preset)
    assert notes == []
    with av.open(str(tmp_path / "large.mkv")) as container:
        assert container.streams.video[0].codec_context.codec.canonical_name == codec
        found = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(found) == 3
    assert np.abs(found[0][::2, ::2] - moving(1)[0].astype(int)).mean() < 8
