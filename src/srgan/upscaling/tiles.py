"""Plans the tiles of a picture: where each one lies, and how far neighbours overlap.

Pure geometry, no pixels. `srgan.upscaling.bands` computes the tiles.

All sizes are in positions of the features: in most networks, LR pixels. A tile reads a halo around
its valid part, because the network's output near the edge of its input is wrong: there the network
pads with zeros. The halo is cut from the result, and the valid parts of all tiles cover the picture
exactly once.

For the same reason the picture is continued by its mirror image, by a border on each side.
The tiles lie on the bordered picture, so all places count from the border's corner.
"""

from functools import partial
from math import isqrt
from typing import NamedTuple

from srgan.engines.base import Tiling

BAND_BYTES = 200_000_000  # finished SR rows held at once; very wide pictures need a little more


class Span(NamedTuple):
    """One tile along one axis: it reads [start, stop), and [first, last) of it is valid.

    All four count from the start of the axis.
    """

    start: int
    stop: int
    first: int
    last: int

    @property
    def read(self) -> slice:
        """The part of the axis that the tile reads."""
        return slice(self.start, self.stop)

    def valid(self, scale: int = 1) -> slice:
        """The valid part in the tile's own result, `scale` result samples per sample."""
        return slice((self.first - self.start) * scale, (self.last - self.start) * scale)


def spans(
    length: int,
    size: int,
    halo: int,
    first: int = 0,
    last: int | None = None,
    *,
    multiple: int = 1,
    blend: int = 0,
    full: bool = False,
) -> list[Span]:
    """Cut the part [first, last) of an axis of `length` samples into tiles.

    A tile reads `halo` more samples on each side, but never beyond the axis: there the network
    pads as it does for the whole picture.

    Args:
        size: the most samples that a tile may read; at least 2 * halo + multiple.
        multiple: tiles begin to read at a multiple of it.
        blend: the valid part of a tile continues this far into the next tile's; at most `halo`.
        full: tiles read `size` samples, but for those at the ends. Otherwise their valid parts
            have equal sizes.
    """
    last = length if last is None else last
    step = size - 2 * halo - multiple + 1
    if length <= size:
        step = last - first
    elif not full:
        count = -(-(last - first) // step)
        step = -(-(last - first) // count)
    return [
        Span(
            max(at - halo, 0) // multiple * multiple,
            min(min(at + step, last) + halo, length),
            at,
            min(at + step + blend, last),
        )
        for at in range(first, last, step)
    ]


def shape_for(width: int, pixels: int, halo: int) -> tuple[int, int]:
    """Height and width of tiles of at most `pixels` samples for a picture `width` wide.

    Strips of the full width are best: they have no halo at their sides. Very flat strips would
    waste more on the halos above and below, so wide pictures get tiles four times as wide as
    high, or square ones if the halo is large. Flat tiles finish rows early, because rows are
    finished with their last tile.
    """
    height = max(int((pixels / 4) ** 0.5), min(8 * halo, isqrt(pixels)), 4 * halo)
    if width * height <= pixels:
        return max(pixels // width, 4 * halo), width
    return height, max(pixels // height, 4 * halo)


def plan_band(
    size: tuple[int, int],
    top: int,
    pixels: int,
    tiling: Tiling,
    *,
    square: bool,
    row_bytes: int,
) -> tuple[Span, list[Span]]:
    """Plan one row of tiles across the picture, a band.

    Args:
        size: (height, width) of the bordered picture.
        top: the first valid row of the band; that of the first band is the border.
        pixels: area of a tile, unless `tiling` fixes it or its halo needs more.
        tiling: of the engine.
        square: tiles are square; otherwise `shape_for` gives their shape.
        row_bytes: bytes of the result for one row of the picture. Bands are low enough to keep
            their result within `BAND_BYTES`, but have at least one valid row.

    Returns:
        The band's rows, and its tiles from left to right as columns.
    """
    height, width = size
    halo = tiling.halo
    if tiling.fixed is not None:
        tile_height, tile_width = tiling.fixed
    else:
        if square:
            tile_height = tile_width = max(isqrt(pixels), 3 * halo + tiling.multiple)
        elif height * width <= pixels:
            tile_height, tile_width = height, width
        else:
            tile_height, tile_width = shape_for(min(width, tiling.widest), pixels, halo)
        most = max(BAND_BYTES // row_bytes, 1) + 2 * halo + tiling.multiple - 1
        tile_height = min(tile_height, most)
    cut = partial(spans, multiple=tiling.multiple, blend=tiling.blend)
    border, full = tiling.border, tile_width == tiling.widest
    row = cut(height, tile_height, halo, top, height - border)[0]
    return row, cut(width, tile_width, halo, border, width - border, full=full)
