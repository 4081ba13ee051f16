"""Steadying: less flicker, no ghosts, nothing on what does not move."""

import numpy as np
import pytest
from skimage import data

from srgan.pictures.resample import bicubic
from srgan.video.motion import flow
from srgan.video.steady import Steady

PHOTO = data.astronaut()[:320, 100:420].astype(np.float32) / 255


def panned(count: int, step: float) -> list[np.ndarray]:
    """LR frames of a camera that pans by `step` LR pixels a frame, uint8."""
    frames: list[np.ndarray] = []
    for k in range(count):
        left = round(4 * step * k)
        frames.append(bicubic(PHOTO[:, left : left + 256], 80, 64))
    return [(frame * 255).round().astype(np.uint8) for frame in frames]


def flickering(frame: np.ndarray, seed: int) -> np.ndarray:
    """The frame by bicubic, and detail that is another for every frame."""
    large = bicubic(frame.astype(np.float32) / 255, 320, 256)
    noise = np.random.default_rng(seed).normal(0, 0.05, (320, 256, 1))
    return ((large + noise).clip(0, 1) * 255).round().astype(np.uint8)


def test_flow_of_a_known_motion() -> None:
    frames = [frame.mean(2).astype(np.float32) / 255 for frame in panned(2, 1.5)]
    motion = flow(*frames)
    inner = motion[:, 8:-8, 8:-8]
    assert abs(float(np.median(inner[1])) - 1.5) < 0.1
    assert abs(float(np.median(inner[0]))) < 0.1


def test_flow_of_any_size() -> None:
    for size in ((1, 1), (1, 40), (13, 27), (50, 3)):
        frame = np.random.default_rng(0).random(size, np.float32)
        motion = flow(frame, frame)
        assert motion.shape == (2, *size)
        assert np.abs(motion).max() < 1


def test_what_flickers_becomes_steady() -> None:
    frames = panned(6, 1.25)
    steady = Steady()
    results = [flickering(frame, k) for k, frame in enumerate(frames)]
    steadied = [steady(frame, sr) for frame, sr in zip(frames, results, strict=True)]

    def error(video: list[np.ndarray]) -> float:
        """Between the last two, the motion of 5 pixels undone."""
        before, after = (each.astype(float)[20:-20] for each in video[-2:])
        return float(np.abs(before[:, 25:-20] - after[:, 20:-25]).mean())

    assert error(steadied) < 0.4 * error(results)


def test_only_luma_changes() -> None:
    frames = panned(2, 1)
    results = [flickering(frame, k) for k, frame in enumerate(frames)]
    steady = Steady()
    shown = [steady(frame, result) for frame, result in zip(frames, results, strict=True)][-1]
    change = shown.astype(int) - results[-1]
    unclipped = np.all((results[-1] > 60) & (results[-1] < 195), axis=2)
    assert np.abs(change).max() > 10
    assert np.ptp(change[unclipped], axis=1).max() <= 1  # rounding


def test_after_a_cut_the_networks_own_stays() -> None:
    one, other = panned(1, 0)[0], np.ascontiguousarray(panned(1, 0)[0][::-1, ::-1])
    steady = Steady()
    steady(one, flickering(one, 1))
    after = flickering(other, 2)
    assert np.abs(steady(other, after).astype(int) - after).mean() < 2


@pytest.mark.parametrize(("dark", "bright", "most"), [(60, 220, 12), (20, 36, 3)])
def test_nothing_stays_behind_what_moves_away(dark: int, bright: int, most: int) -> None:
    """A square jumps over a still wall: no ghost of its edges remains."""
    wall = np.full((64, 96, 3), dark, np.uint8)
    steady = Steady()
    for k in range(5):
        frame = wall.copy()
        frame[20:36, 6 + 16 * k : 22 + 16 * k] = bright
        result = frame.repeat(4, 0).repeat(4, 1)  # sharp: its edges are what is added
        shown = steady(frame, result)
        if k:
            left = 4 * (6 + 16 * (k - 1))
            behind = shown[70:150, left - 8 : left + 40].astype(int)
            assert np.abs(behind - dark).max() <= most, k


def test_a_repeated_frame_is_repeated() -> None:
    frame = panned(1, 0)[0]
    result = flickering(frame, 0)
    steady = Steady()
    first = steady(frame, result)
    assert steady(frame, result) is first


def test_sixteen_bits() -> None:
    frames = [frame.astype(np.uint16) * 257 for frame in panned(2, 1)]
    steady = Steady()
    for frame in frames:
        result = frame.repeat(4, 0).repeat(4, 1)
        shown = steady(frame, result)
        assert shown.dtype == np.uint16
        assert np.abs(shown.astype(int) - result).mean() < 0.02 * 65535
