"""Frames of videos and animations that repeat, and their parts that do not change: computed once.

Screen recordings, drawings and slides change little from frame to frame, or not at all.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from srgan.pictures.pixels import FILL_REACH, is_gray
from srgan.upscaling.upscaler import Upscaler

_CELL = 32  # pixels a side: changes are found by cells of this size
_MOST = 0.5  # of a frame: where more would be computed again, the whole frame is

Cell = tuple[int, int]  # row, column


class Box(NamedTuple):
    """A rectangle of cells or pixels; bottom and right lie outside."""

    top: int
    left: int
    bottom: int
    right: int


class Reuse:
    """Upscales the frames of a video in order.

    Frames are compared exactly. One that equals the frame before gets the same result. A changed
    part is computed as a tile of its own, with a halo; so it equals the whole frame's result as
    tiles do, within one 8-bit level.

    Args:
        upscale: a frame or a part of one, (H, W, bands), and whether the frame shows only
            grays (`pixels.is_gray`), to its result.
        scale: result pixels per pixel if parts can be computed by themselves: a whole number.
            None: only whole frames are reused.
        halo: pixels around a part that its result depends on.
    """

    def __init__(
        self, upscale: Callable[[np.ndarray, bool], np.ndarray], scale: int | None, halo: int
    ) -> None:
        self._upscale, self._scale, self._halo = upscale, scale, halo
        self._frame: np.ndarray | None = None
        self._gray = False
        self._result: np.ndarray | None = None

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """The result of one frame. It must not be changed: later frames may share it."""
        before, result = self._frame, self._result
        gray = is_gray(frame)
        if gray != self._gray:
            before = None
        self._gray = gray
        if before is None or result is None or before.shape != frame.shape:
            result = self._upscale(frame, self._gray)
        else:
            cells = changed_cells(before, frame)
            if cells:
                result = self._renewed(frame, result, cells)
        self._frame, self._result = frame, result
        return result

    def _renewed(self, frame: np.ndarray, result: np.ndarray, cells: set[Cell]) -> np.ndarray:
        scale, halo = self._scale, self._halo
        if frame.shape[2] in (2, 4):
            halo += FILL_REACH
        if scale is None:
            return self._upscale(frame, self._gray)
        reach = -(-halo // _CELL)  # cells whose result a change reaches
        size = frame.shape[0], frame.shape[1]
        boxes = [_grown(_in_pixels(box), halo, size) for box in grouped(cells, reach)]
        read = [_grown(box, halo, size) for box in boxes]
        if sum((b.bottom - b.top) * (b.right - b.left) for b in read) > _MOST * size[0] * size[1]:
            return self._upscale(frame, self._gray)
        renewed = result.copy()
        for box, tile in zip(boxes, read, strict=True):
            window = frame[tile.top : tile.bottom, tile.left : tile.right]
            part = self._upscale(window, self._gray)
            rows = slice((box.top - tile.top) * scale, (box.bottom - tile.top) * scale)
            columns = slice((box.left - tile.left) * scale, (box.right - tile.left) * scale)
            target = renewed[box.top * scale : box.bottom * scale]
            target[:, box.left * scale : box.right * scale] = part[rows, columns]
        return renewed


def reusing(
    upscaler: Upscaler,
    frame: tuple[int, int],
    size: tuple[int, int],
    dtype: np.dtype,
    *,
    tta: bool = False,
    progress: Callable[[float], None] = lambda _fraction: None,
) -> Reuse:
    """What upscales the frames of a video or an animation, one after the other.

    Changed parts are computed by themselves, if the network can.

    Args:
        frame, size: (height, width) of a frame and of its result.
        dtype: of the frames.
        tta, progress: see `Upscaler.rows`.
    """
    whole = size == upscaler.target(*frame)

    def upscale(part: np.ndarray, gray: bool) -> np.ndarray:
        target = upscaler.target(part.shape[0], part.shape[1]) if whole else size
        rows = upscaler.rows(part, size=target, tta=tta, gray=gray, progress=progress)
        return np.concatenate(list(rows))

    engine = upscaler.engine_for(dtype)
    tiling = engine.tiling
    local = tiling.multiple == 1 and tiling.fixed is None and not tiling.blend
    return Reuse(upscale, engine.scale if local and whole else None, tiling.halo * engine.unshuffle)


def changed_cells(before: np.ndarray, after: np.ndarray) -> set[Cell]:
    """The cells (row, column) in which two frames of one shape differ."""
    if np.array_equal(before, after):
        return set()
    differs = (before != after).any(axis=2)
    height, width = differs.shape
    rows = np.logical_or.reduceat(differs, range(0, height, _CELL), axis=0)
    cells = np.logical_or.reduceat(rows, range(0, width, _CELL), axis=1)
    return {(int(row), int(column)) for row, column in np.argwhere(cells)}


def grouped(cells: Iterable[Cell], reach: int) -> list[Box]:
    """Boxes around the groups of cells that lie within 2 * `reach` of each other.

    No two boxes come as near as that to each other.
    """
    boxes = [Box(row, column, row + 1, column + 1) for row, column in sorted(cells)]
    merged: list[Box] = []
    while boxes:
        box = boxes.pop()
        near = [each for each in merged if _near(box, each, 2 * reach)]
        if not near:
            merged.append(box)
            continue
        merged = [each for each in merged if each not in near]
        tops, lefts, bottoms, rights = zip(box, *near, strict=True)
        boxes.append(Box(min(tops), min(lefts), max(bottoms), max(rights)))
    return merged


def _near(a: Box, b: Box, distance: int) -> bool:
    return (
        a.top < b.bottom + distance
        and b.top < a.bottom + distance
        and a.left < b.right + distance
        and b.left < a.right + distance
    )


def _in_pixels(box: Box) -> Box:
    return Box(*(_CELL * side for side in box))


def _grown(box: Box, pixels: int, size: tuple[int, int]) -> Box:
    """A box of pixels, larger on each side, inside a frame of (height, width)."""
    return Box(
        max(box.top - pixels, 0),
        max(box.left - pixels, 0),
        min(box.bottom + pixels, size[0]),
        min(box.right + pixels, size[1]),
    )
