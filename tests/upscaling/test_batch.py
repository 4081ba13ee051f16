"""Pictures as bytes: the same as `srgan upscale` writes from file to file."""

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from srgan.engines.options import EngineOptions
from srgan.pictures import jobs
from srgan.pictures.animations import Animation, write_animation
from srgan.pictures.images import PictureError, open_picture
from srgan.pictures.options import ResultOptions
from srgan.upscaling import batch
from srgan.upscaling.auto import ModelChooser
from tests.support.animations import FRAMES, SUFFIXES, animated


@pytest.fixture(scope="module")
def models(small_model: Path) -> ModelChooser:
    return ModelChooser(str(small_model), None, EngineOptions(precision="fp32"))


def picture(pixels: np.ndarray, format: str) -> bytes:
    """With EXIF that turns it, an ICC profile and a resolution."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"
    file = io.BytesIO()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.fromarray(pixels)
    image.save(file, format, exif=exif.tobytes(), icc_profile=profile, dpi=(300, 300))
    return file.getvalue()


@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "tiff", "avif"])
@pytest.mark.parametrize("options", [ResultOptions(), ResultOptions(scale=2, quality=60)])
def test_the_same_bytes_as_from_file_to_file(
    format: str, options: ResultOptions, models: ModelChooser, astronaut: np.ndarray, tmp_path: Path
) -> None:
    source, target = tmp_path / "photo.jpg", tmp_path / f"large.{format}"
    source.write_bytes(picture(astronaut, "JPEG"))
    opened = open_picture(source)
    size = jobs.result_size(opened, options, models.scale)
    notes = batch.run(opened, size, target, models.upscaler(), options)
    rows: list[float] = []
    done = batch.upscale_bytes(
        source.read_bytes(), models, options, format=format, progress=rows.append
    )
    assert done.data == target.read_bytes()
    assert done.size == size == Image.open(target).size[::-1]
    assert done.notes == notes
    assert rows[-1] == size[0]


def test_a_frame_that_repeats_tells_progress(models: ModelChooser) -> None:
    """So that a long still animation can be cancelled."""
    source = open_picture(animated("PNG"))
    still = Animation((Fraction(40),) * 5, plays=0, bands=3)
    data, _ = write_animation(None, [FRAMES[0]] * 5, still, source, format="png")
    rows: list[float] = []
    batch.upscale_bytes(data, models, ResultOptions(), format="png", progress=rows.append)
    assert rows == sorted(rows)
    assert {0.2, 0.4, 0.6, 0.8} < {round(each / 192, 3) for each in rows}


@pytest.mark.parametrize("format", SUFFIXES)
def test_the_upscaler_is_free_before_the_file_is_there(
    models: ModelChooser, tmp_path: Path, format: str
) -> None:
    source, target = open_picture(animated(format)), tmp_path / f"large{SUFFIXES[format]}"
    there: list[bool] = []
    batch.run(
        *(source, (192, 256), target, models.upscaler(), ResultOptions()),
        computed=lambda: there.append(target.exists()),
    )
    still = tmp_path / "large.jpg"
    batch.run(
        *(source, (192, 256), still, models.upscaler(), ResultOptions()),
        computed=lambda: there.append(still.exists()),
    )
    assert there == [False, False]


def test_errors_carry_the_name(models: ModelChooser, astronaut: np.ndarray) -> None:
    jpeg = picture(astronaut, "JPEG")

    def upscale(data: bytes, **options: Any) -> None:
        batch.upscale_bytes(data, models, ResultOptions(), format="png", name="a/b.jpg", **options)

    for data in (b"", b"text", jpeg[:100], jpeg[: len(jpeg) // 2]):
        with pytest.raises(PictureError, match=r"^a/b\.jpg: "):
            upscale(data)
    with pytest.raises(PictureError, match=r"^a/b\.jpg: 120 x 96 pixels are more than"):
        upscale(jpeg, max_pixels=1000)


def test_what_a_format_cannot_hold_is_told(models: ModelChooser) -> None:
    wide = np.zeros((8, 4097, 3), np.uint8)
    with pytest.raises(PictureError, match=r"^w: 32 x 16,388 pixels, but WEBP holds"):
        batch.upscale_bytes(picture(wide, "PNG"), models, ResultOptions(), format="webp", name="w")
