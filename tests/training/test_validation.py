"""What a run validates on and by: the criterion, pictures that are not trained on."""

from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import save_file

from srgan.models.load import load_checkpoint
from srgan.training.config import TrainingConfig
from srgan.training.data.stored import DataError
from srgan.training.options import SRGANOptions
from srgan.training.run.folder import load_state, save_state
from srgan.training.start import find_data
from srgan.training.train import train
from tests.support.training import photos, small_config, small_srgan
from tests.support.weights import random_weights

CHANGED = 'validation computes "content" in another way than before: the best model is chosen anew'


@pytest.fixture
def config(tmp_path: Path) -> TrainingConfig:
    return small_srgan(small_config(photos(tmp_path / "photos"), iterations=3), tmp_path)


def longer(config: TrainingConfig, iterations: int, **method: object) -> TrainingConfig:
    assert isinstance(config.method, SRGANOptions)
    schedule = replace(config.schedule, iterations=iterations)
    return replace(config, schedule=schedule, method=replace(config.method, **method))


def test_another_content_loss_starts_a_new_best(
    config: TrainingConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The values of mse and unit have other units."""
    run = tmp_path / "run"
    train(config, run, resume=False)
    train(longer(config, 6), run, resume=True)
    assert "chosen anew" not in caplog.text
    train(longer(config, 9, content_loss="mse"), run, resume=True)
    assert CHANGED in caplog.text
    assert (run / "best-before-6.safetensors").exists()
    best = load_checkpoint(run / "best.safetensors").info["metrics"]
    assert best["iteration"] in (6, 9) and load_state(run)["best"] == -best["content"]
    weights = {name: 2 * tensor for name, tensor in random_weights("vgg19", 6).items()}
    save_file(weights, tmp_path / "other.safetensors")
    caplog.clear()
    other = str(tmp_path / "other.safetensors")
    train(longer(config, 10, content_loss="mse", features=other), run, resume=True)
    assert CHANGED in caplog.text


def test_states_that_do_not_tell_the_criterion_keep_their_best(
    config: TrainingConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    train(config, run, resume=False)
    state = load_state(run)
    del state["measured_by"], state["format"]
    save_state(run, 3, state | {"best": 99.0}, keep=1)
    train(longer(config, 6), run, resume=True)
    assert "chosen anew" not in caplog.text and load_state(run)["best"] == 99.0


def overlapping(data: Path, validation: Path, count: int) -> tuple[set[str], set[str]]:
    """Names of the pictures to train and to validate on."""
    options = small_config(data, iterations=1).data
    options = replace(options, validation_folder=validation, validation_pictures=count)
    training, validated = find_data(options, Path("run"))
    assert isinstance(training, list)
    return {path.name for path in training}, {path.name for path in validated}


def test_validation_pictures_are_not_trained_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = photos(tmp_path / "photos")
    names = {path.name for path in folder.iterdir()}
    for validation in (folder, tmp_path):
        caplog.clear()
        training, validated = overlapping(folder, validation, 3)
        assert len(validated) == 3 and training == names - validated
        assert "3 training pictures are left out: --validation-folder has them" in caplog.text
    caplog.clear()
    other = photos(tmp_path / "other")  # other files of the same names
    assert overlapping(folder, other, 3)[0] == names and not caplog.text
    (tmp_path / "links").mkdir()
    (tmp_path / "links/coffee.png").symlink_to(folder / "coffee.png")
    assert overlapping(folder, tmp_path / "links", 3)[0] == names - {"coffee.png"}
    with pytest.raises(DataError, match="--validation-folder has all pictures of --data-folder"):
        overlapping(folder, folder, 16)


def test_sub_images_of_validated_photographs_are_not_trained_on(tmp_path: Path) -> None:
    for name in ("a_s001", "a_s002", "b_s001", "b_s002"):
        (tmp_path / f"{name}.png").touch()
    training, validated = overlapping(tmp_path, tmp_path, 1)
    assert validated == {"a_s001.png"} and training == {"b_s001.png", "b_s002.png"}
