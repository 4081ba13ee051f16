"""Pictures continued beyond their edges, window by window, without a copy of the picture."""

import numpy as np

from srgan.pictures.pixels import Pixels


class Mirrored:
    """Pixels with their mirror image around them, as `numpy.pad` does with "symmetric".

    A picture narrower than the border is mirrored again and again.

    Args:
        image: (H, W, bands).
        border: how many pixels come before and after, along both axes.
        multiple: some more come after, until both sides are multiples of it; so is `border`.
    """

    def __init__(self, image: Pixels, border: int, multiple: int = 1) -> None:
        self._image, self._border = image, border
        *sides, bands = image.shape
        height, width = (side + 2 * border + -side % multiple for side in sides)
        self.shape = height, width, bands
        self.dtype = image.dtype

    def __getitem__(self, window: tuple[slice, slice]) -> np.ndarray:
        reads: list[slice] = []
        places: list[np.ndarray] = []
        for part, bordered, length in zip(window, self.shape, self._image.shape, strict=False):
            start, stop, _ = part.indices(bordered)
            turn = (np.arange(start, stop) - self._border) % (2 * length)
            place = np.minimum(turn, 2 * length - 1 - turn)
            first, last = int(place.min()), int(place.max())
            reads.append(slice(first, last + 1))
            places.append(place - first)
        pixels = self._image[reads[0], reads[1]]
        if all(len(place) == place[-1] + 1 for place in places):  # within the picture
            return pixels
        return pixels[np.ix_(places[0], places[1])]
