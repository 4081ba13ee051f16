"""Videos: how much results flicker, how fast they are made, and what repeats.

    python benchmarks/video.py flicker clip.mp4 other.mp4 --frames 10 --width 160
    python benchmarks/video.py speed clip.mp4 --frames 8
    python benchmarks/video.py slides clip.mp4

The warping error (Lai et al. 2018, arXiv:1808.00449, section 3.4) is the difference of a frame and
the one before, moved along the optical flow, where the flow forth and back agrees. It is given
relative to the error of the same frames by bicubic: as root mean square, and as mean square.
"""

import itertools
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table
from scipy.ndimage import map_coordinates
from skimage.registration import optical_flow_tvl1

from srgan.pictures.pixels import rgb_uint8, unit_range
from srgan.pictures.resample import bicubic
from srgan.upscaling.reuse import reusing
from srgan.upscaling.upscaler import Upscaler
from srgan.video.convert import VideoJob, run
from srgan.video.facts import inspect_video
from srgan.video.options import VideoOptions
from srgan.video.plan import frame_finisher, frame_upscaler, plan_video
from srgan.video.source import frames_of
from srgan.video.steady import Steady

MOST_PIXELS = 10**9
EDGE = 4  # pixels left out at the border
app = App()


@app.command
def flicker(
    clips: list[Path],
    /,
    *,
    model: str = "srgan-x4",
    details: Annotated[list[float], Parameter(consume_multiple=True)] = [0.95, 0.5, 0.0],  # noqa: B006
    frames: int = 10,
    start: float = 0,
    width: int = 160,
) -> None:
    """Print the warping error of each detail, with and without steadying.

    Args:
        width: Only the middle of each frame, so wide.
    """
    table = Table(title="warping error relative to bicubic: root mean square (mean square)")
    for column in ("clip", "--detail", "--no-steady", "--steady"):
        table.add_column(column)
    for clip in clips:
        small = [_middle(each, width) for each in _frames(clip, start, frames)]
        motions = [_motion(*pair) for pair in itertools.pairwise(small)]
        plain = _error([bicubic(unit_range(f), *_large(f)) for f in small], motions)
        for detail in details:
            upscaler, steady = Upscaler.load(model, detail=detail), Steady()
            results = [upscaler(frame) for frame in small]
            steadied = [steady(*pair) for pair in zip(small, results, strict=True)]
            ratios = [
                _error([unit_range(each) for each in video], motions) / plain
                for video in (results, steadied)
            ]
            cells = [f"{ratio**0.5:.2f} ({ratio:.2f})" for ratio in ratios]
            table.add_row(clip.name, f"{detail:g}", *cells)
    Console().print(table)


@app.command
def speed(clip: Path, /, *, model: str = "srgan-x4", frames: int = 8, rounds: int = 2) -> None:
    """Compare the command with the network alone, on the same frames, in turns."""
    with TemporaryDirectory() as folder:
        options = VideoOptions(frames=frames, overwrite=True)
        job = plan_video(clip, f"{folder}/large.mp4", options, 4, MOST_PIXELS)
        upscaler = Upscaler.load(model)
        engine = upscaler.engine_for(np.dtype(np.uint8))
        lr = [unit_range(frame).transpose(2, 0, 1)[None] for frame in _frames(clip, 0, frames)]
        engine(lr[0])
        for _ in range(rounds):
            raw = _seconds(lambda: [engine(each) for each in lr])
            whole = _seconds(lambda: _convert(job, upscaler))
            print(
                f"network {frames / raw[0]:.3f} frames/s ({raw[1] / frames:.2f} s of processor), "
                f"command {frames / whole[0]:.3f} ({whole[1] / frames:.2f}): "
                f"{raw[0] / whole[0]:.0%} of its speed, {raw[1] / whole[1]:.0%} by processor time"
            )


@app.command
def slides(clip: Path, /, *, model: str = "srgan-x4", width: int = 96) -> None:
    """Count how often frames of a video are computed, and compare with computing each."""
    upscaler = Upscaler.load(model)
    still = [_middle(each, width) for each in _frames(clip, 0, 60)][::20]
    shown = [still[k // 20] for k in range(60)]
    height, width, _ = still[0].shape
    reuse = reusing(upscaler, (height, width), upscaler.target(height, width), np.dtype(np.uint8))
    upscaler(still[0])
    fast = _seconds(lambda: [reuse(each.copy()) for each in shown])
    slow = _seconds(lambda: [upscaler(each) for each in shown[::6]])[0] * 6
    same = all(np.array_equal(reuse(each), upscaler(each)) for each in still)
    print(f"{slow / fast[0]:.1f} times as fast; equal to the bit: {same}")


def _frames(clip: Path, start: float, count: int) -> list[np.ndarray]:
    facts = inspect_video(clip, MOST_PIXELS)
    found = itertools.islice(frames_of(clip, facts, Fraction(start), None), count)
    return [rgb_uint8(frame.pixels) for frame in found]


def _middle(frame: np.ndarray, width: int) -> np.ndarray:
    height = min(frame.shape[0], width * 7 // 10)
    top, left = (frame.shape[0] - height) // 2, max(frame.shape[1] - width, 0) // 2
    return np.ascontiguousarray(frame[top : top + height, left : left + width])


def _large(frame: np.ndarray) -> tuple[int, int]:
    return frame.shape[0] * 4, frame.shape[1] * 4


def _motion(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flow (2, 4h, 4w) from `after` back to `before`, and where it can be trusted."""
    old, new = (unit_range(each).mean(2) for each in (before, after))
    back = optical_flow_tvl1(new, old, attachment=20)
    forth = optical_flow_tvl1(old, new, attachment=20)
    circle = back + np.stack([_moved(each, back, 1) for each in forth])
    trusted = np.abs(circle).max(0) < 0.5
    trusted[:EDGE] = trusted[-EDGE:] = trusted[:, :EDGE] = trusted[:, -EDGE:] = False
    large = bicubic(back.transpose(1, 2, 0).astype(np.float32), *_large(before)) * 4
    return large.transpose(2, 0, 1), np.kron(trusted, np.ones((4, 4), bool))


def _moved(image: np.ndarray, motion: np.ndarray, order: int) -> np.ndarray:
    height, width = image.shape
    rows, columns = np.mgrid[:height, :width]
    places = [rows + motion[0], columns + motion[1]]
    return map_coordinates(image, places, order=order, mode="nearest")


def _error(video: Sequence[np.ndarray], motions: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """The mean square warping error."""
    errors = [
        np.mean(
            [((_moved(old[..., k], flow, 3) - new[..., k])[mask] ** 2).mean() for k in range(3)]
        )
        for (old, new), (flow, mask) in zip(itertools.pairwise(video), motions, strict=True)
    ]
    return float(np.mean(errors))


def _convert(job: VideoJob, upscaler: Upscaler) -> None:
    run(job, frame_upscaler(job, upscaler), frame_finisher(job), lambda _: None)


def _seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Of the clock and of the processor."""
    start, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - used


if __name__ == "__main__":
    app()
