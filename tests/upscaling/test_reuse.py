"""What repeats is computed once; what is reused equals what would have been computed."""

import numpy as np
import pytest
from skimage import data

from srgan.networks.architecture import Checkpoint
from srgan.upscaling.bands import TiledRun
from srgan.upscaling.reuse import Box, Reuse, changed_cells, grouped
from srgan.upscaling.upscaler import Upscaler
from tests.support.engines import Mean3x3, with_few_visible_pixels


def screen(count: int) -> list[np.ndarray]:
    """A page of text on which a small thing moves."""
    page = np.ascontiguousarray(np.repeat(data.page()[:160, :256, None], 3, 2))
    frames = [page.copy() for _ in range(count)]
    for k, frame in enumerate(frames):
        frame[60:72, 40 + 9 * k : 48 + 9 * k] = (200, 30, 30)
    return frames


class Counting:
    """Upscales, and counts the pixels."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.upscaler, self.pixels = Upscaler(checkpoint), 0

    def __call__(self, frame: np.ndarray, gray: bool) -> np.ndarray:
        self.pixels += frame.shape[0] * frame.shape[1]
        return np.concatenate(list(self.upscaler.rows(frame, gray=gray)))


def test_still_slides_are_computed_once_each(small_checkpoint: Checkpoint) -> None:
    slides = [np.ascontiguousarray(np.roll(screen(1)[0], 70 * k, 1)) for k in range(3)]
    count = Counting(small_checkpoint)
    reuse = Reuse(count, 4, 16)
    results = [reuse(slides[k // 10].copy()) for k in range(30)]
    assert count.pixels == 3 * 160 * 256
    for k, result in enumerate(results):
        assert np.array_equal(result, count.upscaler(slides[k // 10]))


def test_only_what_changes_is_computed(small_checkpoint: Checkpoint) -> None:
    frames = screen(8)
    count = Counting(small_checkpoint)
    reuse = Reuse(count, 4, 16)
    for k, frame in enumerate(frames):
        whole = count.upscaler(frame)
        assert np.abs(reuse(frame).astype(int) - whole).max() <= 1, k
    assert count.pixels < 4 * 160 * 256  # of 8


def test_gray_parts_of_frames_in_colour_and_gray_frames(small_checkpoint: Checkpoint) -> None:
    page = screen(1)[0]
    changed, without = page.copy(), page.copy()
    changed[100:110, 200:210] //= 2  # gray, and far from the red
    without[60:72, 40:48] = 255
    count = Counting(small_checkpoint)
    reuse = Reuse(count, 4, 16)
    for frame in (page, changed, without, page):
        whole = count.upscaler(frame)
        assert np.abs(reuse(frame).astype(int) - whole).max() <= 1
    assert count.pixels < 3.5 * 160 * 256  # of 4: the part of `changed` was computed by itself


def test_changed_parts_with_transparency_look_further_than_a_small_network() -> None:
    engine = Mean3x3()
    frame = with_few_visible_pixels(160, 256)
    changed = frame.copy()
    changed[64:96, 96:128] = frame[:32, :32]
    parts: list[int] = []

    def upscale(part: np.ndarray, gray: bool) -> np.ndarray:
        parts.append(part.shape[0])
        run = TiledRun(part, part.dtype, engine, lambda: engine, tta=False, gray=gray)
        return np.concatenate(list(run.rows(None, lambda _: None)))

    reuse = Reuse(upscale, 1, engine.tiling.halo)
    reuse(frame)
    np.testing.assert_array_equal(reuse(changed), upscale(changed, False))
    assert parts[1] < 160


def test_a_result_that_was_handed_out_stays_as_it_is(small_checkpoint: Checkpoint) -> None:
    reuse = Reuse(Counting(small_checkpoint), 4, 16)
    first = reuse(screen(1)[0])
    copy = first.copy()
    for frame in screen(3):
        reuse(frame)
    assert np.array_equal(first, copy)


def test_resized_results_reuse_only_whole_frames() -> None:
    sizes: list[tuple[int, ...]] = []

    def upscale(frame: np.ndarray, _gray: bool) -> np.ndarray:
        sizes.append(frame.shape)
        return frame

    reuse = Reuse(upscale, None, 16)
    for frame in [*screen(2), screen(2)[1]]:
        reuse(frame)
    assert sizes == [(160, 256, 3)] * 2


@pytest.mark.parametrize(
    ("cells", "boxes"),
    [
        ({(0, 0)}, [Box(0, 0, 1, 1)]),
        ({(0, 0), (0, 2)}, [Box(0, 0, 1, 3)]),
        ({(0, 0), (9, 9)}, [Box(9, 9, 10, 10), Box(0, 0, 1, 1)]),
        ({(0, 0), (2, 2), (4, 4), (9, 0)}, [Box(9, 0, 10, 1), Box(0, 0, 5, 5)]),
    ],
)
def test_near_changes_are_one_box(cells: set[tuple[int, int]], boxes: list[Box]) -> None:
    assert sorted(grouped(cells, 1)) == sorted(boxes)


def test_changes_are_found_to_the_level() -> None:
    frame = screen(1)[0]
    other = frame.copy()
    other[159, 255, 2] ^= 1
    assert changed_cells(frame, frame.copy()) == set()
    assert changed_cells(frame, other) == {(4, 7)}
