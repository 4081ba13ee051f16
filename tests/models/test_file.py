import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from srgan.models.file import CheckpointError, save_checkpoint, shipped_models
from srgan.models.load import load_checkpoint
from srgan.networks.architecture import Architecture, Checkpoint, expected_shapes
from tests.support.networks import random_checkpoint


@pytest.mark.parametrize(
    ("architecture", "version"),
    [
        (Architecture(3, 8, 2), "1"),
        (Architecture(3, 8, 4), "1"),
        (Architecture(3, 8, 8), "1"),
        (Architecture(3, 8, 4, bilinear=True), "2"),
        (Architecture(3, 8, 3), "3"),
        (Architecture(3, 8, 1, unshuffle=4, bilinear=True, output="clamp"), "3"),
    ],
)
def test_round_trip_keeps_everything(
    tmp_path: Path, architecture: Architecture, version: str
) -> None:
    """Versions of srgan that do not know the network refuse its format version."""
    checkpoint = random_checkpoint(architecture)
    checkpoint = Checkpoint(checkpoint.architecture, checkpoint.tensors, {"licence": "MIT"})
    save_checkpoint(tmp_path / "m.safetensors", checkpoint)
    loaded = load_checkpoint(tmp_path / "m.safetensors")
    assert loaded.architecture == architecture
    with safe_open(tmp_path / "m.safetensors", "numpy") as file:  # type: ignore[no-untyped-call]
        assert file.metadata()["format_version"] == version
    assert loaded.info == {"licence": "MIT"}
    for name, tensor in checkpoint.tensors.items():
        np.testing.assert_array_equal(loaded.tensors[name], tensor)


def test_half_rounds_only_the_convolutions(tmp_path: Path, small_checkpoint: Checkpoint) -> None:
    save_checkpoint(tmp_path / "m.safetensors", small_checkpoint, half=True)
    loaded = load_checkpoint(tmp_path / "m.safetensors")
    for name, tensor in small_checkpoint.tensors.items():
        expected = tensor.astype(np.float16) if tensor.ndim == 4 else tensor
        np.testing.assert_array_equal(loaded.tensors[name], expected.astype(np.float32))


def test_shipped_model_is_the_published_network() -> None:
    checkpoint = load_checkpoint("srresnet-x4")
    assert checkpoint.architecture == Architecture(blocks=16, channels=64, scale=4)
    counted = [t.size for name, t in checkpoint.tensors.items() if "running" not in name]
    assert sum(counted) == 1_549_462
    assert all(path.stat().st_size < 8e6 for path in shipped_models().values())


def test_every_shipped_model_has_a_card_and_facts() -> None:
    for name, path in shipped_models().items():
        assert path.with_suffix(".md").read_text(encoding="utf-8").startswith(f"# {name}")
        info = load_checkpoint(name).info
        assert {"name", "description", "licence", "training", "metrics"} <= set(info)
        assert info["name"] == name


DAMAGES = {
    "missing": "tensor tail.bias is missing",
    "shape": "tensor tail.bias has shape (4,), not (3,)",
    "unexpected": "tensor extra is unexpected",
    "not finite": "tensor tail.bias holds values that are not finite",
    "newer": "pip install --upgrade",
    "foreign": "not a model file of srgan",
    "metadata": "damaged metadata",
    "scale": "damaged metadata",
    "depth": "damaged metadata",
    "huge": "damaged metadata",
    "info": "damaged metadata",
    "int8": "damaged metadata",
    "truncated": "not a readable safetensors file",
    "zero bytes": "not a readable safetensors file",
    "pickle": "not a readable safetensors file",
}


def damage(path: Path, small_model: Path, how: str) -> None:
    """Write a damaged copy of the model file."""
    tensors = load_file(small_model)
    metadata = {
        "format": "srgan-model",
        "format_version": "1",
        "architecture": json.dumps({"blocks": 2, "channels": 8, "scale": 4}),
        "info": "{}",
    }
    match how:
        case "missing":
            del tensors["tail.bias"]
        case "shape":
            tensors["tail.bias"] = np.zeros(4, np.float32)
        case "unexpected":
            tensors["extra"] = np.zeros(4, np.float32)
        case "not finite":
            tensors["tail.bias"][0] = np.nan
        case "newer":
            metadata["format_version"] = "99"
        case "foreign":
            tensors, metadata = {"weight": np.zeros(4, np.float32)}, {}
        case "metadata":
            metadata["architecture"] = '{"depth": 2}'
        case "depth":
            metadata["architecture"] = '{"blocks": 2.0, "channels": 8}'
        case "huge":
            metadata["architecture"] = '{"blocks": 1000000000}'
        case "info":
            metadata["info"] = "[]"
        case "int8":
            metadata["info"] = '{"int8": {"tail": [1, 0]}}'
        case "scale":
            metadata["architecture"] = '{"scale": 5}'
    save_file(tensors, path, metadata)
    if how == "truncated":
        path.write_bytes(small_model.read_bytes()[:-100])
    if how == "zero bytes":
        path.write_bytes(b"")
    if how == "pickle":
        path.write_bytes(b"\x80\x04\x95" + bytes(100))


