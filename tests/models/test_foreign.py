"""Checkpoints that spandrel recognises: read, converted to ONNX, refused."""

import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from srgan.engines.create import create_engine
from srgan.engines.options import EngineOptions
from srgan.errors import MissingExtraError, OptionError
from srgan.models import standalone
from srgan.models.file import CheckpointError
from srgan.models.load import load_checkpoint, load_model
from srgan.models.mix import with_detail
from srgan.models.standalone import ConversionError, write_standalone
from srgan.networks.foreign import ForeignNetwork
from srgan.upscaling.auto import ModelChooser
from tests.support.architectures import small_state
from tests.support.command import Command


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRGAN_CACHE", str(tmp_path / "figures"))
    torch.set_num_threads(1)


@pytest.fixture
def compact(tmp_path: Path) -> Path:
    path = tmp_path / "compact.pth"
    torch.save({"params_ema": small_state("Compact")}, path)
    return path


def foreign(path: Path) -> ForeignNetwork:
    network = load_model(path)
    assert isinstance(network, ForeignNetwork)
    return network


def test_all_kinds_of_files_hold_the_same_network(compact: Path, tmp_path: Path) -> None:
    first = foreign(compact)
    assert (first.architecture, first.scale, first.half) == ("Compact", 4, False)
    state = small_state("Compact")
    torch.save({f"module.{name}": tensor for name, tensor in state.items()}, tmp_path / "b.ckpt")
    save_file(state, tmp_path / "c.safetensors", {"licence": "MIT"})
    assert foreign(tmp_path / "b.ckpt").digest == first.digest
    third = foreign(tmp_path / "c.safetensors")
    assert third.digest == first.digest
    assert third.info == {"name": "c", "licence": "MIT"}


def test_both_engines_agree(compact: Path) -> None:
    lr = np.random.default_rng(0).random((1, 3, 21, 34), np.float32)
    results = [
        create_engine(foreign(compact), EngineOptions(engine, "fp32"))(lr)  # type: ignore[arg-type]
        for engine in ("openvino", "torch")
    ]
    assert results[0].shape == (1, 3, 84, 136)
    np.testing.assert_allclose(results[0], results[1], atol=1e-4)


def test_a_cluster_can_ship_it(compact: Path, astronaut: np.ndarray) -> None:
    chooser = ModelChooser(str(compact), None, EngineOptions("openvino", "fp32"))
    shipped = pickle.loads(pickle.dumps(chooser))
    compact.unlink()
    assert np.array_equal(shipped(astronaut[:32, :32]), chooser(astronaut[:32, :32]))


def test_a_converted_file_needs_no_torch(
    compact: Path, tmp_path: Path, photo: Path, srgan: Command
) -> None:
    halves = {name: tensor.half() for name, tensor in small_state("Compact").items()}
    save_file(halves, tmp_path / "half.safetensors", {"license": "BSD-3-Clause"})
    done = srgan("convert", tmp_path / "half.safetensors", "-o", "small.onnx")
    assert done.returncode == 0, done.stderr
    stored = 2 * sum(tensor.numel() for tensor in halves.values())
    assert (tmp_path / "small.onnx").stat().st_size < 1.6 * stored
    network = foreign(tmp_path / "small.onnx")
    assert network.architecture == "Compact"
    assert network.info["licence"] == "BSD-3-Clause"
    assert network.info["halo"] >= 4
    (tmp_path / "torch.py").write_text("raise ImportError('torch is not here')\n")
    info = srgan("info", tmp_path / "small.onnx", "--json")
    assert info.returncode == 0, info.stderr
    facts = json.loads(info.stdout)
    assert facts["parameters"] == network.parameters
    assert facts["licence"] == "BSD-3-Clause"
    lr = np.random.default_rng(0).random((1, 3, 21, 34), np.float32)
    first, second = (
        create_engine(foreign(path), EngineOptions("openvino", "fp32"))(lr)
        for path in (tmp_path / "small.onnx", tmp_path / "half.safetensors")
    )
    np.testing.assert_allclose(first, second, atol=1e-4)


def test_without_torch_a_checkpoint_says_what_to_do(
    compact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError) as caught:
        load_model(compact)
    text = str(caught.value)
    assert "pip install 'srgan[torch]'" in text
    assert "srgan convert" in text
    assert "\n" not in text


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("/tmp/srgan-was-here"),)  # type: ignore[return-value]


def test_a_pickle_with_code_is_refused(tmp_path: Path) -> None:
    Path("/tmp/srgan-was-here").unlink(missing_ok=True)
    torch.save({"params": small_state("Compact"), "x": Evil()}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"x\.pth: refused, because it could run code"):
        load_model(tmp_path / "x.pth")
    (tmp_path / "y.pt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(CheckpointError):
        load_model(tmp_path / "y.pt")
    assert not Path("/tmp/srgan-was-here").exists()


def test_claims_of_more_than_the_file_holds_are_refused(tmp_path: Path, compact: Path) -> None:
    huge = torch.zeros(1).expand(10**5, 10**5)
    torch.save({"params": {**small_state("Compact"), "body.0.weight": huge}}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="a tensor claims"):
        load_model(tmp_path / "x.pth")
    with (
        zipfile.ZipFile(compact) as source,
        zipfile.ZipFile(tmp_path / "z.pth", "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for member in source.infolist():
            target.writestr(member.filename, source.read(member))
        target.writestr("compact/data/zeros", bytes(10**7))
    with pytest.raises(CheckpointError, match=r"it claims [\d,]+ bytes, more than it has"):
        load_model(tmp_path / "z.pth")
    header = json.dumps(
        {"body.0.weight": {"dtype": "F32", "shape": [10**9], "data_offsets": [0, 4 * 10**9]}}
    ).encode()
    (tmp_path / "x.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        load_model(tmp_path / "x.safetensors")


def test_millions_of_layers_are_refused(tmp_path: Path) -> None:
    state = small_state("Compact")
    state["body.99999999.weight"] = state.pop("body.0.weight")
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"it names a tensor body\.99999999"):
        load_model(tmp_path / "x.pth")


def test_a_classifier_is_refused(tmp_path: Path) -> None:
    from torchvision.models import squeezenet1_1

    torch.save(squeezenet1_1().state_dict(), tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="spandrel does not know it either"):
        load_model(tmp_path / "x.pth")


def test_auras_noise_is_refused_by_name(tmp_path: Path) -> None:
    torch.save(small_state("AuraSR"), tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="AuraSR networks are refused: it adds random noise"):
        load_model(tmp_path / "x.pth")


def test_what_only_our_own_networks_can(compact: Path) -> None:
    with pytest.raises(CheckpointError, match="Compact is not an SRResNet"):
        load_checkpoint(compact)
    with pytest.raises(OptionError, match="--detail works only for srgan's own models"):
        with_detail(foreign(compact), 0.5)
    with pytest.raises(Exception, match="int8 is for srgan's own networks"):
        create_engine(foreign(compact), EngineOptions("openvino", "int8"))


def test_a_failed_conversion_leaves_the_old_file(
    compact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.onnx").write_bytes(b"old")
    monkeypatch.setattr(standalone, "LIMIT", -1.0)
    with pytest.raises(ConversionError, match="not written: its results differ"):
        write_standalone(foreign(compact), tmp_path / "x.onnx")
    assert (tmp_path / "x.onnx").read_bytes() == b"old"
