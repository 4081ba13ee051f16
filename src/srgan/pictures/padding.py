"""Pictures continued beyond their edges, window by window, without a copy of the picture."""

import numpy as np

from srgan.pictures.pixels import Pixels


class EdgesRepeated:
    """Pixels with the outermost ones repeated around them, as `numpy.pad` does with "edge".

    Args:
        image: (H, W, bands).
        rows, columns: how many pixels come (before, after) along each axis.
    """

    def __init__(self, image: Pixels, rows: tuple[int, int], columns: tuple[int, int]) -> None:
        self._image, self._before = image, (rows[0], columns[0])
        height, width, bands = image.shape
        self.shape = height + sum(rows), width + sum(columns), bands
        self.dtype = image.dtype

    def __getitem__(self, window: tuple[slice, slice]) -> np.ndarray:
        reads: list[slice] = []
        repeats: list[np.ndarray] = []
        for part, before, padded, length in zip(
            window, self._before, self.shape, self._image.shape, strict=False
        ):
            start, stop, _ = part.indices(padded)
            places = np.clip(np.arange(start, stop) - before, 0, length - 1)
            reads.append(slice(int(places[0]), int(places[-1]) + 1))
            repeats.append(places - places[0])
        pixels = self._image[reads[0], reads[1]]
        return pixels[np.ix_(repeats[0], repeats[1])]
