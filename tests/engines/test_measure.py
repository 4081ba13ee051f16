"""What is measured of networks that are not ours, on functions with known answers."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import uniform_filter1d

from srgan.engines.base import EngineError
from srgan.engines.devices import choose_device
from srgan.engines.foreign import measure
from srgan.engines.foreign.backend import Backend, Runner
from srgan.engines.foreign.engine import BLEND, ForeignEngine
from srgan.engines.foreign.figures import Figures
from srgan.engines.options import EngineOptions, Precision
from srgan.errors import OptionError
from srgan.networks.foreign import ForeignNetwork, Sizes
from srgan.upscaling.bands import TiledRun


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRGAN_CACHE", str(tmp_path / "figures"))


def smoothed(lr: np.ndarray, reach: int) -> np.ndarray:
    """The mean of the pixels up to `reach` to the left and right, zeros beyond the edge."""
    return uniform_filter1d(lr, 2 * reach + 1, axis=3, mode="constant")


def pooled(lr: np.ndarray) -> np.ndarray:
    """Each pixel, with the mean of the whole picture: its influence never ends."""
    return 0.9 * lr + 0.5 * lr.mean((2, 3), keepdims=True)


@pytest.mark.parametrize("reach", [1, 8, 23, 40, 70])
def test_the_halo_is_the_reach(reach: int) -> None:
    halo = measure.halo(lambda lr: smoothed(lr, reach), 1, Sizes())
    assert halo is not None
    assert reach - 2 <= halo <= reach + 4


def test_an_endless_influence_has_no_halo() -> None:
    assert measure.halo(pooled, 1, Sizes()) is None


def engine(run: Runner, native: Precision = "fp32", lower: Runner | None = None) -> ForeignEngine:
    network = ForeignNetwork("Test", 1, 3, 0, Sizes(), native)

    def runner(precision: Precision) -> Runner:
        return run if precision == "fp32" or lower is None else lower

    backend = Backend("test", "cpu", native, Sizes(), 0, runner)
    return ForeignEngine(network, backend, Figures(network.digest))


def test_the_halo_is_measured_once(tmp_path: Path) -> None:
    calls = []

    def run(lr: np.ndarray) -> np.ndarray:
        calls.append(lr.shape)
        return smoothed(lr, 7)

    assert engine(run).tiling.halo == 8
    count = len(calls)
    assert engine(run).tiling.halo == 8
    assert len(calls) == count
    (file,) = (tmp_path / "figures").iterdir()
    assert json.loads(file.read_text())["halo"] == 8
    file.write_text("{damaged")
    assert engine(run).tiling.halo == 8
    assert len(calls) > count


def test_a_lower_precision_that_differs_is_not_taken(
    caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(lr: np.ndarray) -> np.ndarray:
        return lr

    def near(lr: np.ndarray) -> np.ndarray:
        return lr + 1 / 255

    def far(lr: np.ndarray) -> np.ndarray:
        return lr + 3 / 255

    def broken(lr: np.ndarray) -> np.ndarray:
        return lr * np.float32(np.nan)

    assert engine(run, "bf16", near).precision == "bf16"
    for lower in (far, broken):
        monkeypatch.setenv("SRGAN_CACHE", str(tmp_path / lower.__name__))
        with caplog.at_level(logging.WARNING):
            assert engine(run, "fp16", lower).precision == "fp32"
        assert "using fp32" in caplog.text
        caplog.clear()


def test_blended_tiles_show_no_seam(caplog: pytest.LogCaptureFixture) -> None:
    endless = engine(pooled)
    assert endless.tiling.blend == BLEND
    assert "its tiles are blended" in caplog.text
    # A slope: tiles differ in their means, so the seams of a hard cut would be steps.
    slope = np.linspace(0, 0.3, 400)[:, None, None] + np.linspace(0, 0.3, 420)[:, None]
    image = np.rint(255 * np.repeat(slope, 3, 2)).astype(np.uint8)
    run = TiledRun(image, image.dtype, endless, lambda: endless, tta=False)
    blocks = list(run.rows(200, lambda _: None))
    sr = np.concatenate(blocks).astype(int)
    assert sr.shape == image.shape
    assert np.abs(np.diff(sr, axis=0)).max() <= 4
    assert np.abs(np.diff(sr, axis=1)).max() <= 4


def test_the_device_is_one_that_is_there() -> None:
    assert choose_device("auto", ["CPU", "GPU"]) == "CPU"
    assert choose_device("gpu", ["CPU", "GPU.0", "GPU.1"]) == "GPU.0"
    assert choose_device("npu", ["CPU", "NPU"]) == "NPU"
    with pytest.raises(
        EngineError, match="--device npu: openvino does not find one; it finds: cpu, gpu"
    ):
        choose_device("npu", ["CPU", "GPU"])
    with pytest.raises(OptionError, match="--device must be one of"):
        EngineOptions(device="tpu")  # type: ignore[arg-type]


def test_another_version_of_openvino_is_measured_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    Figures("digest").put("halo", 7)
    assert Figures("digest").get("halo") == 7
    monkeypatch.setattr("srgan.engines.foreign.figures.version", lambda _: "2031.0")
    assert Figures("digest").get("halo") is None
