import pickle
import sys
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models

from srgan.errors import MissingExtraError
from srgan.networks.features import FeatureExtractor, FeaturesError
from tests.support.weights import Weights, random_weights, torchvision_features


@pytest.fixture(scope="module")
def vgg19() -> Weights:
    """Up to conv 5,4, as wide as VGG19 is."""
    return random_weights("vgg19", 36)


@pytest.fixture(scope="module")
def small() -> Weights:
    """Up to conv 2,1: of no use but quick."""
    return random_weights("vgg19", 6)


@pytest.fixture
def small_file(tmp_path: Path, small: Weights) -> Path:
    save_file(small, tmp_path / "small.safetensors")
    return tmp_path / "small.safetensors"


@pytest.fixture
def picture(astronaut: np.ndarray) -> Tensor:
    """A photograph: 1 x 3 x 96 x 120, RGB in [0, 1]."""
    return torch.from_numpy(astronaut).permute(2, 0, 1).div(255)[None]


def torchvision_output(network: str, layers: int, weights: Weights, picture: Tensor) -> Tensor:
    """As in torchvision's documentation: normalise, then `features[:layers]`."""
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
    module = torchvision_features(network)[:layers]
    state = {name.removeprefix("features."): tensor for name, tensor in weights.items()}
    module.load_state_dict({k: state[k] for k in module.state_dict()}, assign=True)
    with torch.no_grad():
        return module((picture - mean.view(3, 1, 1)) / std.view(3, 1, 1))


@pytest.mark.parametrize(
    ("layer", "layers"), [((1, 1), 2), ((2, 2), 9), ((3, 4), 18), ((4, 1), 21), ((5, 4), 36)]
)
def test_output_is_torchvisions_vgg19(
    vgg19: Weights, tmp_path: Path, picture: Tensor, layer: tuple[int, int], layers: int
) -> None:
    needed = random_names(layers, vgg19)
    save_file(needed, tmp_path / "vgg19.safetensors")
    extractor = FeatureExtractor(tmp_path / "vgg19.safetensors", [layer])
    assert (extractor.network, extractor.layers) == ("vgg19", [layer])
    expected = torchvision_output("vgg19", layers, vgg19, picture)
    assert expected.std() > 0.1
    torch.testing.assert_close(extractor(picture)[0], expected)


def test_several_layers_from_the_input_on(vgg19: Weights, tmp_path: Path, picture: Tensor) -> None:
    save_file(random_names(19, vgg19), tmp_path / "vgg19.safetensors")
    extractor = FeatureExtractor(tmp_path / "vgg19.safetensors", [(3, 4), (1, 2), (2, 1), (2, 1)])
    assert extractor.layers == [(1, 2), (2, 1), (3, 4)]
    found = extractor(picture)
    assert len(found) == 3
    for features, layers in zip(found, (4, 7, 18), strict=True):
        torch.testing.assert_close(features, torchvision_output("vgg19", layers, vgg19, picture))


def random_names(layers: int, weights: Weights) -> Weights:
    return {k: v for k, v in weights.items() if int(k.split(".")[1]) < layers}


def test_vgg16_is_recognised_and_5_4_is_its_5_3(tmp_path: Path, picture: Tensor) -> None:
    weights = random_weights("vgg16", 30)
    save_file(weights, tmp_path / "weights.safetensors")
    extractor = FeatureExtractor(tmp_path / "weights.safetensors")
    assert (extractor.network, extractor.layers) == ("vgg16", [(5, 3)])
    expected = torchvision_output("vgg16", 30, weights, picture)
    torch.testing.assert_close(extractor(picture)[0], expected)


def test_default_is_torchvisions_imagenet_vgg19(
    vgg19: Weights, picture: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, bool]] = []

    def get_state_dict(weights: object, *, check_hash: bool, weights_only: bool) -> Weights:
        asked.append((weights, check_hash and weights_only))
        return vgg19 | {"classifier.0.bias": torch.zeros(4096)}

    monkeypatch.setattr(models.VGG19_Weights, "get_state_dict", get_state_dict)
    extractor = FeatureExtractor()
    assert asked == [(models.VGG19_Weights.IMAGENET1K_V1, True)]
    assert (extractor.network, extractor.layers) == ("vgg19", [(5, 4)])
    assert extractor(picture)[0].shape == (1, 512, 6, 7)


