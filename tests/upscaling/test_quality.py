"""Shipped models by the protocol of the papers: the figures of README and cards."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from srgan.engines.base import EngineError
from srgan.engines.options import EngineName, Precision
from srgan.evaluation.metrics import psnr, psnr_y
from srgan.models.load import load_checkpoint
from srgan.pictures.colour import luma
from srgan.pictures.images import open_picture
from srgan.pictures.resample import bicubic_8bit
from srgan.upscaling.upscaler import Upscaler

pytestmark = pytest.mark.xdist_group("quality")  # its fixtures are made once


@pytest.fixture(scope="module")
def set5(shared: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """LR and HR of each picture."""
    folder = shared / "bench" / "Set5"
    names = sorted(path.name for path in (folder / "HR").iterdir())
    assert len(names) == 5
    pictures = [[open_picture(folder / side / name) for side in ("LRx4", "HR")] for name in names]
    return [
        (lr[: lr.shape[0], : lr.shape[1]], hr[: hr.shape[0], : hr.shape[1]]) for lr, hr in pictures
    ]


@pytest.fixture(scope="module")
def figures(set5: list[tuple[np.ndarray, np.ndarray]]) -> "Figures":
    return Figures(set5)


class Figures:
    """Mean PSNR-Y by engine and precision, computed once each."""

    def __init__(self, pictures: list[tuple[np.ndarray, np.ndarray]]) -> None:
        self._pictures = pictures
        self._known: dict[tuple[str, str], float] = {}

    def __call__(self, engine: EngineName, precision: Precision) -> float:
        if (engine, precision) not in self._known:
            try:
                upscaler = Upscaler.load("srresnet-x4", engine=engine, precision=precision)
            except EngineError as error:
                pytest.skip(str(error))
            values = [psnr_y(upscaler(lr), hr, border=4) for lr, hr in self._pictures]
            self._known[engine, precision] = float(np.mean(values))
        return self._known[engine, precision]


def test_fp32_is_the_published_figure(figures: Figures) -> None:
    assert figures("openvino", "fp32") == pytest.approx(32.01, abs=0.01)
    card = load_checkpoint("srresnet-x4").info["metrics"]["Set5"]
    assert figures("openvino", "fp32") == pytest.approx(card, abs=0.005)


def test_engines_agree(figures: Figures) -> None:
    assert figures("torch", "fp32") == pytest.approx(figures("openvino", "fp32"), abs=0.001)


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_bf16_costs_at_most_003_db(figures: Figures, engine: EngineName) -> None:
    assert figures(engine, "bf16") > figures("openvino", "fp32") - 0.03


def test_int8_costs_at_most_006_db(figures: Figures) -> None:
    assert figures("openvino", "int8") > figures("openvino", "fp32") - 0.06


def test_srresnet_x2_is_the_published_figure(set5: list[tuple[np.ndarray, np.ndarray]]) -> None:
    upscaler = Upscaler.load("srresnet-x2", precision="fp32")
    values: list[float] = []
    for _, hr in set5:
        height, width = (side // 2 for side in hr.shape[:2])
        cropped = hr[: 2 * height, : 2 * width]
        values.append(psnr_y(upscaler(bicubic_8bit(cropped, height, width)), cropped, border=2))
    card = load_checkpoint("srresnet-x2").info["metrics"]["Set5"]
    assert np.mean(values) == pytest.approx(card, abs=0.01)


@pytest.mark.parametrize("model", ["srresnet-blurry-x1", "srgan-blurry-x1"])
def test_the_same_size_is_sharper_where_it_was_not_sharp(model: str) -> None:
    from skimage import data

    upscaler = Upscaler.load(model, precision="fp32")
    sharp = bicubic_8bit(data.coffee()[:, :600], 200, 300)
    file = io.BytesIO()
    blurred = Image.fromarray(sharp).filter(ImageFilter.GaussianBlur(0.8))
    blurred.save(file, "jpeg", quality=80)
    blurry = np.asarray(Image.open(file))
    assert psnr_y(upscaler(sharp), sharp, border=1) > 38
    assert psnr_y(upscaler(blurry), sharp, border=1) > psnr_y(blurry, sharp, border=1) + 1


def test_psnr_of_a_known_error(astronaut: np.ndarray) -> None:
    darker = astronaut.clip(10, 245) - 10
    brighter = darker + 10
    assert psnr(darker, brighter) == pytest.approx(20 * np.log10(255 / 10))
    assert psnr(darker, darker) == float("inf")
    assert psnr_y(darker, brighter, 4) == pytest.approx(
        20 * np.log10(255 / (10 * 219 / 255)), abs=1e-3
    )


def test_luma_is_bt601() -> None:
    primaries = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]])
    np.testing.assert_allclose(
        luma(primaries.astype(np.uint8))[0], [16, 235, 81.481, 144.553, 40.966], atol=1e-9
    )


def test_the_border_does_not_count(astronaut: np.ndarray) -> None:
    other = astronaut.copy()
    other[:4] = 0
    assert psnr_y(astronaut, other, border=4) == float("inf")
    assert psnr_y(astronaut, other, border=3) < 60
