"""A stopped job keeps its finished parts, and goes on behind them."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from srgan.cli.video import video as upscale
from srgan.engines.options import EngineOptions, Precision
from srgan.errors import OptionError
from srgan.models.file import save_checkpoint
from srgan.networks.architecture import Checkpoint
from srgan.video import plan
from srgan.video.convert import run
from srgan.video.options import VideoOptions
from srgan.video.plan import plan_video
from tests.support.clips import Clip, moving, others, pictures, times, write_clip
from tests.support.command import Command
from tests.video.conftest import Convert, doubled, failing, stopped

COUNT = 30
SMALL = VideoOptions(scale=2, preset="superfast")


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.mp4", moving(COUNT), Clip(tracks=["aac"]))


@pytest.mark.usefixtures("short_parts")
@pytest.mark.parametrize("after", [0, 1, 7, 17])
@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_every_frame_once_after_a_stop(
    tmp_path: Path, convert: Convert, video: Path, after: int, codec: str
) -> None:
    target = tmp_path / "large.mp4"
    stopped(video, target, after, codec)
    assert not target.exists()
    finished = sorted((tmp_path / "large.mp4.parts").glob("*.mp4"))
    assert sum(len(times(part)) for part in finished) == after  # all are playable
    if after:
        with pytest.raises(OptionError, match="add --resume, or add --overwrite"):
            convert(video, "large.mp4", codec=codec)
    convert(video, "large.mp4", codec=codec, resume=True)
    assert times(target) == times(video)
    assert others(target) == others(video)
    for k, (before, now) in enumerate(zip(moving(COUNT), pictures(target), strict=True)):
        assert np.abs(now[::2, ::2] - before.astype(int)).mean() < 8, k
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "large.mp4"]


@pytest.mark.usefixtures("short_parts")
def test_parts_of_another_job_are_not_used(tmp_path: Path, convert: Convert, video: Path) -> None:
    stopped(video, tmp_path / "large.mp4", 9)
    with pytest.raises(OptionError, match="made with --crf 18, not 30: use that, or add --over"):
        convert(video, "large.mp4", crf=30, resume=True)
    convert(video, "large.mp4", crf=30, overwrite=True)
    assert len(times(tmp_path / "large.mp4")) == COUNT


@pytest.mark.usefixtures("short_parts")
def test_parts_of_other_weights_are_not_used(
    tmp_path: Path, video: Path, small_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More training gives other weights under the same name."""
    model = tmp_path / "mine.safetensors"
    save_checkpoint(model, small_checkpoint)

    def call(precision: Precision = "fp32", *, resume: bool = True) -> None:
        engine = EngineOptions(precision=precision, threads=1)
        upscale(video, model=str(model), result=SMALL, engine=engine, resume=resume)

    with monkeypatch.context() as patch:
        patch.setattr(plan, "frame_upscaler", lambda *_: failing(9))
        with pytest.raises(KeyboardInterrupt):
            call(resume=False)
    with pytest.raises(OptionError, match="made with --precision fp32, not int8: use that, or"):
        call("int8")
    trained = {name: 0.9 * tensor for name, tensor in small_checkpoint.tensors.items()}
    save_checkpoint(model, replace(small_checkpoint, tensors=trained))
    with pytest.raises(OptionError, match=r"made with weights \w{12}, not \w{12}: use that, or"):
        call()
    save_checkpoint(model, small_checkpoint)
    call()
    assert times(tmp_path / "clip_x2.mp4") == times(video)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's list of open files")
def test_a_failed_part_is_closed_before_it_is_removed(
    tmp_path: Path, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows does not remove an open file."""
    removed: list[bool] = []
    unlink = Path.unlink

    def spy(path: Path, missing_ok: bool = False) -> None:
        if path.name.endswith(".part") and path.exists():
            opened = [os.path.realpath(each) for each in Path("/proc/self/fd").iterdir()]
            removed.append(str(path.resolve()) in opened)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", spy)
    job = plan_video(video, str(tmp_path / "large.mp4"), SMALL, 4, 10**8)
    done = 0

    def finish(_: np.ndarray, result: np.ndarray) -> np.ndarray:
        nonlocal done
        done += 1
        if done == 3:
            raise RuntimeError("no frame")
        return result

    with pytest.raises(RuntimeError, match="no frame"):
        run(job, doubled, finish, lambda _: None)
    assert removed == [False] * 3  # of the rehearsal, the part and the result


def test_killed_at_half_and_resumed(srgan: Command, tmp_path: Path, small_model: Path) -> None:
    """kill -9, in the middle of a part."""
    video = write_clip(tmp_path / "clip.mp4", moving(40), Clip(tracks=["aac"]))
    command = [sys.executable, "-c", PATCHED, "video", "clip.mp4", "-m", str(small_model)]
    command += ["--preset", "ultrafast", "--threads", "1", "--json"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["frames"] >= 20:
            os.kill(process.pid, signal.SIGKILL)
            break
    process.wait()
    finished = sorted((tmp_path / "clip_x4.mp4.parts").glob("*.mp4"))
    assert 0 < sum(len(times(part)) for part in finished) < 40
    assert not (tmp_path / "clip_x4.mp4").exists()
    for part in tmp_path.rglob(".srgan-*"):  # as if a day had passed
        os.utime(part, (time.time() - 200_000, time.time() - 200_000))
    result = srgan("video", "clip.mp4", "-m", small_model, "--preset", "ultrafast", "--resume")
    assert result.stderr == ""
    assert result.stdout.startswith("clip.mp4 -> clip_x4.mp4  64x48 -> 256x192")
    assert times(tmp_path / "clip_x4.mp4") == times(video)
    assert others(tmp_path / "clip_x4.mp4") == others(video)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "clip_x4.mp4"]


PATCHED = """
import sys
from srgan.cli import video
from srgan.video import parts
parts.PART_FRAMES = 8
video._JSON_SECONDS = 0
from srgan.cli.app import main
main()
"""