def test_half_precision_pth_with_a_classifier(
    small: Weights, tmp_path: Path, picture: Tensor
) -> None:
    half = {name: tensor.half() for name, tensor in small.items()}
    torch.save(half | {"classifier.0.weight": torch.zeros(3, 5)}, tmp_path / "vgg.pth")
    extractor = FeatureExtractor(tmp_path / "vgg.pth", [(2, 1)])
    expected = torchvision_output("vgg19", 7, {k: v.float() for k, v in half.items()}, picture)
    torch.testing.assert_close(extractor(picture)[0], expected)


def test_no_layer_after_the_tap_is_kept(small_file: Path) -> None:
    extractor = FeatureExtractor(small_file, [(1, 2)])
    assert set(extractor.state_dict()) == {
        "features.0.weight", "features.0.bias", "features.2.weight", "features.2.bias"
    }  # fmt: skip


def test_frozen_in_evaluation_mode_and_gradient_only_to_the_input(
    small_file: Path, picture: Tensor
) -> None:
    extractor = nn.Sequential(FeatureExtractor(small_file, [(2, 1)])).train()
    assert not any(module.training for module in extractor[0].modules())
    picture.requires_grad_(True)
    extractor(picture)[0].square().sum().backward()
    assert picture.grad is not None and picture.grad.abs().min() > 0
    parameters = list(extractor.parameters())
    assert parameters and not any(p.requires_grad for p in parameters)
    assert all(p.grad is None for p in parameters)


def test_picture_is_not_changed(small_file: Path, picture: Tensor) -> None:
    before = picture.clone()
    FeatureExtractor(small_file, [(1, 1)])(picture)
    assert torch.equal(picture, before)


@pytest.mark.parametrize(
    ("name", "tensor", "problem"),
    [
        ("features.2.bias", None, "tensor features.2.bias is missing"),
        ("features.5.weight", torch.zeros(128, 64, 1, 1), "features.5.weight has shape (128, 64,"),
        ("features.0.bias", torch.full((64,), torch.nan), "features.0.bias holds values that are"),
    ],
)
@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_tensor_that_does_not_fit_is_named(
    small: Weights, tmp_path: Path, suffix: str, name: str, tensor: Tensor | None, problem: str
) -> None:
    path = tmp_path / f"vgg.{suffix}"
    weights = {k: v for k, v in small.items() if k != name}
    weights |= {} if tensor is None else {name: tensor}
    if suffix == "pth":
        torch.save(weights, path)
    else:
        save_file(weights, path)
    with pytest.raises(FeaturesError) as caught:
        FeatureExtractor(path, [(2, 1)])
    assert_one_helpful_line(caught.value, str(path), problem)


def assert_one_helpful_line(error: Exception, *parts: str) -> None:
    assert "\n" not in str(error)
    for part in (*parts, "--features FILE"):
        assert part in str(error)


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_damaged_or_missing_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"vgg.{suffix}"
    with pytest.raises(FeaturesError) as caught:
        FeatureExtractor(path)
    assert_one_helpful_line(caught.value, str(path), "no such file")
    path.write_bytes(b"not weights at all" * 10)
    with pytest.raises(FeaturesError) as caught:
        FeatureExtractor(path)
    assert_one_helpful_line(caught.value, str(path))


class Executed:
    """Unpickled, it would leave a file behind."""

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return Path.touch, (Path("executed"),)  # type: ignore[return-value]


def test_pickled_objects_are_refused_and_not_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("vgg.pth").write_bytes(pickle.dumps({"features.0.weight": Executed()}, protocol=2))
    torch.save({"features.0.weight": Executed()}, "zip.pth")
    for name in ("vgg.pth", "zip.pth"):
        with pytest.raises(FeaturesError, match="plain tensors"):
            FeatureExtractor(name)
    assert not Path("executed").exists()


@pytest.mark.parametrize(
    "error", [URLError("no route"), RuntimeError("invalid hash value\n(expected dcbb)")]
)
def test_failed_download_names_the_option(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def get_state_dict(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(models.VGG19_Weights, "get_state_dict", get_state_dict)
    with pytest.raises(FeaturesError) as caught:
        FeatureExtractor()
    assert_one_helpful_line(caught.value, "download", str(error).split("\n")[0])


def test_missing_torchvision_names_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(MissingExtraError) as caught:
        FeatureExtractor()
    assert str(caught.value) == (
        "--features vgg19 needs torchvision: install with: pip install 'srgan[train]'"
    )


@pytest.mark.parametrize("layer", [(0, 1), (6, 1), (5, 0)])
def test_no_such_layer(layer: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="no convolution"):
        FeatureExtractor("vgg19", [layer])
