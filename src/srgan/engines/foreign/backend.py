"""What `ForeignEngine` needs of a library that runs networks."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from srgan.engines.options import Precision
from srgan.networks.foreign import Sizes

Runner = Callable[[np.ndarray], np.ndarray]


class Tail(NamedTuple):
    """The second stage of a network that is cut in two.

    Attributes:
        halo: how far it looks, in LR pixels.
        trunk_share: of the work, done by the first stage.
        runner: builds a runner of a precision: features (1, F, h, w) float32 to SR.
    """

    halo: int
    trunk_share: float
    runner: Callable[[Precision], Runner]


class Backend(NamedTuple):
    """A library that runs a network.

    Attributes:
        name: for the cache, such as "openvino cpu".
        device: see `Engine`.
        native: the precision that "auto" tries.
        sizes: of LR that it takes.
        least_bytes: memory that a tile needs at least in fp32, in bytes per LR pixel.
        runner: builds a runner of a precision: LR (1, C, H, W) float32 of such sizes to SR, or to
            features (1, F, H, W) if there is a tail.
        tail: None for a network in one stage.
    """

    name: str
    device: str
    native: Precision
    sizes: Sizes
    least_bytes: int
    runner: Callable[[Precision], Runner]
    tail: Tail | None = None

    def whole(self, precision: Precision) -> Runner:
        """A runner of the whole network: LR to SR."""
        return in_one(self.runner(precision), self.tail and self.tail.runner(precision))


def in_one(trunk: Runner, tail: Runner | None) -> Runner:
    """Both stages as one; a network in one stage has no tail."""
    return trunk if tail is None else lambda lr: tail(trunk(lr))
