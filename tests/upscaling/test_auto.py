import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from benchmarks.auto import CLEAN as CLEAN_KIND
from benchmarks.auto import Sample, fitted
from srgan.engines.options import EngineOptions
from srgan.models.file import CheckpointError
from srgan.upscaling import auto
from srgan.upscaling.auto import ModelChooser, Thresholds, read_thresholds
from srgan.upscaling.condition import Condition
from srgan.upscaling.options import DEFAULT_MODEL
from srgan.upscaling.upscaler import Upscaler
from tests.support.command import Command

BLURRY = "srgan-blurry-x4"
CLEAN = Condition(quality=None, traces=0.0, blur=0.9, noise=0.5)


def blurred(photo: np.ndarray) -> np.ndarray:
    return gaussian_filter(photo.astype(np.float32), (2, 2, 0)).round().astype(np.uint8)


def models(model: str = "auto") -> ModelChooser:
    return ModelChooser(model, None, EngineOptions("openvino", "fp32"))


def test_a_picture_beyond_a_limit_gets_the_blurry_model(astronaut: np.ndarray) -> None:
    loaded = models()
    choice = loaded.choose(astronaut)
    assert choice.model == DEFAULT_MODEL
    assert choice.why.startswith("clean: no JPEG, ")
    choice = loaded.choose(blurred(astronaut))
    assert choice.model == BLURRY
    assert "blur of" in choice.why
    assert "blurred" in choice.signs


def test_the_chosen_model_upscales(astronaut: np.ndarray) -> None:
    loaded = models()
    for picture, name in ((astronaut, DEFAULT_MODEL), (blurred(astronaut), BLURRY)):
        np.testing.assert_array_equal(loaded(picture), models(name)(picture))
    assert (loaded(astronaut) != models(BLURRY)(astronaut)).any()


def test_detail_is_for_both_models(astronaut: np.ndarray) -> None:
    loaded = ModelChooser("auto", 0, EngineOptions("openvino", "fp32"))
    pictures = ((astronaut, "srresnet-x4"), (blurred(astronaut), "srresnet-blurry-x4"))
    for picture, partner in pictures:
        difference = loaded(picture).astype(int) - models(partner)(picture)
        assert np.abs(difference).max() <= 1


