"""`srgan video` as a user runs it."""

import json
from pathlib import Path

import av
import numpy as np

from tests.support.clips import moving, pictures, times, write_clip
from tests.support.command import Command


def test_progress_as_json(srgan: Command, tmp_path: Path, small_model: Path) -> None:
    video = write_clip(tmp_path / "clip.mp4", moving(3))
    result = srgan("video", "clip.mp4", "-m", small_model, "--json", "--no-steady")
    assert (result.returncode, result.stderr) == (0, "")
    *working, done = [json.loads(line) for line in result.stdout.splitlines()]
    assert all(line["status"] == "working" for line in working)
    assert done["status"] == "done"
    assert (done["size"], done["result_size"]) == ([64, 48], [256, 192])
    assert done["bytes"] == (tmp_path / "clip_x4.mp4").stat().st_size
    assert times(tmp_path / "clip_x4.mp4") == times(video)


def test_preview_shows_before_and_after(srgan: Command, tmp_path: Path, small_model: Path) -> None:
    write_clip(tmp_path / "clip.mp4", moving(6))
    result = srgan("video", "clip.mp4", "-m", small_model, "--preview", "--from", "0.04")
    assert (result.returncode, result.stderr) == (0, "")
    shown = pictures(tmp_path / "clip_x4_preview.mp4")
    assert (len(shown), shown[0].shape) == (5, (192, 512, 3))
    before = shown[0][::4, :256:4].astype(int)
    assert np.abs(before - moving(2)[1]).mean() < 12
    with av.open(str(tmp_path / "clip_x4_preview.mp4")) as container:
        assert next(container.decode(video=0)).pts == 0


def test_sizes(srgan: Command, tmp_path: Path, small_model: Path) -> None:
    """4:2:0 has no odd sides."""
    write_clip(tmp_path / "clip.mp4", moving(2))
    result = srgan("video", "clip.mp4", "-m", small_model, "--width", "101", "-o", "out/")
    assert (result.returncode, result.stderr) == (0, "")
    assert pictures(tmp_path / "out" / "clip.mp4")[0].shape == (76, 102, 3)
