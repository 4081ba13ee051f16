"""Engines: each runs the network of a model file on a device.

An engine runs the network in two stages, because they need tiles of different sizes. `features`
(the trunk) has nearly all of the receptive field. `reconstruct` (sub-pixel blocks and tail) needs
nearly all of the memory.
"""

from typing import Any, Protocol

import numpy as np

from srgan.engines.options import Precision
from srgan.errors import UserError


class EngineError(UserError):
    """An engine or a precision cannot run here: one line with the reason and what to do."""


class Engine(Protocol):
    """Runs one network at one precision. Two threads must not use it at the same time.

    Attributes:
        device: "cpu", "cuda" or "mps".
        precision: the precision that runs, never "auto".
        scale: SR pixels per LR pixel along each axis.
        unshuffle: LR pixels per position of the features along each axis.

    Raises:
        MemoryError: from any call, if the device has too little memory for the shape.
    """

    @property
    def device(self) -> str: ...
    @property
    def precision(self) -> Precision: ...
    @property
    def scale(self) -> int: ...
    @property
    def unshuffle(self) -> int: ...
    @property
    def tail_halo(self) -> int:
        """The halo of `reconstruct`: the positions of the features around a tile, on each side."""
        ...

    def features(self, lr: np.ndarray) -> Any:
        """LR (1, 3, H, W), RGB float32 in [0, 1], to features (1, C, H', W').

        H and W are multiples of `unshuffle`, and H' and W' are the quotients. Features are of the
        engine's own array type. They can be sliced along the last two axes, and are valid until
        the next call.
        """
        ...

    def reconstruct(self, features: Any) -> np.ndarray:
        """Features (1, C, H', W') to SR (1, 3, scale * H, scale * W), RGB float32 in [0, 1]."""
        ...

    def __call__(self, lr: np.ndarray) -> np.ndarray:
        """The whole network, for LR of any height and width."""
        ...


def run_whole(engine: Engine, lr: np.ndarray) -> np.ndarray:
    """Both stages, with the last rows and columns of LR repeated up to whole positions."""
    height, width = lr.shape[2:]
    missing = [(0, -side % engine.unshuffle) for side in (height, width)]
    sr = engine.reconstruct(engine.features(np.pad(lr, ((0, 0), (0, 0), *missing), "edge")))
    return sr[..., : engine.scale * height, : engine.scale * width]
