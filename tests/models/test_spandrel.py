from pathlib import Path

import numpy as np
import pytest
import torch
from spandrel import MAIN_REGISTRY, ImageModelDescriptor, ModelLoader, UnsupportedModelError

from srgan.models.file import save_checkpoint
from srgan.models.spandrel import register
from srgan.networks.architecture import Architecture, Checkpoint
from tests.support import foreign
from tests.support.networks import random_checkpoint
from tests.support.reference import network

register()


def upscale(path: Path, lr: np.ndarray, scale: int = 4) -> np.ndarray:
    """As ComfyUI does it."""
    model = ModelLoader().load_from_file(path).eval()
    assert isinstance(model, ImageModelDescriptor)
    assert model.scale == scale
    with torch.inference_mode():
        return model(torch.from_numpy(lr)).numpy()


@pytest.mark.parametrize(
    "architecture",
    [
        Architecture(2, 8),
        Architecture(2, 8, input="imagenet", output="clamp"),
        Architecture(2, 8, scale=3),
        Architecture(2, 8, scale=1, unshuffle=4, bilinear=True, output="clamp"),
    ],
    ids=["ours", "converted", "x3", "same-size"],
)
def test_model_files_load(tmp_path: Path, architecture: Architecture) -> None:
    checkpoint: Checkpoint = random_checkpoint(architecture)
    save_checkpoint(tmp_path / "m.safetensors", checkpoint)
    lr = np.random.default_rng(0).random((1, 3, 12, 15), np.float32)
    result = upscale(tmp_path / "m.safetensors", lr, architecture.scale)
    np.testing.assert_allclose(result, network(checkpoint, lr), atol=1e-5)


def test_other_projects_files_load(tmp_path: Path) -> None:
    author = foreign.randomised(foreign.Lornatang())
    torch.save({"state_dict": author.state_dict()}, tmp_path / "g.pth")
    lr = torch.rand(1, 3, 12, 15)
    with torch.inference_mode():
        expected = author(lr).numpy()
    np.testing.assert_allclose(upscale(tmp_path / "g.pth", lr.numpy()), expected, atol=1e-4)


def test_others_are_left_to_others(tmp_path: Path) -> None:
    register()  # a second time
    assert "SRResNet" in MAIN_REGISTRY
    torch.save({"head.conv.weight": torch.zeros(8, 3, 9, 9)}, tmp_path / "x.pth")
    with pytest.raises(UnsupportedModelError):
        ModelLoader().load_from_file(tmp_path / "x.pth")
