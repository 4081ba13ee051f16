"""Each network of other implementations is saved as its author saves it, and read back."""

import io
import pickle
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from srgan.engines.create import create_engine
from srgan.engines.options import EngineOptions
from srgan.errors import MissingExtraError
from srgan.models.file import CheckpointError
from srgan.models.load import load_checkpoint
from srgan.networks.architecture import Architecture, Checkpoint, expected_shapes
from srgan.networks.generator import Generator
from tests.support import foreign
from tests.support.command import Command
from tests.support.networks import random_checkpoint

SIZES = ((16, 21), (1, 9))


def check(checkpoint: Checkpoint, network: Callable[[Tensor], Tensor]) -> None:
    """Both engines and our torch network give what the author's network gives."""
    ours = Generator.from_checkpoint(checkpoint)
    engines = [
        create_engine(checkpoint, EngineOptions(engine, "fp32"))  # type: ignore[arg-type]
        for engine in ("openvino", "torch")
    ]
    for height, width in SIZES:
        lr = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            expected = network(lr).numpy()
            np.testing.assert_allclose(ours(lr).numpy(), expected, atol=1e-4)
        assert height == 1 or expected.std() > 0.05, "too flat to tell anything"
        for engine in engines:
            np.testing.assert_allclose(engine(lr.numpy()), expected, atol=1e-4)


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """sgrvinod's `models.py`, importable until the test says otherwise."""
    module = ModuleType("models")
    monkeypatch.setitem(sys.modules, "models", module)
    exec(foreign.SGRVINOD_MODELS, module.__dict__)
    yield module


def save_pickled(content: Any, path: Path, *, old: bool = False) -> None:
    with warnings.catch_warnings(action="ignore"):  # old files hold the source, if there is one
        torch.save(content, path, _use_new_zipfile_serialization=not old)
    del sys.modules["models"]  # nobody has it beside the file


@pytest.mark.parametrize("old", [False, True])
def test_sgrvinod_srresnet(tmp_path: Path, models: ModuleType, old: bool) -> None:
    network = foreign.randomised(models.SRResNet())
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.rand(1, 3, 8, 8)).sum().backward()
    optimizer.step()
    path = tmp_path / "checkpoint_srresnet.pth.tar"
    save_pickled({"epoch": 1, "model": network, "optimizer": optimizer}, path, old=old)
    checkpoint = load_checkpoint(path)
    assert checkpoint.architecture == Architecture(3, 8, 4, input="imagenet")
    assert checkpoint.info["name"] == "checkpoint_srresnet"
    check(checkpoint, foreign.sgrvinod(network))


def test_sgrvinod_srgan(tmp_path: Path, models: ModuleType) -> None:
    """With other kernels and scale, wrapped for several GPUs."""
    network = foreign.randomised(models.Generator(large=7, small=5, doublings=1))
    path = tmp_path / "checkpoint_srgan.pth.tar"
    content = {
        "epoch": 1,
        "generator": nn.DataParallel(network),
        "discriminator": nn.Sequential(nn.Linear(2, 2), nn.LeakyReLU()),
        "optimizer_d": torch.optim.Adam(network.parameters()),
    }
    save_pickled(content, path)
    checkpoint = load_checkpoint(path)
    assert checkpoint.architecture == Architecture(3, 8, 2, 5, 7, 7, input="imagenet")
    check(checkpoint, foreign.sgrvinod(network))


@pytest.mark.parametrize("flat", [False, True])
def test_lornatang(tmp_path: Path, flat: bool) -> None:
    """The best of a training: averaged weights go before the last ones; a PSNR of numpy."""
    network = foreign.randomised(foreign.Lornatang(flat))
    other = foreign.Lornatang(flat)
    averaged = AveragedModel(network)
    path = tmp_path / "g_best.pth.tar"
    content = {
        "epoch": 3,
        "best_psnr": np.float64(31.0),
        "state_dict": other.state_dict(),
        "ema_state_dict": averaged.state_dict(),
        "optimizer": torch.optim.Adam(network.parameters()).state_dict(),
    }
    torch.save(content, path)
    checkpoint = load_checkpoint(path)
    assert checkpoint.architecture == Architecture(3, 8, 4, output="clamp")
    check(checkpoint, network)


@pytest.mark.parametrize(("flat", "doublings"), [(False, 1), (True, 3)])
def test_lornatang_at_other_scales(tmp_path: Path, flat: bool, doublings: int) -> None:
    network = foreign.randomised(foreign.Lornatang(flat, doublings))
    torch.save({"state_dict": network.state_dict()}, tmp_path / "g.pth.tar")
    checkpoint = load_checkpoint(tmp_path / "g.pth.tar")
    assert checkpoint.architecture.scale == 2**doublings
    check(checkpoint, network)


