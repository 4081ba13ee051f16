"""Engines: a checkpoint made executable on a device.

An engine runs the network in two stages, because they want different tiles: `features` (the
trunk) has nearly all of the receptive field, `reconstruct` (sub-pixel blocks and tail) nearly
all of the memory.
"""

from typing import Any, Protocol

import numpy as np

from srgan.engines.options import Precision
from srgan.errors import UserError


class EngineError(UserError):
    """What was asked for cannot run here: one line with the reason and what to do."""


class Engine(Protocol):
    """Runs one checkpoint at one precision. Not for use by two threads at once.

    `precision` is what runs, never "auto". `features` may be of the engine's own array type;
    it has the shape (1, C, H, W) and can be sliced along its last two axes.

    Raises:
        MemoryError: from any call, when the device's memory does not suffice for the shape.
    """

    @property
    def device(self) -> str: ...
    @property
    def precision(self) -> Precision: ...
    @property
    def scale(self) -> int: ...
    @property
    def tail_halo(self) -> int:
        """LR pixels around a tile that `reconstruct` reads."""
        ...

    def features(self, lr: np.ndarray) -> Any:
        """LR (1, 3, H, W), RGB float32 in [0, 1], to features, valid until the next call."""
        ...

    def reconstruct(self, features: Any) -> np.ndarray:
        """Features to SR (1, 3, scale * H, scale * W), RGB float32 in [0, 1]."""
        ...

    def __call__(self, lr: np.ndarray) -> np.ndarray:
        """The whole network at once: `reconstruct(features(lr))`."""
        ...
