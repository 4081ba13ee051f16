"""Bicubic resampling like MATLAB's imresize: the field's definition of LR and of "bicubic".

The kernel is Keys' cubic with a = -0.5. Reduction widens it by the scale (antialiasing). Edges are
replicated, and height is resized before width. Each pass is a matrix product.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from srgan.pictures.options import Edges

CHUNK = 64  # output rows per product: few enough for a narrow band of the matrix
CHUNK_SAMPLES = 4_000_000  # samples per product at most; very long rows need smaller chunks


def _cubic(x: np.ndarray) -> np.ndarray:
    """The cubic kernel of Keys (1981), equation 15, with support 4 and a = -0.5."""
    x = np.abs(x)
    inner = (1.5 * x - 2.5) * x * x + 1
    outer = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, inner, np.where(x < 2, outer, 0))


def bicubic_matrix(
    inputs: int,
    outputs: int,
    start: int = 0,
    stop: int | None = None,
    edges: Edges = "replicate",
) -> tuple[int, np.ndarray]:
    """Rows `start` to `stop` of the matrix that resizes `inputs` samples to `outputs`.

    Returns:
        The index of the first input sample that these rows read, and the matrix, float64, of
        stop - start rows and one column for each sample read. Each row sums to 1.
    """
    stop = outputs if stop is None else stop
    scale = outputs / inputs
    sharpness = min(scale, 1.0)  # below 1 the kernel widens: antialiasing
    reach = 2 / sharpness
    centre = (np.arange(start, stop) + 0.5) / scale - 0.5
    taps = np.floor(centre - reach).astype(int)[:, None] + np.arange(int(np.ceil(2 * reach)) + 2)
    weights = _cubic(sharpness * (centre[:, None] - taps))
    weights /= weights.sum(1, keepdims=True)
    if edges == "symmetric":
        taps %= 2 * inputs  # a mirrored picture repeats after twice its size
        taps = np.minimum(taps, 2 * inputs - 1 - taps)
    taps = taps.clip(0, inputs - 1)
    first = int(taps.min())
    matrix = np.zeros((stop - start, int(taps.max()) + 1 - first))
    np.add.at(matrix, (np.arange(stop - start)[:, None], taps - first), weights)
    return first, matrix


def _resize_first_axis(array: np.ndarray, outputs: int, edges: Edges = "replicate") -> np.ndarray:
    """Resize along axis 0, one band of the matrix at a time."""
    if outputs == array.shape[0]:
        return array
    flat = array.reshape(array.shape[0], -1)
    result = np.empty((outputs, flat.shape[1]), array.dtype)
    for start in range(0, outputs, CHUNK):
        stop = min(start + CHUNK, outputs)
        first, matrix = bicubic_matrix(array.shape[0], outputs, start, stop, edges)
        result[start:stop] = matrix.astype(array.dtype) @ flat[first : first + matrix.shape[1]]
    return result.reshape(outputs, *array.shape[1:])


def _resize_width(image: np.ndarray, width: int, edges: Edges = "replicate") -> np.ndarray:
    return _resize_first_axis(image.swapaxes(0, 1), width, edges).swapaxes(0, 1)


def bicubic(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize a float image (H, W) or (H, W, C) to `height` x `width`. Values are not clipped."""
    return _resize_width(_resize_first_axis(image, height), width)


def bicubic_8bit(
    image: np.ndarray, height: int, width: int, edges: Edges = "replicate"
) -> np.ndarray:
    """Resize a uint8 image like MATLAB: round to 8 bits after each of the two passes.

    With replicated edges every sample equals the published LRx4 pictures of Set5, Set14 and
    BSD100.
    """
    uint8 = np.dtype(np.uint8)
    rows = round_to(_resize_first_axis(image.astype(np.float64), height, edges), uint8)
    return round_to(_resize_width(rows.astype(np.float64), width, edges), uint8)


def round_to(image: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Clip a float image to the range of an unsigned integer type, and round half up."""
    return np.floor(image.clip(0, np.iinfo(dtype).max) + 0.5).astype(dtype)


def resize_rows(
    blocks: Iterable[np.ndarray], shape: tuple[int, int], target: tuple[int, int]
) -> Iterator[np.ndarray]:
    """Resize a picture that arrives as blocks of rows. Only the rows in reach are in memory.

    Args:
        blocks: (h_i, width, C) each, from top to bottom, of an unsigned integer type or float.
        shape: (height, width) of all blocks together.
        target: (height, width) of the result.

    Yields:
        float32 blocks (h_i, width, C) of the result, not clipped.
    """
    (height, width), (target_height, target_width) = shape, target
    reach = max(height / target_height, 1)  # input rows per output row
    chunk = min(max(int(CHUNK_SAMPLES / reach) // max(width, target_width), 1), CHUNK)
    source = iter(blocks)
    held: np.ndarray | None = None
    held_from = 0
    for start in range(0, target_height, chunk):
        stop = min(start + chunk, target_height)
        first, matrix = bicubic_matrix(height, target_height, start, stop)
        matrix = matrix.astype(np.float32)
        last = first + matrix.shape[1]
        parts = [] if held is None else [held[first - held_from :]]
        rows = sum(len(part) for part in parts)
        while rows < last - first:
            block = next(source).astype(np.float32)
            parts.append(block)
            rows += len(block)
        held, held_from = np.concatenate(parts), first
        window = held[: last - first]
        reduced = (matrix @ window.reshape(len(window), -1)).reshape(-1, *window.shape[1:])
        yield _resize_width(reduced, target_width)