@pytest.mark.parametrize("steps", [(2,), (3,), (2, 2)])
def test_basicsr(tmp_path: Path, steps: tuple[int, ...]) -> None:
    network = foreign.randomised(foreign.MSRResNet(steps=steps))
    weights = network.state_dict()
    zeros = {name: torch.zeros_like(tensor) for name, tensor in weights.items()}
    torch.save({"params": zeros, "params_ema": weights}, tmp_path / "net_g_5000.pth")
    checkpoint = load_checkpoint(tmp_path / "net_g_5000.pth")
    architecture = checkpoint.architecture
    assert (architecture.trunk, architecture.bilinear, architecture.hr_conv) == ("none", True, True)
    check(checkpoint, network)


def test_kair(tmp_path: Path) -> None:
    network = foreign.randomised(foreign.MSRResNet("recon_trunk", "HRconv"))
    torch.save(network.state_dict(), tmp_path / "msrresnet_x4_psnr.pth")
    check(load_checkpoint(tmp_path / "msrresnet_x4_psnr.pth"), network)


def test_mmagic(tmp_path: Path) -> None:
    network = foreign.randomised(foreign.MMagic())
    weights = {f"generator.{name}": tensor for name, tensor in network.state_dict().items()}
    beside = {"discriminator.conv.weight": torch.zeros(1), "step_counter": torch.zeros(1)}
    content = {"meta": {"mmagic_version": "1.0"}, "state_dict": beside | weights}
    torch.save(content, tmp_path / "srresnet_x4.pth")
    checkpoint = load_checkpoint(tmp_path / "srresnet_x4.pth")
    assert not checkpoint.architecture.shuffle_prelu
    check(checkpoint, network)


@pytest.mark.parametrize(("prelu", "doublings"), [(False, 2), (True, 2), (False, 1)])
def test_leftthomas(tmp_path: Path, prelu: bool, doublings: int) -> None:
    network = foreign.randomised(foreign.Leftthomas(prelu, doublings))
    torch.save(network.state_dict(), tmp_path / "netG_epoch_4_100.pth")
    checkpoint = load_checkpoint(tmp_path / "netG_epoch_4_100.pth")
    trunk = "prelu" if prelu else "bn"
    assert checkpoint.architecture == Architecture(5, 8, 2**doublings, trunk=trunk)
    check(checkpoint, network)


def test_dongheehand(tmp_path: Path) -> None:
    network = foreign.randomised(foreign.Dongheehand())
    torch.save(network.state_dict(), tmp_path / "SRGAN.pt")
    checkpoint = load_checkpoint(tmp_path / "SRGAN.pt")
    assert checkpoint.architecture == Architecture(3, 8, 4, tail_kernel=3, input="symmetric")
    check(checkpoint, network)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_network_trained_in_a_loop_of_the_users_own(tmp_path: Path, suffix: str) -> None:
    architecture = Architecture(blocks=2, channels=16)
    network = Generator.from_checkpoint(random_checkpoint(architecture)).eval()
    path = tmp_path / f"own{suffix}"
    state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    found = load_checkpoint(path)
    assert (found.architecture, found.info) == (
        Architecture(blocks=2, channels=16),
        {"name": "own"},
    )
    check(found, network)


def test_compiled_half_and_safetensors(tmp_path: Path) -> None:
    """`torch.compile`, DDP and half precision leave traces in what is saved."""
    network = foreign.randomised(foreign.Leftthomas())
    for weights in network.parameters():
        weights.data = weights.half().float()
    prefixed = {f"module._orig_mod.{n}": t.half() for n, t in network.state_dict().items()}
    torch.save({"runner": {"model": prefixed}}, tmp_path / "a.ckpt")
    save_file(prefixed, tmp_path / "a.safetensors")
    for name in ("a.ckpt", "a.safetensors"):
        tensors = load_checkpoint(tmp_path / name).tensors
        assert {t.dtype for t in tensors.values()} == {np.dtype(np.float32)}
        np.testing.assert_array_equal(
            tensors["tail.weight"], network.state_dict()["block8.2.weight"].numpy()
        )


def test_command_converts_for_machines_without_torch(
    tmp_path: Path, photo: Path, srgan: Command
) -> None:
    network = foreign.randomised(foreign.Dongheehand())
    path = tmp_path / "SRGAN.pt"
    torch.save(network.state_dict(), path)
    result = srgan("convert", path)
    assert result.returncode == 0, result.stderr
    for said in ("dongheehand/SRGAN-PyTorch", "SRGAN.safetensors", "x4", "3 blocks"):
        assert said in result.stdout
    converted, read = load_checkpoint(tmp_path / "SRGAN.safetensors"), load_checkpoint(path)
    assert converted.architecture == read.architecture
    for name, tensor in read.tensors.items():
        np.testing.assert_array_equal(converted.tensors[name], tensor)
    (tmp_path / "torch.py").write_text("raise ImportError('not here')")
    upscaled = srgan("upscale", photo, "-m", "SRGAN.safetensors", "-o", "sr.png")
    assert upscaled.returncode == 0, upscaled.stderr
    (tmp_path / "torch.py").unlink()
    again = srgan("convert", path)
    assert (again.returncode, "--overwrite" in again.stderr) == (2, True)


