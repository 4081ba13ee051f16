"""Runs the video pipeline without a network: pixels are repeated."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srgan.video import parts
from srgan.video.convert import Compute, run
from srgan.video.options import VideoOptions
from srgan.video.plan import plan_video

Convert = Callable[..., list[str]]


def stored(_: np.ndarray, result: np.ndarray) -> np.ndarray:
    return result


def doubled(frame: np.ndarray) -> np.ndarray:
    return frame.repeat(2, 0).repeat(2, 1)


def failing(after: int) -> Compute:
    """As `doubled`, for so many frames; then it stops as by Ctrl-C."""
    done = 0

    def compute(frame: np.ndarray) -> np.ndarray:
        nonlocal done
        done += 1
        if done > after:
            raise KeyboardInterrupt
        return doubled(frame)

    return compute


def stopped(video: Path, target: Path, after: int, codec: str = "h264") -> None:
    """Run a job that stops after so many frames."""
    options = VideoOptions(scale=2, preset="superfast", codec=codec)  # type: ignore[arg-type]
    job = plan_video(video, str(target), options, 4, 10**8)
    with pytest.raises(KeyboardInterrupt):
        run(job, failing(after), stored, lambda _: None)


@pytest.fixture
def short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_FRAMES", 7)


@pytest.fixture
def convert(tmp_path: Path) -> Convert:
    """Convert a video to one twice as wide and high; returns the notes."""

    def call(source: Path, target: str, *, resume: bool = False, **options: Any) -> list[str]:
        chosen = VideoOptions(**({"scale": 2, "preset": "superfast"} | options))
        job = plan_video(source, str(tmp_path / target), chosen, 4, 10**8)
        notes = run(job, doubled, stored, lambda _: None, resume=resume)
        return [*job.facts.notes, *job.encoding.notes, *notes]

    return call