@pytest.mark.parametrize(
    ("shipped", "scales", "clean", "blurry"),
    [
        (("x4",), (1, 1), BLURRY, BLURRY),  # the same size: to be sharper
        (("x1", "x2", "x4"), (1, 1), "srgan-blurry-x1", "srgan-blurry-x1"),
        (("x1", "x2", "x4"), (2, 2), "srgan-x2", "srgan-blurry-x2"),
        (("x1", "x2", "x4"), (1.1, 1), "srgan-x2", "srgan-blurry-x2"),
        (("x1", "x2", "x4"), (2.1, 2), "srgan-x4", BLURRY),
        (("x1", "x2", "x4"), (8, 8), "srgan-x4", BLURRY),  # larger than any
        (("x1", "x4"), (1.5, 1.5), "srgan-x4", BLURRY),
        (("x1", "x2", "x4"), (0.5, 0.5), "srgan-x2", "srgan-blurry-x1"),
        (("x1", "x2", "x4"), None, "srgan-x4", BLURRY),
    ],
)
def test_the_size_decides_the_member_of_the_family(
    shipped: tuple[str, ...],
    scales: tuple[float, float] | None,
    clean: str,
    blurry: str,
    astronaut: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """srgan-x1 is not a model: clean pictures have nothing to gain at their own size."""
    names = [f"srgan-blurry-{scale}" for scale in shipped]
    names += [f"srgan-{scale}" for scale in shipped if scale != "x1"] + ["srresnet-x2"]
    loaded = models()
    monkeypatch.setattr(auto, "shipped_models", lambda: dict.fromkeys(sorted(names)))
    for picture, expected in ((astronaut, clean), (blurred(astronaut), blurry)):
        height, width = picture.shape[:2]
        size = None if scales is None else (int(scales[0] * height), int(scales[1] * width))
        choice = loaded.choose(picture, size)
        assert choice.model == expected
        scale = int(expected[-1])
        native = scales in (None, (scale, scale))
        assert choice.why.endswith(f"; computed at x{scale} and resized") != native


def test_any_scale_of_a_picture_in_memory(astronaut: np.ndarray) -> None:
    small = astronaut[:40, :50]
    assert models(DEFAULT_MODEL)(small, scale=2).shape == (80, 100, 3)
    assert models()(small, scale=1).shape == small.shape


def test_a_named_model_is_taken_as_it_is(astronaut: np.ndarray) -> None:
    for name in (DEFAULT_MODEL, BLURRY):
        for picture in (astronaut, blurred(astronaut)):
            assert models(name).choose(picture, picture.shape[:2]).model == name
    with pytest.raises(CheckpointError, match="no such model"):
        models("nothing")


def test_auto_is_no_model_by_itself() -> None:
    with pytest.raises(CheckpointError, match="auto chooses a model for each picture"):
        Upscaler.load("auto")


@pytest.mark.parametrize(
    ("beyond", "reason"),
    [
        ({"quality": 79}, "JPEG of quality 79"),
        ({"traces": 0.3}, "traces of JPEG, 0.30"),
        ({"blur": 1.5}, "blur of 1.5 pixels"),
        ({"noise": 3.0}, "noise of 3.0 levels"),
        ({"quality": 95, "traces": 0.3}, None),  # of a file the tables say more
        ({}, None),
    ],
)
def test_thresholds(beyond: dict[str, float], reason: str | None) -> None:
    thresholds = Thresholds(quality=80, traces=0.2, blur=1.2, noise=2.0)
    found = thresholds.passed_by(Condition(**{**vars(CLEAN), **beyond}))
    assert list(found.values()) == ([reason] if reason else [])


def test_the_shipped_thresholds_leave_a_clean_picture_to_the_clean_model() -> None:
    thresholds = read_thresholds()
    assert not thresholds.passed_by(CLEAN)
    assert thresholds.passed_by(Condition(quality=30, traces=0.5, blur=2.5, noise=12.0))


def test_thresholds_are_fitted_to_what_the_models_score() -> None:
    """JPEG below 70 and blur above 1.3 are for the blurry model; noise tells nothing, so its
    threshold is where hardly a clean picture is."""
    rng = np.random.default_rng(0)
    samples = []
    for i in range(400):
        quality = int(rng.integers(40, 100)) if i % 2 else None
        blur, noise = rng.uniform(0.7, 2), rng.uniform(0, 5)
        better = (quality is not None and quality < 70) or blur > 1.3
        condition = Condition(quality, 0.0, blur, noise)
        samples.append(Sample(CLEAN_KIND, condition, 0.3, 0.2 if better else 0.4))
    thresholds = fitted(samples)
    right = [bool(thresholds.passed_by(s.condition)) == (s.blurry < s.clean) for s in samples]
    assert np.mean(right) > 0.97
    assert thresholds.blur == pytest.approx(1.3, abs=0.06)
    assert thresholds.quality == pytest.approx(70, abs=3)
    assert thresholds.noise == pytest.approx(4.9, abs=0.1)


def test_the_command_says_which_model_and_why(photo: Path, tmp_path: Path, srgan: Command) -> None:
    """In words with --verbose, and always in JSON; a dry run looks, too."""
    Image.fromarray(blurred(np.asarray(Image.open(photo)))).save(tmp_path / "blurry.png")
    done = srgan("upscale", photo, "blurry.png", "--verbose", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    first, second = map(json.loads, done.stdout.splitlines())
    assert first["model"] == DEFAULT_MODEL
    assert second["model"] == BLURRY
    for record in (first, second):
        assert record["notes"][0].startswith(f"model {record['model']}: ")
    quiet = srgan("upscale", photo, "--model", DEFAULT_MODEL, "--dry-run")
    assert "model" not in quiet.stdout
