"""Tiles as pure functions: what to read, what of it is valid, where it goes."""

from typing import NamedTuple


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
