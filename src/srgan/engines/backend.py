"""What `ForeignEngine` needs of a library that runs networks."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from srgan.engines.options import Precision
from srgan.networks.foreign import Sizes

Runner = Callable[[np.ndarray], np.ndarray]


class Backend(NamedTuple):
    """A library that runs a network.

    Attributes:
        name: for the cache, such as "openvino cpu".
        device: see `Engine`.
        native: the precision that "auto" tries.
        sizes: of LR that it takes.
        least_bytes: memory that a tile needs at least in fp32, in bytes per LR pixel.
        runner: builds a runner of a precision: LR (1, C, H, W) float32 of such sizes to SR.
    """

    name: str
    device: str
    native: Precision
    sizes: Sizes
    least_bytes: int
    runner: Callable[[Precision], Runner]
