"""Tiles: where they lie, and how one goes through the two stages of an engine."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from srgan.engines.base import Engine

TAIL_PIXELS = 40_000  # of a tail tile: 0.2 GB in fp32
TAIL_HEIGHT = 400  # LR pixels at most


class Span(NamedTuple):
    """One tile along one axis: it reads [start, stop) and its [first, last) is valid.

    All four count from the axis's origin.
    """

    start: int
    stop: int
    first: int
    last: int

    @property
    def read(self) -> slice:
        return slice(self.start, self.stop)

    def valid(self, scale: int = 1) -> slice:
        """The valid part in the tile's own result, `scale` result samples per sample."""
        return slice((self.first - self.start) * scale, (self.last - self.start) * scale)


def spans(length: int, size: int, halo: int, first: int = 0, last: int | None = None) -> list[Span]:
    """Cut the part [first, last) of an axis of `length` samples into tiles of equal valid size.

    A tile reads `halo` samples more on each side, but never beyond the axis: there the network
    pads as it does on the whole picture.

    Args:
        size: the most samples that a tile may read; at least 2 * halo + 1.
    """
    last = length if last is None else last
    if length <= size:
        return [Span(0, length, first, last)]
    count = -(-(last - first) // (size - 2 * halo))
    step = -(-(last - first) // count)
    return [
        Span(max(at - halo, 0), min(min(at + step, last) + halo, length), at, min(at + step, last))
        for at in range(first, last, step)
    ]


def shape_for(width: int, pixels: int, halo: int) -> tuple[int, int]:
    """Height and width of tiles of at most `pixels` samples for a picture `width` wide.

    Full-width strips waste no halo on the sides; where they would be too flat, their own halo
    costs more. So wide pictures are cut into tiles four times as wide as high: rows are finished
    as soon as a whole row of tiles is.
    """
    height = max(int((pixels / 4) ** 0.5), 4 * halo)
    if width * height <= pixels:
        return max(pixels // width, 4 * halo), width
    return height, max(pixels // height, 4 * halo)


class Part(NamedTuple):
    """SR (3, h, w), RGB float32 in [0, 1], and where it goes in the valid part of its tile."""

    y: int
    x: int
    sr: np.ndarray


def tile_by_tile(
    engine: Engine, lr: np.ndarray, row: Span, column: Span, trunk_done: Callable[[], None]
) -> Iterator[Part]:
    """The trunk at once, the tail in tiles of its own: it has the memory and a small halo."""
    scale, halo = engine.scale, engine.tail_halo
    features = engine.features(lr)
    trunk_done()
    rows, columns = row.valid(), column.valid()
    height = min(rows.stop - rows.start + 2 * halo, TAIL_HEIGHT)
    for r in spans(lr.shape[2], height, halo, rows.start, rows.stop):
        for c in spans(lr.shape[3], TAIL_PIXELS // height, halo, columns.start, columns.stop):
            sr = engine.reconstruct(features[:, :, r.read, c.read])[0]
            y, x = (r.first - rows.start) * scale, (c.first - columns.start) * scale
            yield Part(y, x, sr[:, r.valid(scale), c.valid(scale)])


def flips_and_turns(
    engine: Engine, lr: np.ndarray, row: Span, column: Span, trunk_done: Callable[[], None]
) -> Iterator[Part]:
    """Geometric self-ensemble: the mean over the 8 symmetries of the square, each undone."""
    scale = engine.scale
    height, width = lr.shape[2:]
    total = np.zeros((3, height * scale, width * scale), np.float32)
    for turns in range(4):
        for flip in (False, True):
            turned = np.rot90(lr[..., ::-1] if flip else lr, turns, axes=(2, 3))
            back = np.rot90(total[..., ::-1] if flip else total, turns, axes=(1, 2))  # a view
            h, w = turned.shape[2:]
            whole = Span(0, h, 0, h), Span(0, w, 0, w)
            for y, x, sr in tile_by_tile(engine, turned, *whole, lambda: None):
                back[:, y : y + sr.shape[1], x : x + sr.shape[2]] += sr / 8
    trunk_done()
    yield Part(0, 0, total[:, row.valid(scale), column.valid(scale)])