def test_without_torch_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({}, tmp_path / "g.pth")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"g\.pth: .*pip install 'srgan\[torch\]'"):
        load_checkpoint(tmp_path / "g.pth")


class Payload:
    """Unpickling it writes a file."""

    def __init__(self, path: Path, function: Any = None) -> None:
        self.call = (function or Path.touch, (path,))

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


@pytest.mark.parametrize("old", [False, True])
def test_a_malicious_pickle_is_refused_and_does_not_run(tmp_path: Path, old: bool) -> None:
    path, victim = tmp_path / "g.pth", tmp_path / "victim"
    content = {"state_dict": foreign.Leftthomas().state_dict(), "epoch": Payload(victim)}
    torch.save(content, path, _use_new_zipfile_serialization=not old)
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path)
    assert str(path) in str(error.value)
    assert "could run code" in str(error.value)
    assert "\n" not in str(error.value)
    assert not victim.exists()
    torch.load(path, weights_only=False)
    assert victim.exists(), "the payload was none"


REFUSED = {
    "eval": b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R.",
    "os.system": b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.",
    "nested name": b"\x80\x04\x8c\x06models\x8c\x12SRResNet.__class__\x93.",
    "another network": b"\x80\x02cmodel\nGenerator\n)\x81.",
    "changes a function": (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x08\x00\x00\x00__name__X\x01\x00\x00\x00xsb."
    ),
    "changes a class": b"\x80\x02cmodels\nSRResNet\n}X\x0c\x00\x00\x00dump_patches\x88sb.",
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_the_unpickler_admits_nothing_else(data: bytes) -> None:
    from srgan.models import unpickler as pickled

    with pytest.raises((pickle.UnpicklingError, TypeError)):
        pickled.load(io.BytesIO(data))
    assert not pickled.PickledModule.dump_patches


def test_what_does_not_fit_is_said_in_their_names(tmp_path: Path) -> None:
    path = tmp_path / "g.pth"

    def refusal(state: dict[str, Any] | Any) -> str:
        torch.save(state, path)
        with pytest.raises(CheckpointError) as error:
            load_checkpoint(path)
        assert "\n" not in str(error.value)
        return str(error.value)

    state = foreign.MSRResNet(steps=(2,)).state_dict()
    by_five = state | {"upconv1.weight": torch.zeros(200, 8, 3, 3)}
    assert "it enlarges 5 times; known are 2, 3, 2 x 2" in refusal(by_five)
    uneven = state | {"upconv1.weight": torch.zeros(20, 8, 3, 3)}
    assert "upconv1.weight has 20 outputs for 8 inputs" in refusal(uneven)
    gray = state | {"conv_first.weight": torch.zeros(8, 1, 3, 3)}
    assert "conv_first.weight has shape (8, 1, 3, 3), not (8, 3, 3, 3)" in refusal(gray)
    assert "body.0.rdb1.conv1.weight" in refusal(
        state | {"body.0.rdb1.conv1.weight": torch.ones(1)}
    )
    assert "conv_last.weight is missing" in refusal(
        {name: tensor for name, tensor in state.items() if name != "conv_last.weight"}
    )
    damaged = foreign.Lornatang().state_dict()
    del damaged["trunk.1.rcb.1.running_var"]
    assert "trunk.1.rcb.1.running_var is missing" in refusal(damaged)
    assert "holds no network" in refusal({"netD": foreign.Leftthomas().state_dict()})
    assert "holds no network" in refusal([1, 2])
    training = {"architecture": {"blocks": 1, "channels": 8}, "ema": {}}
    assert "a damaged training state (KeyError('head.conv.weight'))" in refusal(training)
    shapes = expected_shapes(Architecture(blocks=1, channels=8))
    training["ema"] = {name: torch.zeros(3) for name in shapes}
    assert "head.conv.weight has shape (3,)" in refusal(training)


def test_files_of_other_kinds_are_named(tmp_path: Path, photo: Path) -> None:
    with pytest.raises(CheckpointError, match="neither a safetensors nor a PyTorch file"):
        load_checkpoint(photo)
    torch.save(foreign.Leftthomas().state_dict(), tmp_path / "whole.pth")
    cut = tmp_path / "cut.pth"
    cut.write_bytes((tmp_path / "whole.pth").read_bytes()[:-2000])
    with pytest.raises(CheckpointError, match=r"cut\.pth: not a readable PyTorch file"):
        load_checkpoint(cut)
    script = tmp_path / "script.pt"
    with warnings.catch_warnings(action="ignore"):
        torch.jit.save(torch.jit.script(nn.PReLU()), script)
    with pytest.raises(CheckpointError, match=r"script\.pt: not a readable PyTorch file"):
        load_checkpoint(script)
