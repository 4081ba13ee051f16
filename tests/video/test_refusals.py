"""What cannot be upscaled is one line and leaves nothing under the result's name."""

import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from srgan.errors import OptionError
from srgan.video.container import VideoError
from srgan.video.options import VideoOptions, seconds
from tests.support.clips import Clip, moving, times, write_clip
from tests.support.command import Command
from tests.video.conftest import Convert


def sound_only(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def cut_short(path: Path) -> None:
    write_clip(path, moving(75), Clip(tracks=["aac"], options={"preset": "superfast"}))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def cut_short_after_its_header(path: Path) -> None:
    """As a download that was stopped: the table is there, the last packets are not."""
    write_clip(path, moving(75))
    content = path.read_bytes()
    at = content.index(b"mdat") - 4
    length = int.from_bytes(content[at : at + 4], "big")
    table, packets = content[at + length :], content[at : at + length]
    moved = bytearray(table)
    place = moved.index(b"stco") + 12
    count = int.from_bytes(moved[place - 4 : place], "big")
    for k in range(count):
        old = int.from_bytes(moved[place + 4 * k : place + 4 * k + 4], "big")
        moved[place + 4 * k : place + 4 * k + 4] = (old + len(table)).to_bytes(4, "big")
    path.write_bytes(content[:at] + moved + packets[: len(packets) // 2])


def damaged(path: Path) -> None:
    write_clip(path, moving(30))
    content = bytearray(path.read_bytes())
    packets = slice(content.index(b"mdat") + 4, content.index(b"moov") - 4)
    place = packets.start + (packets.stop - packets.start) * 3 // 4  # long after the encoder's name
    content[place : place + 100] = bytes(range(100, 200))
    path.write_bytes(content)


def absurd(path: Path) -> None:
    """Its header promises frames of 12,000 x 12,000 pixels."""
    write_clip(path.with_suffix(".mov"), moving(2), Clip("qtrle", "rgb24", options={}))
    content = path.with_suffix(".mov").rename(path).read_bytes()
    at = content.index(b"rle ") + 28
    path.write_bytes(content[:at] + struct.pack(">HH", 12_000, 12_000) + content[at + 4 :])


def skewed(path: Path) -> None:
    write_clip(path, moving(2), Clip(turn=30))


KINDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (lambda _: None, "there is no such file"),
    "empty": (lambda path: path.write_bytes(b""), "the file is empty"),
    "text": (lambda path: path.write_text("hello " * 100), "not a video"),
    "folder": (lambda path: path.mkdir(), "not an ordinary file"),
    "sound": (sound_only, "there is no video in it"),
    "cut": (cut_short, "damaged, cut short, or not a video"),
    "stopped download": (cut_short_after_its_header, r"cut short at \d\.\d of 3\.0 seconds"),
    "damaged": (damaged, "damaged after 0.[0-9]+ seconds: get a fresh copy, or add --to"),
    "absurd": (absurd, "12,000 x 12,000 pixels are more than the limit"),
    "skewed": (skewed, "turned by a part of a quarter"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_refused_in_one_line(tmp_path: Path, convert: Convert, kind: str) -> None:
    make, reason = KINDS[kind]
    video = tmp_path / "clip.mp4"
    make(video)
    with pytest.raises(VideoError, match=reason) as caught:
        convert(video, "large.mp4")
    assert str(video) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "large.mp4").exists()
    assert list(tmp_path.glob(".srgan-*")) == []


def test_the_good_beginning_of_a_damaged_video(tmp_path: Path, convert: Convert) -> None:
    """The advice of the error works."""
    video = tmp_path / "clip.mp4"
    damaged(video)
    with pytest.raises(VideoError) as caught:
        convert(video, "large.mp4")
    advice = str(caught.value).rpartition("--to ")[2]
    convert(video, "large.mp4", end=advice, overwrite=True)
    assert len(times(tmp_path / "large.mp4")) > 3


def test_the_command_says_it_and_exits_with_1(srgan: Command, tmp_path: Path) -> None:
    sound_only(tmp_path / "song.mp4")
    result = srgan("video", "song.mp4")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("srgan: song.mp4: there is no video in it")
    assert len(result.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["song.mp4"]


def test_what_exists_is_not_replaced(tmp_path: Path, convert: Convert) -> None:
    video = write_clip(tmp_path / "clip.mp4", moving(3))
    (tmp_path / "large.mp4").write_bytes(b"mine")
    with pytest.raises(Exception, match="already exists"):
        convert(video, "large.mp4")
    assert (tmp_path / "large.mp4").read_bytes() == b"mine"
    with pytest.raises(OptionError, match="would replace the video itself"):
        convert(video, "clip.mp4", overwrite=True)
    with pytest.raises(OptionError, match=r"use one of \.mp4, \.mov, \.mkv"):
        convert(video, "large.avi")
    with pytest.raises(VideoError, match=r"no frame comes after 7 seconds: it ends at 0\.1"):
        convert(video, "part.mp4", start="7")


def test_unusable_settings_fail_before_any_work(tmp_path: Path, convert: Convert) -> None:
    video = write_clip(tmp_path / "clip.mp4", moving(3))
    with pytest.raises(OptionError, match="--preset placebo2: h264 takes ultrafast to veryslow"):
        convert(video, "large.mp4", preset="placebo2")
    with pytest.raises(VideoError, match=r"do not fit into it .*: use -o .*\.mkv"):
        convert(video, "large.mov", codec="ffv1", preset=None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4"]


@pytest.mark.parametrize(
    "options",
    [
        {"crf": 64},
        {"frames": 0},
        {"codec": "prores", "crf": 3},
        {"start": "2", "end": "1"},
        {"start": "1:2:3:4"},
        {"scale": 9},
    ],
)
def test_contradictory_options(options: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        VideoOptions(**options)  # type: ignore[arg-type]


def test_times() -> None:
    assert [seconds(text, "--from") for text in ("90", "1:30", "0:01:30.5")] == [90, 90, 90.5]


def test_without_the_library(tmp_path: Path) -> None:
    script = """
import sys
sys.modules["av"] = None
from srgan.cli.app import main
sys.argv = ["srgan", "video", "clip.mp4"]
main()
"""
    command = [__import__("sys").executable, "-c", script]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "install with: pip install 'srgan[video]'" in result.stderr
