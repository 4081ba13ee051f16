"""What a log file shows of long work. Half a minute of silence is shortened to nothing here."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.clips import moving, write_clip

SCRIPT = """
import sys
import srgan.progress
srgan.progress.SILENCE = float(sys.argv[1])
from srgan.cli.app import main
del sys.argv[1]
main()
"""


def stderr_of(folder: Path, silence: float, *arguments: object) -> list[str]:
    command = [sys.executable, "-c", SCRIPT, str(silence), *map(str, arguments)]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return result.stderr.splitlines()


@pytest.fixture
def folder(tmp_path: Path, astronaut: np.ndarray) -> Path:
    """Three HR pictures, one that takes several tiles, and a clip."""
    (tmp_path / "set").mkdir()
    for number in range(3):
        Image.fromarray(np.roll(astronaut, number, 1)).save(tmp_path / f"set/{number}.png")
    Image.fromarray(np.tile(astronaut, (3, 2, 1))).save(tmp_path / "large.png")
    write_clip(tmp_path / "clip.mp4", moving(3))
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (
            ["evaluate", "-b", "set", "--metrics", "psnr_y"],
            ["1 of 3 pictures, 0:00:", "2 of 3 pictures, 0:00:", "3 of 3 pictures, 0:00:00 left"],
        ),
        (
            ["upscale", "large.png", "--tile", "64"],
            ["large.png: ", "large.png: 100%, 0:00:00 left"],
        ),
        (["video", "clip.mp4"], ["clip.mp4: 1/3 frames, ", "clip.mp4: 3/3 frames, "]),
    ],
    ids=["evaluate", "upscale", "video"],
)
def test_lines_where_there_is_no_terminal(
    folder: Path, small_model: Path, arguments: list[str], lines: list[str]
) -> None:
    arguments = [*arguments, "--model", str(small_model)]
    said = iter(stderr_of(folder, 0, *arguments))
    assert [line for line in lines if any(each.startswith(line) for each in said)] == lines


def test_short_work_says_nothing(folder: Path, small_model: Path) -> None:
    assert stderr_of(folder, 30, "upscale", "large.png", "--model", small_model) == []
