"""Videos whose clock does not start at 0, as those of cameras and recorders, start at 0 here."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from srgan.video.options import VideoOptions
from srgan.video.plan import example_frame, plan_video
from srgan.video.source import frames_of
from tests.support.clips import Clip, moving, others, pictures, times, write_clip
from tests.video.conftest import Convert, stopped

COUNT = 50
TICK = Fraction(1, 90_000)  # of MPEG-TS
WRAP = 2**33 * TICK  # its clock begins again


def shifted(tmp_path: Path, name: str, seconds: Fraction) -> Path:
    """A video with sound whose clock starts late; one key frame only, as the worst of streams."""
    clip = Clip(
        base=TICK,
        options={"crf": "10", "preset": "superfast", "g": "250"},
        tracks=["aac"],
        chapters=[(0, 0.4, "begin"), (0.4, 2, "end")],
    )
    video = write_clip(tmp_path / "plain.mp4", moving(COUNT, step=1), clip)
    with av.open(str(video)) as before, av.open(str(tmp_path / name), "w") as output:
        after: Any = output
        found = [*before.streams.video, *before.streams.audio]
        copies = {each.index: after.add_stream_from_template(each) for each in found}
        if not name.endswith("ts"):
            chapters: Any = before.chapters()  # the first begins before the clock does
            for place, chapter in enumerate(chapters):
                chapter["start"] += place * round(seconds / chapter["time_base"])
                chapter["end"] += round(seconds / chapter["time_base"])
            after.set_chapters(chapters)
        for packet in before.demux(found):
            if packet.dts is not None and packet.pts is not None:
                shift = round(seconds / Fraction(packet.time_base))
                packet.dts, packet.pts = packet.dts + shift, packet.pts + shift
                packet.stream = copies[packet.stream.index]
                after.mux(packet)
    return tmp_path / name


def lead(path: Path) -> Fraction:
    """How much earlier than the pictures the sound starts, in seconds."""
    return times(path)[0] - others(path)[0][0][0]


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("clip.ts", Fraction(10)),
        ("clip.mts", Fraction(3601, 7)),
        ("clip.mkv", Fraction(10)),
        ("clip.mov", Fraction(10)),
        ("wraps.ts", WRAP - 1),
        ("negative.ts", WRAP - 20),
    ],
)
def test_the_result_starts_at_zero(
    tmp_path: Path, convert: Convert, name: str, seconds: Fraction
) -> None:
    video = shifted(tmp_path, name, seconds)
    with av.open(str(video)) as container:
        assert container.start_time
        assert (container.start_time < 0) == (seconds > WRAP - 60)
    convert(video, "large.mp4")
    before, after = times(video), times(tmp_path / "large.mp4")
    assert [each - after[0] for each in after] == [each - before[0] for each in before]
    assert abs(lead(tmp_path / "large.mp4") - lead(video)) < Fraction(1, 10_000)
    with av.open(str(tmp_path / "large.mp4")) as container:
        assert container.start_time is not None
        assert abs(container.start_time) < 100_000
        assert (container.duration or 0) < 2_200_000


def test_its_chapters_begin_with_the_same_frames(tmp_path: Path, convert: Convert) -> None:
    convert(shifted(tmp_path, "clip.mkv", Fraction(10)), "large.mkv")
    with av.open(str(tmp_path / "large.mkv")) as container:
        starts = [each["start"] * (each["time_base"] or 0) for each in container.chapters()]
    assert starts[0] == 0
    assert round(float(starts[1] - times(tmp_path / "large.mkv")[0]), 3) == 0.4


@pytest.mark.parametrize("name", ["clip.ts", "clip.mkv"])
def test_times_of_options_count_from_the_start(tmp_path: Path, convert: Convert, name: str) -> None:
    video = shifted(tmp_path, name, Fraction(10))
    late = round(float(lead(video)), 3)
    convert(video, "part.mp4", start=str(1 + late), end=str(1.4 + late))
    assert len(times(tmp_path / "part.mp4")) == 10
    shown = pictures(tmp_path / "part.mp4")[0][::2, ::2]
    expected = moving(COUNT, step=1)[25].astype(int)
    assert np.abs(shown - expected).mean() < 3 < np.abs(shown - np.roll(expected, 1, 1)).mean()
    [sound] = others(tmp_path / "part.mp4")
    whole = others(video)[0]
    kept = [each for each in whole if 1 <= each[0] - times(video)[0] < Fraction(14, 10)]
    assert len(sound) == len(kept) > 4
    for copied, original in zip(sound, kept, strict=True):
        assert original[3].endswith(copied[3])  # MPEG-TS has a header of its own before each


def test_the_model_is_chosen_by_a_frame_from_the_middle(tmp_path: Path) -> None:
    video = shifted(tmp_path, "clip.ts", Fraction(10))
    job = plan_video(video, str(tmp_path / "x.mp4"), VideoOptions(), 4, 10**8)
    assert abs(job.facts.end - 2) < 0.1
    shown = example_frame(job).astype(int)
    errors = [np.abs(shown - each).mean() for each in moving(COUNT, step=1)]
    assert abs(int(np.argmin(errors)) - COUNT // 2) <= 1


def test_every_frame_once_where_no_key_frame_is_near(tmp_path: Path) -> None:
    """FFmpeg seeks to any packet of MPEG-TS; decoding has to begin at a key frame before it."""
    video = shifted(tmp_path, "clip.ts", Fraction(10))
    facts = plan_video(video, str(tmp_path / "x.mp4"), VideoOptions(), 4, 10**8).facts
    whole = [frame.pts for frame in frames_of(video, facts, Fraction(0), None)]
    part = [frame.pts for frame in frames_of(video, facts, Fraction(3, 2), None)]
    assert part == [pts for pts in whole if pts * facts.time_base >= Fraction(3, 2)]
    assert 10 < len(part) < COUNT // 3


@pytest.mark.usefixtures("short_parts")
def test_a_stopped_job_resumes(tmp_path: Path, convert: Convert) -> None:
    video = shifted(tmp_path, "clip.ts", Fraction(10))
    stopped(video, tmp_path / "large.mp4", 17)
    convert(video, "large.mp4", resume=True)
    before, after = times(video), times(tmp_path / "large.mp4")
    assert [each - after[0] for each in after] == [each - before[0] for each in before]
    assert after[0] < Fraction(1, 10)
