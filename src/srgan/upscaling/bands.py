"""Computes the tiles of a picture and yields finished rows of SR: the loop over tiles.

`srgan.upscaling.tiles` plans the tiles. One row of tiles is a band.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from srgan.engines.base import Engine, EngineError, Tiling
from srgan.engines.options import MIN_TILE
from srgan.pictures.padding import Mirrored
from srgan.pictures.pixels import (
    FILL_REACH,
    Pixels,
    fill_transparent,
    quantise,
    restore_hidden,
    result_type,
    unit_range,
)
from srgan.pictures.resample import bicubic
from srgan.upscaling.blending import blended, join
from srgan.upscaling.tiles import Span, plan_band, spans

BLOCK_BYTES = 20_000_000  # of SR rows yielded at a time

log = logging.getLogger("srgan")


class Part(NamedTuple):
    """SR (3, h, w), RGB float32 in [0, 1], and its place in the valid part of its tile."""

    y: int
    x: int
    sr: np.ndarray


class Progress:
    """Reports the fraction of the network's work that is done.

    Args:
        report: called with the fraction, 0 to 1.
        height: of the picture, LR rows.
        pixels: of the whole SR.
    """

    def __init__(self, report: Callable[[float], None], height: int, pixels: int) -> None:
        self._report, self._height, self._pixels = report, height, pixels
        self._above = self._done = 0.0

    def begin_band(self, top: int) -> None:
        """Begin the band at row `top`, for the first time or again after running out of memory."""
        self._above, self._done = top / self._height, 0.0

    def advance(self, pixels: float) -> None:
        """Count `pixels` more SR pixels of the band as done."""
        self._done += pixels
        # A tile that is computed again in fp32 counts twice.
        self._report(min(self._above + self._done / self._pixels, 1.0))


@dataclass(frozen=True)
class TiledRun:
    """Upscales one picture at the model's own scale, tile by tile.

    Attributes:
        image: (H, W, bands): gray, gray and alpha, RGB, or RGBA with straight alpha.
        dtype: of the result.
        engine: computes the tiles.
        fp32_engine: builds the engine that computes the tiles in which `engine` overflows.
        tta: average over the 8 flips and rotations.
        network_alpha: the network enlarges alpha, too; otherwise bicubic does.
        gray: the picture shows only grays, and so does SR.
    """

    image: Pixels
    dtype: np.dtype
    engine: Engine
    fp32_engine: Callable[[], Engine]
    tta: bool
    network_alpha: bool = False
    gray: bool = False

    @property
    def _cell(self) -> int:
        """SR pixels along each axis that one position of the features becomes."""
        return self.engine.scale * self.engine.unshuffle

    @property
    def _tiling(self) -> Tiling:
        """The engine's, with a halo that also covers what is done with transparent pixels."""
        tiling = self.engine.tiling
        if self.image.shape[2] in (1, 3) or tiling.fixed is not None:
            return tiling
        return replace(tiling, halo=tiling.halo + -(-FILL_REACH // self.engine.unshuffle))

    def rows(self, tile: int | None, report: Callable[[float], None]) -> Iterator[np.ndarray]:
        """Yield SR from top to bottom, in blocks of rows (rows, scale * W, bands).

        When memory runs out, the rest is computed with tiles of half the side.

        Args:
            tile: side of the tiles in LR pixels; by default fitted to the picture.
            report: called after every tile with the fraction of the work that is done.

        Raises:
            MemoryError: memory does not suffice for the smallest tiles either.
            EngineError: the network's output is not finite.
        """
        unshuffle, cell, tiling = self.engine.unshuffle, self._cell, self._tiling
        border = tiling.border
        bordered = Mirrored(self.image, border * unshuffle, unshuffle)
        size = bordered.shape[0] // unshuffle, bordered.shape[1] // unshuffle
        height, width = (side - 2 * border for side in size)
        progress = Progress(report, height, height * width * cell**2)
        pixels = max(tile // unshuffle, MIN_TILE) ** 2 if tile else tiling.pixels
        row_bytes = width * cell**2 * self.image.shape[2] * self.dtype.itemsize
        top, last = border, height + border
        above: np.ndarray | None = None  # the last rows of the band above, to blend with
        while top < last:
            row, columns = plan_band(
                size, top, pixels, tiling, square=tile is not None, row_bytes=row_bytes
            )
            progress.begin_band(top - border)
            try:
                band = self._band(bordered, row, columns, progress)
            except MemoryError:
                if pixels <= MIN_TILE**2:
                    raise
                pixels = max(pixels // 4, MIN_TILE**2)
                log.warning("out of memory: retrying with tiles of half the side")
                continue
            band = band[: self.image.shape[0] * self.engine.scale - (top - border) * cell]
            if above is not None:
                band[: len(above)] = blended(above, band[: len(above)], axis=0)
            top = last if row.last == last else row.last - tiling.blend
            above = band[(top - row.first) * cell :].copy() if tiling.blend else None
            band = band[: (top - row.first) * cell]
            block = max(BLOCK_BYTES // band[0].nbytes, 1)
            for start in range(0, len(band), block):
                yield band[start : start + block].copy()  # a view would keep the band in memory
            del band

    def _band(
        self, bordered: Mirrored, row: Span, columns: list[Span], progress: Progress
    ) -> np.ndarray:
        cell, border = self._cell, self.engine.tiling.border
        _, width, bands = self.image.shape
        shape = (row.last - row.first) * cell, (columns[-1].last - border) * cell, bands
        result = np.empty(shape, result_type(self.dtype))
        done = 0
        for column in columns:
            left, right = ((end - border) * cell for end in (column.first, column.last))
            target = result[:, left:right]
            if left >= done:
                self._tile(bordered, row, column, target, progress)
            else:  # it overlaps the tile before
                tile = np.empty(target.shape, target.dtype)
                self._tile(bordered, row, column, tile, progress)
                join(result, done, left, tile)
            done = right
        return result[:, : width * self.engine.scale]

    def _tile(
        self, bordered: Mirrored, row: Span, column: Span, target: np.ndarray, progress: Progress
    ) -> None:
        """Write the valid part of one tile into `target`.

        The network computes the colours, gray as three equal ones.
        """
        scale, unshuffle, cell = self.engine.scale, self.engine.unshuffle, self._cell
        rows, columns = (slice(s.start * unshuffle, s.stop * unshuffle) for s in (row, column))
        pixels = unit_range(bordered[rows, columns])
        has_alpha = pixels.shape[2] in (2, 4)
        colour = pixels[..., :-1] if has_alpha else pixels
        hidden = colour
        if has_alpha:
            colour = fill_transparent(colour, pixels[..., -1:])
        lr, share = _as_rgb(colour), self.engine.tiling.trunk_share
        trunk_done = partial(progress.advance, share * (target.shape[0] * target.shape[1]))
        for y, x, sr in self._finite_parts(self.engine, lr, row, column, trunk_done):
            part = target[y : y + sr.shape[1], x : x + sr.shape[2], : colour.shape[2]]
            if self.gray:
                sr = np.broadcast_to(sr.mean(0), (colour.shape[2], *sr.shape[1:]))
            quantise(sr.transpose(1, 2, 0), part)
            progress.advance((1 - share) * part.shape[0] * part.shape[1])
        if has_alpha:
            self._alpha(pixels[..., -1:], row, column, target[..., -1:])
            if colour is not hidden:
                window = row.valid(cell), column.valid(cell)
                restore_hidden(target, hidden, colour, window, scale)

    def _alpha(self, alpha: np.ndarray, row: Span, column: Span, target: np.ndarray) -> None:
        """Write a tile's enlarged alpha (h, w, 1) into `target`."""
        scale, cell = self.engine.scale, self._cell
        if self.network_alpha and alpha.min() < alpha.max():
            lr = _as_rgb(alpha)
            for y, x, sr in self._finite_parts(self.engine, lr, row, column, lambda: None):
                part = target[y : y + sr.shape[1], x : x + sr.shape[2]]
                quantise(sr.mean(0)[..., None], part)
            return
        height, width, _ = alpha.shape
        enlarged = bicubic(alpha, height * scale, width * scale)
        quantise(enlarged[row.valid(cell), column.valid(cell)], target)

    def _finite_parts(
        self,
        engine: Engine,
        lr: np.ndarray,
        row: Span,
        column: Span,
        trunk_done: Callable[[], None],
    ) -> Iterator[Part]:
        """The parts of a tile's SR; where a lower precision overflows, all again in fp32."""
        compute = flips_and_turns if self.tta else tile_by_tile
        for part in compute(engine, lr, row, column, trunk_done):
            if not np.isfinite(part.sr.sum()):
                break
            yield part
        else:
            return
        if engine.precision == "fp32":
            raise EngineError("the network's output is not finite; the model file is damaged")
        log.warning("%s gave values that are not finite: tile computed in fp32", engine.precision)
        yield from self._finite_parts(self.fp32_engine(), lr, row, column, trunk_done)


def _as_rgb(pixels: np.ndarray) -> np.ndarray:
    """(h, w, 1 or 3) as the network takes it: (1, 3, h, w)."""
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3)).transpose(2, 0, 1)[None]


def tile_by_tile(
    engine: Engine, lr: np.ndarray, row: Span, column: Span, trunk_done: Callable[[], None]
) -> Iterator[Part]:
    """Compute a tile: the trunk at once, the tail in smaller parts.

    The tail needs most of the memory, and only a small halo.

    Args:
        lr: (1, 3, h, w), the pixels that the tile reads.
        row, column: the tile along both axes.
        trunk_done: called between the trunk and the tail.

    Yields:
        The valid part of the tile, in parts.
    """
    cell, halo = engine.scale * engine.unshuffle, engine.tiling.tail_halo
    height, width = engine.tiling.tail
    features = engine.features(lr)
    trunk_done()
    rows, columns = row.valid(), column.valid()
    down, across = features.shape[-2:]
    for r in spans(down, height, halo, rows.start, rows.stop):
        for c in spans(across, width, halo, columns.start, columns.stop):
            sr = engine.reconstruct(features[..., r.read, c.read])[0]
            y, x = (r.first - rows.start) * cell, (c.first - columns.start) * cell
            yield Part(y, x, sr[:, r.valid(cell), c.valid(cell)])


def flips_and_turns(
    engine: Engine, lr: np.ndarray, row: Span, column: Span, trunk_done: Callable[[], None]
) -> Iterator[Part]:
    """Compute a tile by geometric self-ensemble (Lim et al. 2017, arXiv:1707.02921).

    Its SR is the mean of the results for the tile's 8 flips and rotations, each rotated back.
    Takes the same arguments as `tile_by_tile`, yields one part, and calls `trunk_done` at the
    end.
    """
    scale, unshuffle = engine.scale, engine.unshuffle
    height, width = lr.shape[2:]
    total = np.zeros((3, height * scale, width * scale), np.float32)
    for turns in range(4):
        for flip in (False, True):
            turned = np.rot90(lr[..., ::-1] if flip else lr, turns, axes=(2, 3))
            back = np.rot90(total[..., ::-1] if flip else total, turns, axes=(1, 2))  # a view
            h, w = (side // unshuffle for side in turned.shape[2:])
            whole = Span(0, h, 0, h), Span(0, w, 0, w)
            for y, x, sr in tile_by_tile(engine, turned, *whole, lambda: None):
                back[:, y : y + sr.shape[1], x : x + sr.shape[2]] += sr / 8
    trunk_done()
    cell = scale * unshuffle
    yield Part(0, 0, total[:, row.valid(cell), column.valid(cell)])
