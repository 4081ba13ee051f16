"""Runs the video pipeline without a network: pixels are repeated."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srgan.video.convert import run
from srgan.video.options import VideoOptions
from srgan.video.plan import plan_video

Convert = Callable[..., list[str]]


def stored(_: np.ndarray, result: np.ndarray) -> np.ndarray:
    return result


def doubled(frame: np.ndarray) -> np.ndarray:
    return frame.repeat(2, 0).repeat(2, 1)


@pytest.fixture
def convert(tmp_path: Path) -> Convert:
    """Convert a video to one twice as wide and high; returns the notes."""

    def call(source: Path, target: str, *, resume: bool = False, **options: Any) -> list[str]:
        chosen = VideoOptions(**({"scale": 2, "preset": "superfast"} | options))
        job = plan_video(source, str(tmp_path / target), chosen, 4, 10**8)
        notes = run(job, doubled, stored, lambda _: None, resume=resume)
        return [*job.facts.notes, *job.encoding.notes, *notes]

    return call
