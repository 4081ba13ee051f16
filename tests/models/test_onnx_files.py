"""ONNX files of all forms as models, and those that are refused."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from scipy.ndimage import correlate

from srgan.models.file import CheckpointError
from srgan.models.load import load_model
from srgan.networks.foreign import ForeignNetwork
from srgan.upscaling.upscaler import Upscaler
from tests.support import onnx_files
from tests.support.command import Command


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRGAN_CACHE", str(tmp_path / "figures"))


def expected(image: np.ndarray, scale: int) -> np.ndarray:
    """SR by NumPy, of an image (H, W, C) that is continued by its mirror image."""
    channels = image.shape[2]
    x = np.pad(image.astype(np.float32) / 255, ((8, 8), (8, 8), (0, 0)), "symmetric")
    planes = np.stack(
        [
            sum(correlate(x[..., c], kernel[c], mode="constant") for c in range(channels))
            for kernel in onnx_files.weights(scale, channels)
        ]
    )
    height, width = x.shape[:2]
    planes = planes.reshape(channels, scale, scale, height, width).transpose(3, 1, 4, 2, 0)
    sr = planes.reshape(height * scale, width * scale, channels)
    inside = slice(8 * scale, -8 * scale)
    return np.rint(255 * sr[inside, inside].clip(0, 1)).astype(int)


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_any_size(tmp_path: Path, astronaut: np.ndarray, scale: int) -> None:
    upscaler = Upscaler.load(onnx_files.save(tmp_path / "x.onnx", scale=scale), precision="fp32")
    assert upscaler.scale == scale
    sr = upscaler(astronaut)
    assert np.abs(sr.astype(int) - expected(astronaut, scale)).max() <= 1


def test_even_sizes_only(tmp_path: Path, astronaut: np.ndarray) -> None:
    """openvino gives a picture without pixels at odd sizes, and damages memory."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("SpaceToDepth", ["lr"], ["small"], blocksize=2),
        helper.make_node("Conv", ["small", "weight"], ["y"], pads=[1, 1, 1, 1]),
        helper.make_node("DepthToSpace", ["y"], ["sr"], blocksize=4, mode="CRD"),
    ]
    weight = rng.normal(0, 0.1, (48, 12, 3, 3)).astype(np.float32)
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, f"{name}_h", f"{name}_w"])
        for name in ("lr", "sr")
    ]
    constants = [numpy_helper.from_array(weight, "weight")]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "even.onnx"
    path.write_bytes(made.SerializeToString())
    network = load_model(path)
    assert isinstance(network, ForeignNetwork)
    assert (network.scale, network.sizes.multiple) == (2, 2)
    odd = astronaut[:41, :51]
    assert Upscaler(network)(odd).shape == (82, 102, 3)


def test_fixed_size(tmp_path: Path, astronaut: np.ndarray) -> None:
    path = onnx_files.save(tmp_path / "x.onnx", size=(48, 64))
    upscaler = Upscaler.load(path, precision="fp32")
    assert np.abs(upscaler(astronaut).astype(int) - expected(astronaut, 2)).max() <= 1
    small = astronaut[:20, :30]  # smaller than the network's only size
    assert np.abs(upscaler(small).astype(int) - expected(small, 2)).max() <= 1
    assert upscaler(astronaut, tta=True).shape == (192, 240, 3)


def test_uint8_with_channels_last(tmp_path: Path, astronaut: np.ndarray) -> None:
    path = onnx_files.save(tmp_path / "x.onnx", uint8_nhwc=True)
    sr = Upscaler.load(path, precision="fp32")(astronaut)
    assert np.abs(sr.astype(int) - expected(astronaut, 2)).max() <= 1


def test_gray_networks_get_the_luma(tmp_path: Path, astronaut: np.ndarray) -> None:
    upscaler = Upscaler.load(onnx_files.save(tmp_path / "x.onnx", channels=1), precision="fp32")
    gray = astronaut[..., :1]
    assert np.abs(upscaler(gray).astype(int) - expected(gray, 2)).max() <= 1
    sr = upscaler(astronaut).astype(float)
    weights = [0.299, 0.587, 0.114]
    luma = (astronaut @ np.array(weights)).round().astype(np.uint8)[..., None]
    difference = sr @ np.array(weights) - expected(luma, 2)[..., 0]
    assert np.abs(difference).mean() < 2  # but for clipped colours
    drift = [abs(sr[..., c].mean() - astronaut[..., c].mean()) for c in range(3)]
    assert np.ptp(sr.mean((0, 1))) > 0.5 * np.ptp(astronaut.mean((0, 1))), drift