@pytest.mark.parametrize(("how", "says"), DAMAGES.items())
def test_wrong_files_are_refused_in_one_line(
    tmp_path: Path, small_model: Path, how: str, says: str
) -> None:
    path = tmp_path / "m.safetensors"
    damage(path, small_model, how)
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path)
    assert str(path) in str(error.value)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_model_names_the_shipped_ones() -> None:
    with pytest.raises(CheckpointError, match="srresnet-x4"):
        load_checkpoint("srresnet-x5")


def test_failed_save_keeps_the_old_file(tmp_path: Path, small_checkpoint: Checkpoint) -> None:
    path = tmp_path / "m.safetensors"
    save_checkpoint(path, small_checkpoint)
    before = path.read_bytes()
    unserialisable = Checkpoint(
        small_checkpoint.architecture, small_checkpoint.tensors, {"x": object()}
    )
    with pytest.raises(TypeError):
        save_checkpoint(path, unserialisable)
    wrong = Checkpoint(small_checkpoint.architecture, {})
    with pytest.raises(ValueError, match="missing"):
        save_checkpoint(path, wrong)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_full_disk_keeps_the_old_file(tmp_path: Path, small_model: Path) -> None:
    """A file size limit in a process of its own stands in for a full disk."""
    path = tmp_path / "m.safetensors"
    path.write_bytes(small_model.read_bytes())
    script = f"""
import resource, signal
from pathlib import Path
from srgan.models.file import save_checkpoint
from srgan.models.load import load_checkpoint
checkpoint = load_checkpoint({str(path)!r})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
save_checkpoint(Path({str(path)!r}), checkpoint)
"""
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert "File too large" in result.stderr
    assert path.read_bytes() == small_model.read_bytes()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("scale", "unshuffle"), [(5, 1), (1, 1), (4, 3), (3, 2), (8, 2)])
def test_architecture_refuses_other_scales(scale: int, unshuffle: int) -> None:
    with pytest.raises(ValueError, match=r"^(scale|unshuffle|scale \* unshuffle) must be one of"):
        Architecture(scale=scale, unshuffle=unshuffle)


def test_expected_shapes_scale_with_the_architecture() -> None:
    shapes = expected_shapes(Architecture(blocks=1, channels=8, scale=8))
    assert sum(name.startswith("upsample") and name.endswith("conv.weight") for name in shapes) == 3


def test_arrays_in_any_memory_order_are_written_by_their_shape(
    tmp_path: Path, small_checkpoint: Checkpoint
) -> None:
    """As channels_last training leaves them."""
    tensors = {
        name: np.ascontiguousarray(t.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        if t.ndim == 4
        else t
        for name, t in small_checkpoint.tensors.items()
    }
    assert not tensors["trunk.conv.weight"].flags.c_contiguous
    for half in (False, True):
        path = tmp_path / f"{half}.safetensors"
        save_checkpoint(path, Checkpoint(small_checkpoint.architecture, tensors), half=half)
        for name, tensor in load_checkpoint(path).tensors.items():
            np.testing.assert_allclose(tensor, small_checkpoint.tensors[name], atol=1e-3)


def test_the_papers_network_is_written_as_ever(
    tmp_path: Path, small_checkpoint: Checkpoint
) -> None:
    """Versions of before the other hyperparameters read it."""
    path = tmp_path / "m.safetensors"
    save_checkpoint(path, small_checkpoint)
    with safe_open(path, "numpy") as file:
        metadata = file.metadata()
    assert metadata["format_version"] == "1"
    assert json.loads(metadata["architecture"]) == {"blocks": 2, "channels": 8, "scale": 4}
    assert load_file(path).keys() == small_checkpoint.tensors.keys()


OTHER = {
    "kernel": 5,
    "head_kernel": 3,
    "tail_kernel": 7,
    "input": "imagenet",
    "batch_norm": False,
    "trunk": "prelu",
    "shuffle_prelu": False,
    "hr_conv": True,
    "bilinear": True,
    "output": "clamp",
}


@pytest.mark.parametrize(("name", "value"), OTHER.items())
def test_every_other_hyperparameter_is_kept(tmp_path: Path, name: str, value: object) -> None:
    architecture = replace(Architecture(1, 4), **{name: value})
    checkpoint = random_checkpoint(architecture)
    path = tmp_path / "m.safetensors"
    save_checkpoint(path, checkpoint)
    loaded = load_checkpoint(path)
    assert loaded.architecture == architecture
    assert loaded.tensors.keys() == checkpoint.tensors.keys()
    with safe_open(path, "numpy") as file:
        assert file.metadata()["format_version"] == "2"


@pytest.mark.parametrize(
    "wrong", [{"kernel": 4}, {"tail_kernel": 33}, {"input": "bgr"}, {"trunk": None}, {"hr_conv": 1}]
)
def test_architecture_refuses_what_no_engine_runs(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Architecture(**wrong)
