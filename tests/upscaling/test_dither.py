from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from skimage import data

from srgan.engines.options import EngineOptions
from srgan.pictures.images import open_picture
from srgan.pictures.options import ResultOptions
from srgan.upscaling.auto import ModelChooser
from srgan.upscaling.batch import run
from srgan.upscaling.dither import Undithered, is_dithered


def dithered(mode: str = "1") -> Image.Image:
    gray = Image.fromarray(data.astronaut()).convert("L").resize((128, 128))
    dark = (np.asarray(gray) * 0.7).astype(np.uint8)
    return Image.fromarray(dark).convert("1").convert(mode)


def text() -> Image.Image:
    page = Image.new("1", (600, 300), 1)
    draw = ImageDraw.Draw(page)
    for line in range(20):
        draw.text((10, 14 * line), "The quick brown fox jumps over the lazy dog; 0123", fill=0)
    return page


def test_only_dots_of_two_levels_are_dithered(tmp_path: Path) -> None:
    pictures = {
        "1-bit": dithered(),
        "rgb": dithered("RGB"),
        "text": text(),
        "gray": Image.fromarray(data.astronaut()).convert("L"),
        "flat": Image.new("1", (100, 100), 1),
        "tiny": Image.new("1", (3, 1)),
    }
    found: list[str] = []
    for name, picture in pictures.items():
        picture.save(tmp_path / f"{name}.png")
        if is_dithered(open_picture(tmp_path / f"{name}.png")):
            found.append(name)
    assert found == ["1-bit", "rgb"]


def test_windows_are_parts_of_the_whole() -> None:
    image = np.asarray(dithered("RGB"))
    smooth = Undithered(image)
    whole = smooth[:, :]
    assert whole.shape == image.shape
    for window in ((slice(0, 20), slice(3, 90)), (slice(100, 128), slice(90, 128))):
        np.testing.assert_array_equal(smooth[window], whole[window])
    assert len(np.unique(whole)) > 100
    assert abs(whole.mean() - image.mean()) < 0.5


@pytest.mark.parametrize("hidden", [0, 255])
def test_invisible_colours_do_not_bleed(hidden: int) -> None:
    y, x = np.mgrid[:96, :96]
    inside = (y - 48) ** 2 + (x - 48) ** 2 < 40**2
    dots = np.where((y + x) % 2 == 0, 255, 0)
    picture = np.dstack(3 * [np.where(inside, dots, hidden)] + [np.where(inside, 255, 0)])
    smooth = Undithered(picture.astype(np.uint8))[:, :]
    colour, alpha = smooth[..., :3], smooth[..., 3]
    assert np.abs(colour[alpha > 100].astype(int) - 127).max() <= 35
    assert (colour[alpha == 0] == hidden).all()


@pytest.mark.parametrize("model", ["auto", "srresnet-x4", "srgan-x4"])
def test_the_mean_stays(tmp_path: Path, model: str) -> None:
    """Without smoothing, the networks turn a mean of 80 into 43 to 93."""
    source, target = tmp_path / "scan.png", tmp_path / "large.png"
    dithered().save(source)
    models = ModelChooser(model, None, EngineOptions("openvino", "fp32"))
    picture = open_picture(source)
    upscaler = models.upscaler(models.choose(picture).model)
    notes = run(picture, (512, 512), target, upscaler, ResultOptions())
    assert notes == ["dithered with two levels: smoothed before the network"]
    means = [float(np.asarray(Image.open(path).convert("L")).mean()) for path in (source, target)]
    assert means[1] == pytest.approx(means[0], abs=2)