def test_facts_of_the_file(tmp_path: Path) -> None:
    network = load_model(onnx_files.save(tmp_path / "mine.onnx"))
    assert isinstance(network, ForeignNetwork)
    assert (network.architecture, network.info["name"]) == ("ONNX", "mine")
    assert network.parameters == onnx_files.weights(2, 3).size


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_model(path)
    text = str(caught.value)
    assert "\n" not in text
    assert path.name in text
    return text


def test_weights_in_other_files_are_refused(tmp_path: Path) -> None:
    model = onnx_files.model()
    (tmp_path / "secret").write_bytes(bytes(4 * onnx_files.weights(2, 3).size))
    (tmp_path / "folder").mkdir()
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../secret")
    path = tmp_path / "folder" / "x.onnx"
    path.write_bytes(model.SerializeToString())
    assert "its weights are in other files" in refusal(path)


def test_custom_operations_are_refused(tmp_path: Path) -> None:
    node = helper.make_node("Sharpen", ["sr"], ["other"], domain="com.example")
    path = onnx_files.save(tmp_path / "x.onnx", extra=[node])
    assert "the operation Sharpen of com.example" in refusal(path)


def test_tensors_larger_than_the_file_are_refused(tmp_path: Path) -> None:
    model = onnx_files.model()
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend([12, 3, 8192, 8192])
    (tmp_path / "x.onnx").write_bytes(model.SerializeToString())
    assert "claims 2,415,919,104 values" in refusal(tmp_path / "x.onnx")


def test_a_broken_scale_is_refused(tmp_path: Path) -> None:
    scales = numpy_helper.from_array(np.array([1, 1, 3.5, 3.5], np.float32), "scales")
    node = helper.make_node("Resize", ["lr", "", "scales"], ["sr"], mode="linear")
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, f"{name}_h", f"{name}_w"])
        for name in ("lr", "sr")
    ]
    graph = helper.make_graph([node], "g", ports[:1], ports[1:], [scales])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "x.onnx").write_bytes(model.SerializeToString())
    assert "it enlarges 3.5 times" in refusal(tmp_path / "x.onnx")


def test_a_classifier_is_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("GlobalAveragePool", ["lr"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["sr"]),
    ]
    lr = helper.make_tensor_value_info("lr", TensorProto.FLOAT, [1, 3, 224, 224])
    sr = helper.make_tensor_value_info("sr", TensorProto.FLOAT, [1, 3])
    model = helper.make_model(
        helper.make_graph(nodes, "g", [lr], [sr]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    (tmp_path / "x.onnx").write_bytes(model.SerializeToString())
    assert "it gives no picture" in refusal(tmp_path / "x.onnx")


@pytest.mark.parametrize("cut", [0, 1, 100, -1])
def test_damaged_files_are_refused(tmp_path: Path, cut: int) -> None:
    path = onnx_files.save(tmp_path / "x.onnx")
    path.write_bytes(path.read_bytes()[:cut])
    refusal(path)


def test_the_command_takes_it_from_the_models_folder(
    tmp_path: Path, photo: Path, srgan: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").mkdir()
    onnx_files.save(tmp_path / "models" / "mine.onnx")
    monkeypatch.setenv("SRGAN_MODELS", str(tmp_path / "models"))
    done = srgan("upscale", photo, "--model", "mine")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "photo_x2.jpg").is_file()
    assert "mine" in srgan("models", "--json").stdout
    assert srgan("upscale", photo, "--model", "mine", "--detail", "1").returncode == 2


def test_no_onnx_library_is_needed_to_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = onnx_files.save(tmp_path / "x.onnx")
    for library in ("onnx", "torch"):
        monkeypatch.setitem(__import__("sys").modules, library, None)
    assert load_model(path).scale == 2
    assert onnx is not None
