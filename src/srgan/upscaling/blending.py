"""Blends the overlapping parts of neighbouring tiles, for networks whose influence never ends."""

import numpy as np


def blended(before: np.ndarray, after: np.ndarray, axis: int) -> np.ndarray:
    """Pass smoothly from one array to another of the same shape, along an axis.

    Args:
        before: (h, w, bands), wins at the start of the axis.
        after: wins at its end.
        axis: 0 for rows, 1 for columns.

    Returns:
        An array of their dtype; integers are rounded.
    """
    length = before.shape[axis]
    at = (np.arange(length, dtype=np.float32) + 0.5) / length
    weight = (3 - 2 * at) * at * at  # no step in value or slope at both ends
    weight = weight.reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
    result = before + weight * (after.astype(np.float32) - before)
    return np.rint(result).astype(before.dtype) if before.dtype.kind == "u" else result


def join(target: np.ndarray, done: int, start: int, tile: np.ndarray) -> None:
    """Write a tile into a band, blended with the end of the tile before, which it overlaps.

    Args:
        target: (h, width, bands), the band.
        done: its finished columns.
        start: the tile's first column, before `done`.
        tile: (h, w, bands).
    """
    overlap = done - start
    tile[:, :overlap] = blended(target[:, start:done], tile[:, :overlap], axis=1)
    target[:, start : start + tile.shape[1]] = tile
