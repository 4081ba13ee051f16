"""The one engine of networks that are not ours: it pads, measures, and runs a graph or a module."""

import logging
from dataclasses import replace
from functools import partial
from math import isqrt, lcm

import numpy as np

from srgan.engines.base import Tiling
from srgan.engines.foreign import measure
from srgan.engines.foreign.backend import Backend, Runner, in_one
from srgan.engines.foreign.figures import Figures
from srgan.engines.options import Precision
from srgan.networks.foreign import ForeignNetwork
from srgan.pictures.colour import LUMA_WEIGHTS
from srgan.pictures.resample import bicubic

TILE_BYTES = 1_100_000_000  # of the memory for one tile
TAIL_BYTES = 300_000_000  # of the memory for one part of a tile in the tail
MOST_PIXELS = 600_000  # of a tile
ENDLESS_HALO = 48  # of networks whose influence never ends
BORDER = 8  # at least; see `Tiling`
BLEND = 24  # over which their tiles are blended; less than the halo
ENDLESS = ("ATD",)  # it attends to the whole picture, too weakly to be measured on a tile

log = logging.getLogger("srgan")


class ForeignEngine:
    """Runs a network of another project; see `Engine`.

    A network that cannot be cut in two is one stage, `features`.

    What the tiles need is measured at the first use of a network on a machine, and kept: the
    halo, the memory, and whether the native precision is close enough to fp32.
    """

    def __init__(
        self,
        network: ForeignNetwork,
        backend: Backend,
        figures: Figures,
        precision: Precision = "auto",
    ) -> None:
        """Measure the network, unless it has been.

        Args:
            precision: one that the backend can run.
            figures: of the network.
        """
        self._network, self._backend, self._figures = network, backend, figures
        self.name = backend.name.partition(" ")[0]
        self.device, self.scale, self.unshuffle = backend.device, network.scale, 1
        self._runners: dict[Precision, tuple[Runner, Runner | None]] = {}
        self.precision: Precision = precision
        if precision == "auto":
            self.precision = self._fast_enough()
        self._trunk, self._tail = self._built(self.precision)
        self.tiling = self._tiling()
        self._runners.clear()

    def features(self, lr: np.ndarray) -> np.ndarray:
        """Of a network in one stage SR itself, its scale x scale pixels behind each LR pixel:
        (1, 3, s, s, H, W)."""
        height, width = lr.shape[2:]
        if self._tail is not None:
            return self._trunk(self._filled(lr))[..., :height, :width]
        sr, scale = self._upscale(self._trunk, lr), self.scale
        return sr.reshape(1, 3, height, scale, width, scale).transpose(0, 1, 3, 5, 2, 4)

    def reconstruct(self, features: np.ndarray) -> np.ndarray:
        if self._tail is not None:
            return self._tail(features).clip(0, 1)
        height, width = features.shape[-2:]
        sr = features.transpose(0, 1, 4, 2, 5, 3)
        return sr.reshape(1, 3, height * self.scale, width * self.scale)

    def __call__(self, lr: np.ndarray) -> np.ndarray:
        return self._upscale(in_one(self._trunk, self._tail), lr)

    def with_runner(self, runner: Runner, lr: np.ndarray) -> np.ndarray:
        """What the engine would give if `runner` ran the whole network."""
        return self._upscale(runner, lr)

    def _built(self, precision: Precision) -> tuple[Runner, Runner | None]:
        if precision not in self._runners:
            tail = self._backend.tail
            runners = self._backend.runner(precision), tail and tail.runner(precision)
            self._runners[precision] = runners
        return self._runners[precision]

    def _run(self, precision: Precision, lr: np.ndarray) -> np.ndarray:
        """The whole network at a precision."""
        return self._upscale(in_one(*self._built(precision)), lr)

    def _upscale(self, runner: Runner, lr: np.ndarray) -> np.ndarray:
        if self._network.channels == 3:
            return self._padded(runner, lr)
        # Gray networks get the luma; the colours are enlarged by bicubic.
        luma = (LUMA_WEIGHTS.reshape(3, 1, 1) * lr).sum(1, keepdims=True)
        plain = self._enlarged(np.concatenate((lr, luma), 1))
        sharp = self._padded(runner, luma)
        return (plain[:, :3] + (sharp - plain[:, 3:])).clip(0, 1)

    def _enlarged(self, lr: np.ndarray) -> np.ndarray:
        height, width = (side * self.scale for side in lr.shape[2:])
        return bicubic(lr[0].transpose(1, 2, 0), height, width).transpose(2, 0, 1)[None]

    def _padded(self, runner: Runner, lr: np.ndarray) -> np.ndarray:
        height, width = lr.shape[2:]
        sr = runner(self._filled(lr))
        return sr[..., : height * self.scale, : width * self.scale].clip(0, 1)

    def _filled(self, lr: np.ndarray) -> np.ndarray:
        """LR, mirrored at the right and below to a size that the network takes."""
        height, width = lr.shape[2:]
        missing = [
            padded - side
            for padded, side in zip(
                self._backend.sizes.padded(height, width), (height, width), strict=True
            )
        ]
        if any(missing):
            mirrored = [min(m, side - 1) for m, side in zip(missing, (height, width), strict=True)]
            lr = _pad(_pad(lr, mirrored, "reflect"), np.subtract(missing, mirrored), "edge")
        return np.ascontiguousarray(lr, np.float32)

    def _fast_enough(self) -> Precision:
        """The backend's native precision, unless its result differs too much from fp32's."""
        native, name = self._backend.native, f"{self._backend.name} {self._backend.native}"
        if native == "fp32":
            return native
        difference = self._figures.get(name)
        if difference is None:
            difference = measure.mean_difference(
                partial(self._run, "fp32"), partial(self._run, native), self._backend.sizes
            )
            self._figures.put(name, min(difference, 1.0))  # JSON has no infinity
        if difference <= measure.MOST_DIFFERENCE:
            return native
        log.warning(
            "%s differs from fp32 by %.1f levels on average with this network: using fp32",
            native,
            255 * difference,
        )
        return "fp32"

    def _tiling(self) -> Tiling:
        sizes = self._backend.sizes
        pixels, tail = self._tile_pixels()  # first: the halo's tiles leave memory behind
        halo = -1 if self._network.architecture in ENDLESS else self._figures.get("halo")
        if halo is None:
            halo = self._measured_halo()
        # Aligned tiles keep the windows of attention where the whole picture has them.
        multiple = lcm(sizes.multiple, measure.WINDOW)
        endless = halo < 0
        side = 0 if sizes.fixed is None else min(sizes.fixed)  # square, for rotations
        fixed = (side, side) if side else None
        halo = ENDLESS_HALO if endless else halo
        blend = BLEND if endless else 0
        if side and 3 * halo + multiple > side:
            halo, blend = side // 4, side // 8
        if blend and fixed is None:
            log.warning("this network looks at the whole picture: its tiles are blended")
        border = -(-BORDER // multiple) * multiple
        tiling = Tiling(halo, pixels, border, multiple=multiple, fixed=fixed, blend=blend)
        if self._backend.tail is None:
            return tiling
        tail_halo, trunk_share, _ = self._backend.tail
        side = max(isqrt(tail), 2 * tail_halo + 1)
        return replace(tiling, tail_halo=tail_halo, tail=(side, side), trunk_share=trunk_share)

    def _measured_halo(self) -> int:
        """The halo, in the precision that tiles must not show; -1 if the influence never ends."""
        log.warning("first use of this network on this machine: measuring it once")
        found = measure.halo(partial(self._run, "fp32"), self.scale, self._backend.sizes)
        halo = -1 if found is None else found
        self._figures.put("halo", halo)
        return halo

    def _tile_pixels(self) -> tuple[int, int]:
        """The area of a tile, and of its parts in the tail."""
        # The trunk first: it keeps its memory, so that the whole needs that of the tail more.
        trunk = 0 if self._tail is None else self._bytes_per_pixel("trunk ", self.features)
        whole = self._bytes_per_pixel("", partial(self._run, self.precision))
        return min(TILE_BYTES // (trunk or whole), MOST_PIXELS), TAIL_BYTES // whole

    def _bytes_per_pixel(self, stage: str, run: Runner) -> int:
        name = f"{self._backend.name} {self.precision} {stage}bytes per pixel"
        used = self._figures.get(name)
        if used is None:
            used = measure.bytes_per_pixel(run, self.scale, self._backend.sizes)
            least = self._backend.least_bytes
            used = max(used, least if self.precision == "fp32" else least // 2)
            self._figures.put(name, used)
        return used


def _pad(lr: np.ndarray, missing: "list[int] | np.ndarray", mode: str) -> np.ndarray:
    widths = ((0, 0), (0, 0), (0, int(missing[0])), (0, int(missing[1])))
    return np.pad(lr, widths, mode)  # type: ignore[call-overload]
