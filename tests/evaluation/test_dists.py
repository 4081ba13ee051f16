"""DISTS against the reference implementation."""

from pathlib import Path

import DISTS_pytorch
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision import models

from srgan.evaluation.dists import DISTS, DISTSError
from srgan.evaluation.registry import load_metrics
from tests.support.weights import random_weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a VGG16 of random weights."""
    folder = tmp_path_factory.mktemp("weights")
    save_file(random_weights("vgg16", 30), folder / "vgg16_features.safetensors")
    return folder


def reference(weights: Path, a: np.ndarray, b: np.ndarray) -> float:
    """What the package computes with the same VGG16."""

    def vgg16(pretrained: bool) -> nn.Module:
        assert pretrained
        network = models.vgg16(weights=None, init_weights=False)
        network.load_state_dict(load_file(weights / "vgg16_features.safetensors"), strict=False)
        return network

    module = DISTS_pytorch.DISTS_pt
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "models", type("", (), {"vgg16": vgg16}))
        distance = module.DISTS(load_weights=False)
    stored = torch.load(Path(DISTS_pytorch.__file__).with_name("weights.pt"), weights_only=True)
    distance.alpha.data, distance.beta.data = stored["alpha"], stored["beta"]
    pair = (torch.from_numpy(each).permute(2, 0, 1)[None].float() / 255 for each in (a, b))
    return distance(*pair).item()


def test_values_are_the_references(weights: Path, astronaut: np.ndarray) -> None:
    hr = astronaut[:67, :90]
    noisy = (hr + np.random.default_rng(0).normal(0, 20, hr.shape)).clip(0, 255).astype(np.uint8)
    distance = DISTS(weights)
    for sr in (noisy, np.roll(hr, 5, 1), hr // 2):
        expected = reference(weights, sr, hr)
        assert expected > 0.01
        assert distance(sr, hr) == pytest.approx(expected, abs=1e-5)
    assert distance(hr, hr) == pytest.approx(0, abs=1e-5)


def test_a_picture_that_is_too_small(weights: Path) -> None:
    small = np.zeros((15, 40, 3), np.uint8)
    with pytest.raises(ValueError, match="40 x 15 pixels are too few"):
        DISTS(weights)(small, small)


def test_missing_weights_are_explained_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(DISTSError) as caught:
        DISTS(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/vgg16_features.safetensors: no such file; "
        "use --lpips-weights DIR with vgg16_features.safetensors in it"
    )


def test_the_package_is_named_where_it_is_missing(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("srgan.errors._EXTRAS", {"evaluate": ("no_such_package",)})
    functions, unavailable = load_metrics(["dists"], weights)
    assert not functions
    assert "pip install 'srgan[evaluate]'" in unavailable["dists"]
