from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter, uniform_filter1d
from skimage import data

from srgan.pictures.images import open_picture
from srgan.pictures.jpeg_tables import LUMA, quality_of
from srgan.pictures.resample import bicubic_8bit
from srgan.upscaling.condition import inspect_condition

PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")


@pytest.fixture(scope="module", params=PHOTOS)
def clean(request: pytest.FixtureRequest) -> np.ndarray:
    """A photograph reduced to half its size: sharp, and all traces of JPEG are gone."""
    photo = getattr(data, request.param)()
    return bicubic_8bit(photo, photo.shape[0] // 2, photo.shape[1] // 2)


def file_of(photo: np.ndarray, path: Path, **options: object) -> Path:
    Image.fromarray(photo).save(path, **options)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("quality", [5, 35, 50, 60, 75, 90, 95, 100])
def test_quality_is_read_from_the_files_tables(quality: int, tmp_path: Path) -> None:
    path = file_of(data.coffee()[:64, :64], tmp_path / "photo.jpg", quality=quality)
    assert inspect_condition(open_picture(path)).quality == quality
    assert inspect_condition(open_picture(path.read_bytes(), name="x.jpg")).quality == quality


def test_quality_of_a_table() -> None:
    assert quality_of(LUMA.ravel().tolist()) == 50
    assert quality_of([1] * 64) == 100
    assert quality_of([65535] * 64) == 1


def test_other_files_and_arrays_have_no_quality(tmp_path: Path) -> None:
    path = file_of(data.coffee()[:64, :64], tmp_path / "photo.png")
    assert inspect_condition(open_picture(path)).quality is None
    assert inspect_condition(data.coffee()[:64, :64]).quality is None


@pytest.mark.parametrize("quality", [40, 80, 95])
def test_traces_of_jpeg_stay_in_the_pixels(clean: np.ndarray, quality: int, tmp_path: Path) -> None:
    assert inspect_condition(clean).traces < 0.05
    path = file_of(clean, tmp_path / "photo.jpg", quality=quality)
    pixels = np.asarray(Image.open(path))
    assert inspect_condition(pixels).traces > 0.1
    assert inspect_condition(pixels[3:, 5:]).traces < 0.05  # the blocks are elsewhere


def test_blur_is_estimated(clean: np.ndarray) -> None:
    found = [inspect_condition(clean).blur]
    assert 0.6 < found[0] < 1.2
    for sigma in (0.6, 1.0, 1.5):
        blurred = gaussian_filter(clean.astype(np.float32), (sigma, sigma, 0))
        found.append(inspect_condition(blurred.round().astype(np.uint8)).blur)
    assert found == sorted(found)
    assert 1.1 * found[0] < found[1] < 1.8
    assert 2.0 < found[3] < 4
    shaken = uniform_filter1d(clean.astype(np.float32), 5, axis=1).round().astype(np.uint8)
    assert inspect_condition(shaken).blur > 1.4  # sharp up and down


def test_noise_is_estimated(clean: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    calm = gaussian_filter(clean.astype(np.float32), (3, 3, 0))  # what has noise is the noise
    for sigma in (1, 3, 8):
        noisy = calm + rng.normal(0, sigma, (*clean.shape[:2], 1))
        found = inspect_condition(noisy.clip(0, 255).round().astype(np.uint8)).noise
        assert 0.65 * sigma < found < 1.1 * sigma
    noisy = clean + rng.normal(0, 4, clean.shape[:2])[..., None]
    sharp = inspect_condition(noisy.clip(0, 255).round().astype(np.uint8))
    assert sharp.blur == pytest.approx(inspect_condition(clean).blur, abs=0.15)


def test_kinds_of_pixels_are_seen_alike() -> None:
    photo = np.repeat(data.camera()[:, :, None], 3, axis=2)
    expected = inspect_condition(photo)
    alpha = np.full_like(photo[..., :1], 255)
    for same in (
        photo[..., :1],
        np.concatenate([photo[..., :1], alpha], axis=2),
        np.concatenate([photo, alpha], axis=2),
        photo.astype(np.uint16) * 257,
        photo.astype(np.float32) / 255,
    ):
        found = inspect_condition(same)
        np.testing.assert_allclose(
            (found.traces, found.blur, found.noise),
            (expected.traces, expected.blur, expected.noise),
            atol=0.02,
        )


@pytest.mark.parametrize("shape", [(1, 1, 3), (15, 400, 3), (16, 16, 1), (17, 3000, 4)])
def test_any_size_and_flat_pictures(shape: tuple[int, int, int]) -> None:
    found = inspect_condition(np.full(shape, 200, np.uint8))
    assert (found.quality, found.blur, found.noise) == (None, 0, 0)
    assert abs(found.traces) < 1e-6
    assert str(found) == ("no JPEG, traces of JPEG 0.00, blur of 0.0 pixels, noise of 0.0 levels")


def test_a_sharp_part_of_a_large_picture_counts() -> None:
    """A background out of focus makes no blurry picture."""
    sharp = bicubic_8bit(data.astronaut(), 256, 256)
    tiled = np.tile(sharp, (4, 4, 1))
    blurred = gaussian_filter(tiled.astype(np.float32), (2, 2, 0)).round().astype(np.uint8)
    assert inspect_condition(blurred).blur > 2
    blurred[384:640, 384:640] = sharp
    assert inspect_condition(blurred).blur < 1.3
