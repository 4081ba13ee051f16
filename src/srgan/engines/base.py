"""Engines: each runs the network of a model file on a device.

An engine runs the network in two stages, because they need tiles of different sizes. `features`
(the trunk) has nearly all of the receptive field. `reconstruct` (sub-pixel blocks and tail) needs
nearly all of the memory. A network that is not ours is one stage, `features`; its `reconstruct`
only puts SR into place.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from srgan.engines.options import Precision
from srgan.errors import UserError

UNLIMITED = 1 << 40
BORDER = 8  # of our networks' tiles; with 16, thumbnails would take a third longer


class EngineError(UserError):
    """An engine or a precision cannot run here: one line with the reason and what to do."""


@dataclass(frozen=True)
class Tiling:
    """How pictures are cut for an engine. All lengths are in positions of the features.

    Attributes:
        halo: what a tile reads around its valid part on each side.
        pixels: default area of a tile.
        border: by which the picture is continued by its mirror image on each side, so that the
            zeros with which networks pad are far away.
        tail_halo: what `reconstruct` reads around its part of a tile.
        tail: most rows and columns that `reconstruct` computes at once.
        trunk_share: of the work, done by `features`.
        multiple: tiles begin at multiples of it, so that windows of attention stay in place.
        fixed: the only (height, width) that a tile may read, or None.
        blend: neighbours overlap by this much and are blended; 0 if the halo suffices.
        widest: most columns that a tile reads by default.
    """

    halo: int
    pixels: int
    border: int
    tail_halo: int = 0
    tail: tuple[int, int] = (UNLIMITED, UNLIMITED)
    trunk_share: float = 1.0
    multiple: int = 1
    fixed: tuple[int, int] | None = None
    blend: int = 0
    widest: int = UNLIMITED


def srresnet_tiling(tail_halo: int, *, lean: bool = False, amx: bool = False) -> Tiling:
    """The tiles of our own networks.

    Args:
        tail_halo: see `folding.tail_halo`.
        lean: a position takes little memory: features are bf16, or few are held at once. Tiles
            are then larger, and halos cost less.
        amx: the processor computes them in AMX, which is a third slower on wider rows.
    """
    return Tiling(
        halo=20,  # beyond it the trunk changes SR by 0.13 8-bit levels at most; 16: by 1.5
        pixels=150_000 if amx else 800_000 if lean else 600_000,  # 0.6 GB of features in fp32
        widest=240 if amx else UNLIMITED,
        border=BORDER,
        tail_halo=tail_halo,
        tail=(400, 100),  # 0.2 GB in fp32; wider rows leave the cache: 20 % slower in bf16
        trunk_share=0.6,  # of the shipped network's multiplications
    )


class Engine(Protocol):
    """Runs one network at one precision. Two threads must not use it at the same time.

    Attributes:
        name: of what computes: "openvino", "native" or "torch".
        device: "cpu", "gpu" or "npu" of openvino; "cpu", "cuda" or "mps" of torch.
        precision: the precision that runs, never "auto".
        scale: SR pixels per LR pixel along each axis.
        unshuffle: LR pixels per position of the features along each axis.

    Raises:
        MemoryError: from any call, if the device has too little memory for the shape.
    """

    @property
    def name(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def precision(self) -> Precision: ...
    @property
    def scale(self) -> int: ...
    @property
    def unshuffle(self) -> int: ...
    @property
    def tiling(self) -> Tiling: ...

    def features(self, lr: np.ndarray) -> Any:
        """LR (1, 3, H, W), RGB float32 in [0, 1], to features (1, ..., H', W').

        H and W are multiples of `unshuffle`, and H' and W' are the quotients. Features are of the
        engine's own array type. They can be sliced along the last two axes, and are valid until
        the next call.
        """
        ...

    def reconstruct(self, features: Any) -> np.ndarray:
        """Features (1, ..., H', W') to SR (1, 3, scale * H, scale * W), RGB float32 in [0, 1]."""
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
