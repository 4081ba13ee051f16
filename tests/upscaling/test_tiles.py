import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from srgan.engines.base import Tiling
from srgan.upscaling.tiles import plan_band, shape_for, spans

sizes = st.integers(1, 3000)


@given(length=sizes, halo=st.integers(0, 20), extra=st.integers(1, 500))
def test_valid_parts_cover_the_axis_once(length: int, halo: int, extra: int) -> None:
    size = 2 * halo + extra
    tiles = spans(length, size, halo)
    covered = np.concatenate([np.arange(t.first, t.last) for t in tiles])
    np.testing.assert_array_equal(covered, np.arange(length))
    for tile in tiles:
        assert tile.stop - tile.start <= size
        assert tile.start == max(tile.first - halo, 0) or tile.start == 0
        assert tile.stop == min(tile.last + halo, length) or tile.stop == length


@given(length=sizes, halo=st.integers(0, 20), extra=st.integers(1, 500), data=st.data())
def test_a_part_of_the_axis(length: int, halo: int, extra: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, length - 1))
    last = data.draw(st.integers(first + 1, length))
    tiles = spans(length, 2 * halo + extra, halo, first, last)
    covered = np.concatenate([np.arange(t.first, t.last) for t in tiles])
    np.testing.assert_array_equal(covered, np.arange(first, last))
    for tile in tiles:  # nothing is read in vain
        assert (tile.start, tile.stop) == (max(tile.first - halo, 0), min(tile.last + halo, length))


@given(length=sizes, halo=st.integers(0, 20), extra=st.integers(40, 500))
def test_few_sizes(length: int, halo: int, extra: int) -> None:
    """Two ends, the last inner one and the others: each size costs an engine its preparation."""
    tiles = spans(length, 2 * halo + extra, halo)
    assert len({t.stop - t.start for t in tiles}) <= 4


@given(width=sizes, pixels=st.integers(64 * 64, 10**6))
def test_tiles_keep_to_the_budget(width: int, pixels: int) -> None:
    height, tile_width = shape_for(width, pixels, 16)
    assert height >= 64
    assert tile_width <= width or tile_width >= 64
    assert height * tile_width <= max(pixels, 64 * 64 * 2)


@given(height=sizes, width=sizes)
def test_wide_pictures_get_tiles_as_wide_as_allowed(height: int, width: int) -> None:
    """But for the ends; a picture of one tile stays one."""
    tiling = Tiling(halo=20, pixels=150_000, border=8, widest=240)
    options = {"square": False, "row_bytes": 1}
    row, columns = plan_band((height + 16, width + 16), 8, 150_000, tiling, **options)
    covered = np.concatenate([np.arange(t.first, t.last) for t in columns])
    np.testing.assert_array_equal(covered, np.arange(8, width + 8))
    widths = [t.stop - t.start for t in columns]
    if (height + 16) * (width + 16) <= 150_000:
        assert (row.stop, widths) == (height + 16, [width + 16])
    else:
        assert {t.last - t.first for t in columns[:-1]} <= {200}
        assert max(widths) <= 240
        assert (row.stop - row.start) * max(widths) <= 150_000


def test_valid_scales() -> None:
    tile = spans(1000, 200, 16)[1]
    assert tile.valid(4) == slice(64, 64 + (tile.last - tile.first) * 4)
    assert tile.read == slice(tile.first - 16, tile.last + 16)
