import numpy as np
from skimage import data

from srgan.pictures.resample import bicubic_8bit
from srgan.training.samples import GAP, HEADER, sample_grid


def row(hr: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """LR, an SR that is neither bicubic nor HR, HR."""
    lr = bicubic_8bit(hr, hr.shape[0] // 4, hr.shape[1] // 4)
    return lr, 255 - hr, hr


def test_columns() -> None:
    lr, sr, hr = row(data.astronaut()[:64, :96])
    grid = sample_grid([(lr, sr, hr)])
    assert grid.dtype == np.uint8
    assert grid.shape == (HEADER + 64 + GAP, 4 * 96 + 3 * GAP, 3)
    columns = [grid[HEADER : HEADER + 64, i * (96 + GAP) :][:, :96] for i in range(4)]
    assert (columns[0][::4, ::4] == lr).all()
    assert (columns[0][3::4, 3::4] == lr).all()
    plain = bicubic_8bit(lr, 64, 96)  # rounds twice
    assert np.abs(columns[1].astype(int) - plain).max() <= 1
    assert (columns[2] == sr).all()
    assert (columns[3] == hr).all()


def test_gaps_are_white_and_every_column_has_a_name() -> None:
    grid = sample_grid([row(np.zeros((64, 64, 3), np.uint8))])
    for i in range(4):
        left = i * (64 + GAP)
        assert (grid[HEADER:, left + 64 : left + 64 + GAP] == 255).all()
        assert grid[:HEADER, left : left + 64].min() < 100


def test_rows_of_different_sizes_align() -> None:
    small, large = data.chelsea()[:48, :64], data.coffee()[:64, :128]
    grid = sample_grid([row(small), row(large)])
    assert grid.shape == (HEADER + 48 + GAP + 64 + GAP, 4 * 128 + 3 * GAP, 3)
    left = 3 * (128 + GAP)
    assert (grid[HEADER : HEADER + 48, left : left + 64] == small).all()
    assert (grid[HEADER : HEADER + 48, left + 64 :] == 255).all()
    assert (grid[HEADER + 48 + GAP : -GAP, left:] == large).all()


def test_bicubic_overshoot_is_clipped() -> None:
    """Beside a black edge bicubic exceeds white, which must not wrap around to black."""
    hr = np.zeros((64, 64, 3), np.uint8)
    hr[:, 32:] = 255
    grid = sample_grid([row(hr)])
    bicubic = grid[HEADER:, 64 + GAP :][:64, :64]
    assert bicubic[:, 36:].min() >= 200
    assert bicubic[:, :28].max() <= 55
