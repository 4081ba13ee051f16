"""G, the matrix by which Winograd's algorithm transforms kernels (winograd.h)."""

import functools

import numpy as np

# Each row of G is a factor times the powers of a point. The last row is for the point infinity:
# only its highest power is 1.
POINTS = (0, 1, -1, 2, -2, 1 / 2, -1 / 2)
FACTORS = (1, -2 / 9, -2 / 9, 1 / 90, 1 / 90, 32 / 45, 32 / 45)


@functools.cache
def kernel_transform(side: int) -> np.ndarray:
    """G, 8 x side, float64: a kernel g of this side becomes G g G^T."""
    rows = np.array(FACTORS)[:, None] * np.array(POINTS)[:, None] ** np.arange(side)
    return np.concatenate([rows, np.eye(side)[-1:]])
