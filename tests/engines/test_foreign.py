"""One small network of each of spandrel's architectures for super-resolution, from file to SR."""

import os
from math import isqrt
from pathlib import Path

import numpy as np
import pytest
import torch
from spandrel import ModelLoader

from srgan.engines.base import EngineError
from srgan.engines.create import TORCH_ONLY, create_engine
from srgan.engines.foreign import engine as foreign_engine
from srgan.engines.foreign import graphs, measure
from srgan.engines.options import EngineName, EngineOptions
from srgan.models.load import load_model
from srgan.networks.foreign import ForeignNetwork, torch_module
from srgan.upscaling.bands import TiledRun
from srgan.upscaling.upscaler import Upscaler
from tests.support.architectures import SMALL, small_state

LIMIT = 1e-3
SLOW = ("CRAFT", "DCTLSA", "GRL", "IPT")  # test_peers.py has a file of DCTLSA
# Levels between tiled and whole where tiles are blended. OmniSR's channel attention means over the
# whole picture: neither a larger halo nor larger tiles lower its 6 (the mean is 0.3).
BLENDED, BLENDED_OMNISR = 4, 6


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRGAN_CACHE", str(tmp_path_factory.getbasetemp() / "figures"))
    monkeypatch.setattr(measure, "SIDES", (64,))  # others are blended
    monkeypatch.setattr(foreign_engine, "TAIL_BYTES", 2_000_000)  # several parts in the tail
    torch.set_num_threads(1)


def saved(name: str, folder: Path) -> Path:
    path = folder / f"{name}.pth"
    if not path.exists():
        torch.save({"params": small_state(name)}, path)
    return path


def spandrels(path: Path, lr: np.ndarray) -> np.ndarray:
    model = ModelLoader().load_from_file(path)
    with torch.inference_mode():
        return model(torch.from_numpy(lr.copy())).numpy()  # type: ignore[operator]


def named(name: str) -> object:
    """A parameter; those whose conversion takes long wait for SRGAN_SLOW_TESTS."""
    slow = name in SLOW and not os.environ.get("SRGAN_SLOW_TESTS")
    return pytest.param(name, marks=pytest.mark.skipif(slow, reason="set SRGAN_SLOW_TESTS=1"))


@pytest.mark.parametrize("name", [named(name) for name in SMALL if name != "AuraSR"])
def test_every_architecture(name: str, tmp_path: Path) -> None:
    check_engine(name, "torch" if name in TORCH_ONLY else "openvino", tmp_path)


@pytest.mark.parametrize("name", ["Compact", "ESRGAN", "ESRGAN x2"])
def test_those_of_our_own_convolutions(name: str, tmp_path: Path, compiled: None) -> None:
    check_engine(name, "native", tmp_path)


def check_engine(name: str, engine_name: EngineName, tmp_path: Path) -> None:
    """Against spandrel, and tiled against whole."""
    network = load_model(saved(name, tmp_path))
    assert isinstance(network, ForeignNetwork)
    upscaler = Upscaler(network, EngineOptions(engine_name, "fp32", threads=1))
    engine = upscaler.engine_for(np.dtype(np.float32))
    assert engine.name == engine_name
    rng = np.random.default_rng(1)
    side = engine.tiling.fixed[0] if engine.tiling.fixed else 64
    lr = rng.random((1, 3, side, side), np.float32)
    expected = spandrels(tmp_path / f"{name}.pth", lr)
    assert np.abs(engine(lr) - expected).max() <= LIMIT
    check_tiles(upscaler, rng, BLENDED_OMNISR if name == "OmniSR" else BLENDED)


def check_tiles(upscaler: Upscaler, rng: np.random.Generator, blended: int) -> None:
    """Tiled against whole: a level, or `blended` where the tiles are blended."""
    engine = upscaler.engine_for(np.dtype(np.float32))
    tiling = engine.tiling
    if tiling.fixed:
        return  # nothing whole to compare with
    side = 3 * tiling.halo + tiling.multiple + 40
    image = measure.real_tile(side, side)[0].transpose(1, 2, 0)
    image = np.clip(image + rng.normal(0, 0.03, image.shape), 0, 1).astype(np.float32)
    levels = np.rint(255 * image).astype(np.uint8)
    pixels = (3 * tiling.halo + tiling.multiple) ** 2
    run = TiledRun(levels, levels.dtype, engine, lambda: engine, tta=False)
    tiled, whole = (
        np.concatenate(list(run.rows(tile, nothing))).astype(int) for tile in (isqrt(pixels), 1000)
    )
    difference = np.abs(tiled - whole)
    assert difference.max() <= (blended if tiling.blend else 1), (tiling, difference.max())


def nothing(_: float) -> None:
    """Progress that nobody watches."""


def test_a_graph_runs_only_where_its_shapes_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one thread openvino does not notice, and damages memory: often a crash, later."""
    run, seen = graphs.OpenVINORunner.__call__, []

    def noting(runner: graphs.OpenVINORunner, lr: np.ndarray) -> np.ndarray:
        seen.append(lr.shape[2:])
        return run(runner, lr)

    monkeypatch.setattr(graphs.OpenVINORunner, "__call__", noting)
    network = load_model(saved("DITN", tmp_path))  # traced, it has windows of one number
    assert isinstance(network, ForeignNetwork)
    graph = graphs.agreeing(network, torch_module(network), graphs._convert)
    assert graph.sizes.fixed == (graphs.FIXED_SIDE, graphs.FIXED_SIDE)
    assert set(seen) == {graph.sizes.fixed}


def test_a_network_for_torch_alone_has_no_device(tmp_path: Path) -> None:
    network = load_model(saved("ATD", tmp_path))
    with pytest.raises(EngineError, match="--device is for the openvino engine"):
        create_engine(network, EngineOptions(device="cpu"))
