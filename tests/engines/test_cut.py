"""Networks of other projects in two stages, and by our own convolutions."""

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from srgan.engines import precision
from srgan.engines.base import EngineError
from srgan.engines.create import create_engine
from srgan.engines.foreign import graph_backend
from srgan.engines.foreign.cut import cut, place_to_cut
from srgan.engines.foreign.figures import Figures
from srgan.engines.foreign.graphs import Graph, OpenVINORunner, make_graph
from srgan.engines.foreign.native_graph import UnsuitableError, program
from srgan.engines.foreign.nodes import read_nodes
from srgan.engines.kernels import Kernels
from srgan.engines.library import convert_model
from srgan.engines.options import EngineOptions
from srgan.engines.programs import Convolve, Program, Sum
from srgan.models.load import load_model
from srgan.models.standalone import exported
from srgan.networks.foreign import ForeignNetwork, Sizes
from tests.support.architectures import small_state
from tests.support.onnx_files import save


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRGAN_CACHE", str(tmp_path / "figures"))
    torch.set_num_threads(1)


def network(name: str, folder: Path) -> ForeignNetwork:
    path = folder / "network.pth"
    torch.save({"params": small_state(name)}, path)
    found = load_model(path)
    assert isinstance(found, ForeignNetwork)
    return found


def graph(module: nn.Module, channels: int = 3) -> Graph:
    example = torch.rand(1, channels, 32, 48)
    with warnings.catch_warnings(action="ignore"):
        traced: Any = torch.jit.trace(module.eval(), example)
        return Graph(convert_model(traced, input=[1, channels, -1, -1]), Sizes())


def written(module: nn.Module, folder: Path) -> ForeignNetwork:
    """The module as an ONNX file, and loaded."""
    path = folder / "network.onnx"
    with warnings.catch_warnings(action="ignore"):
        path.write_bytes(exported(module.eval(), 3, Sizes(), half=False))
    found = load_model(path)
    assert isinstance(found, ForeignNetwork)
    return found


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, np.float32)


# The halo of the tail: from nearest neighbours and two convolutions at the size of SR to nothing.
CUT = {"ESRGAN": 2, "SwinIR": 2, "RCAN": 1, "SwiftSRGAN": 2, "Compact": 0}


@pytest.mark.parametrize("name", CUT)
def test_a_part_of_the_features_gives_that_part_of_sr(name: str, tmp_path: Path) -> None:
    """With the halo, and no less."""
    found = network(name, tmp_path)
    whole = make_graph(found, Figures(found.digest))
    place = place_to_cut(whole.model, whole.sizes)
    assert place is not None
    assert place.halo == CUT[name]
    trunk, tail = (OpenVINORunner(each, "fp32", 1) for each in cut(whole.model, place))
    lr = random(1, 3, *whole.sizes.padded(48, 80))
    expected = OpenVINORunner(whole.model, "fp32", 1)(lr)
    features = trunk(lr)
    np.testing.assert_allclose(tail(features), expected, atol=1e-6)
    part, scale = tail(features[..., 10:40, 20:60]), found.scale

    def difference(halo: int) -> float:
        inside = part[..., halo * scale : (30 - halo) * scale, halo * scale : (40 - halo) * scale]
        rows = slice((10 + halo) * scale, (40 - halo) * scale)
        columns = slice((20 + halo) * scale, (60 - halo) * scale)
        return float(np.abs(inside - expected[..., rows, columns]).max())

    assert difference(place.halo) < 1e-6
    assert place.halo == 0 or difference(place.halo - 1) > 1e-4


def test_conversion_prints_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """openvino looks for --verbose among srgan's arguments, and would print into --json."""
    monkeypatch.setattr(sys, "argv", ["srgan", "upscale", "--verbose", "--json"])
    found = network("Compact", tmp_path)
    make_graph(found, Figures(found.digest))
    assert capsys.readouterr().out == ""


class Unknown(nn.Module):
    """Something after the enlargement that no part of the features has all of."""

    def __init__(self, after: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.before, self.after = nn.Conv2d(3, 12, 3, padding=1), after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.after(functional.pixel_shuffle(self.before(x), 2))


POSITIONS = torch.linspace(0, 1, 16).reshape(1, 1, 4, 4)
NOT_CUT: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "mean": lambda x: x - x.mean((2, 3), keepdim=True),
    "softmax": lambda x: x * torch.softmax(x.flatten(2), 2).view_as(x),
    "smaller again": lambda x: functional.interpolate(
        functional.avg_pool2d(x, 2), scale_factor=2.0
    ),
    "align_corners": lambda x: functional.interpolate(
        x, scale_factor=2.0, mode="bilinear", align_corners=True
    ),
    "a factor by the size": lambda x: x * (x.shape[3] / 128),
    "a sum by the values": lambda x: x + 0 * torch.nonzero(x).sum(),
    "positions": lambda x: x * functional.interpolate(POSITIONS, x.shape[2:]),
}


@pytest.mark.parametrize("name", NOT_CUT)
def test_what_cannot_be_cut_stays_whole(name: str) -> None:
    found = graph(Unknown(NOT_CUT[name]))
    assert place_to_cut(found.model, found.sizes) is None


def test_a_network_without_convolutions_stays_whole() -> None:
    enlarged = nn.Upsample(scale_factor=2, mode="bicubic")
    found = graph(nn.Sequential(nn.ReLU(), enlarged))
    assert place_to_cut(found.model, found.sizes) is None


def test_a_network_that_begins_by_enlarging_stays_whole() -> None:
    enlarged = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(3, 3, 3, padding=1))
    assert place_to_cut(graph(enlarged).model, Sizes()) is None


class Dense(nn.Module):
    """All that our own convolutions can take in, and what they must leave alone."""

    def __init__(self, channels: int = 3, scale: int = 2) -> None:
        super().__init__()
        self.channels, self.scale = channels, scale
        self.head = nn.Conv2d(channels, 32, 3, padding=1)
        self.slopes = nn.PReLU(32)
        self.grown = nn.Conv2d(32, 16, 5, padding=2, bias=False)
        self.joined = nn.Conv2d(48, 32, 3, padding=1)
        self.odd = nn.Conv2d(32, 20, 3, padding=1)  # fills no whole registers
        self.even = nn.Conv2d(20, 32, 1)
        self.large = nn.Conv2d(32, 16 * scale**2, 3, padding=1)
        self.last = nn.Conv2d(16, channels, 3, padding=1)
        self.more = nn.ModuleList(nn.Conv2d(32, 32, 3, padding=1) for _ in range(3))
        for name, weight in self.named_parameters():
            if name == "slopes.weight":
                nn.init.uniform_(weight, -0.5, 1.5)

    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        x = self.slopes(self.head((lr - 0.4) / 0.5))
        grown = functional.leaky_relu(self.grown(x), 0.2)
        joined = self.joined(torch.cat((x, grown), 1))
        y = joined * 0.2 + x
        z = (y * 0.3 + x) * -2.0 + functional.relu(joined)  # it is used twice
        z = functional.relu(self.more[0](z) + z) - functional.relu(self.more[1](z)) * -0.5
        z = z + (self.more[2](z) + y) * 0.1
        z = z - self.even(self.odd(z)) * y
        z = self.large(z)
        z = functional.pixel_shuffle(z, self.scale) if self.scale > 1 else z
        base = functional.interpolate(lr, scale_factor=float(self.scale), mode="nearest")
        return (self.last(functional.prelu(z, self.slopes.weight[:16])) + base).clamp(0, 1)


@pytest.mark.parametrize(("channels", "scale"), [(3, 2), (3, 3), (1, 2), (3, 1)])
def test_our_own_convolutions_compute_the_network(
    channels: int, scale: int, compiled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In two stages, in one, and with kernels that are too large to keep."""
    torch.manual_seed(0)
    module = Dense(channels, scale)
    found = graph(module, channels)
    place = place_to_cut(found.model, found.sizes)
    assert (place is None) == (scale == 1)
    for each in (place, None):
        backend = graph_backend._native_backend(found, each, EngineOptions(threads=2))
        run = backend.whole("fp32")
        for size in ((48, 24), (33, 47), (1, 1), (33, 47)):
            lr = random(1, channels, *size)
            with torch.inference_mode():
                expected = module(torch.from_numpy(lr)).numpy()
            np.testing.assert_allclose(run(lr), expected, atol=1e-5)
        monkeypatch.setattr("srgan.engines.programs.KEPT_KERNELS", 0)


class Tinted(nn.Module):
    """One channel becomes three by a sum with a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Conv2d(3, 1, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(x) + torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1)


def test_one_channel_becomes_three(compiled: None) -> None:
    module, lr = Tinted(), random(1, 3, 20, 30)
    run = graph_backend._native_backend(graph(module), None, EngineOptions()).whole("fp32")
    with torch.inference_mode():
        expected = module(torch.from_numpy(lr)).numpy()
    np.testing.assert_allclose(run(lr), expected, atol=1e-6)


UNSUITABLE = {
    "stride": nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.Upsample(scale_factor=2)),
    "no border": nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReflectionPad2d(1)),
    "groups": nn.Conv2d(3, 3, 3, padding=1, groups=3),
    "sigmoid": nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Sigmoid()),
    "bilinear": nn.Upsample(scale_factor=2, mode="bilinear"),
}


@pytest.mark.parametrize("name", UNSUITABLE)
def test_other_operations_are_left_to_openvino(name: str, compiled: None) -> None:
    nodes = read_nodes(graph(UNSUITABLE[name]).model, (32, 48))
    assert nodes is not None
    with pytest.raises(UnsuitableError):
        program(nodes, range(len(nodes)), [0], [len(nodes) - 1], 1)


def test_a_result_never_overwrites_what_is_still_read(compiled: None) -> None:
    """A convolution reads the neighbours of a place after that is written."""
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 0.1, (16, 16, 3, 3)).astype(np.float32)
    made, x = Kernels(weight, np.zeros(16, np.float32)), random(20, 30, 16)

    def convolved(x: np.ndarray) -> np.ndarray:
        y = functional.conv2d(
            torch.from_numpy(x).permute(2, 0, 1)[None], torch.from_numpy(weight), padding=1
        )
        return y[0].permute(1, 2, 0).numpy()

    steps = [
        Convolve((0,), made),
        Convolve((1,), made, plus=1),
        Convolve((2,), made, plus=1),
        Sum(3, 2.0, 3, -0.5),
        Sum(4, 1.0, 2, 3.0),
        Convolve((5,), made, plus=5),
    ]
    run = Program(steps, 1, [2, 6], 2)
    first = convolved(x)
    second = convolved(first) + first
    fifth = 1.5 * (convolved(second) + first) + 3 * second
    sixth = convolved(fifth) + fifth
    for _ in range(3):  # the second call has the memory of the first
        for found, expected in zip(run(x), (second, sixth), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("speed", "expected"), [(1.2, "native"), (0.9, "openvino")])
def test_the_faster_one_is_taken(
    speed: float, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiled: None
) -> None:
    found = load_model(save(tmp_path / "x2.onnx"))
    calls: list[None] = []

    def timed(*_: object) -> float:
        calls.append(None)
        return speed

    monkeypatch.setattr(graph_backend, "_speed", timed)
    monkeypatch.setattr(graph_backend, "native_precision", lambda: "fp32")
    for _ in range(2):
        engine = create_engine(found, EngineOptions())
        assert (engine.name, engine.precision) == (expected, "fp32")
    assert len(calls) == 1
    monkeypatch.setattr(graph_backend, "native_precision", lambda: "bf16")
    for amx, timings in ((True, 1), (False, 2), (False, 2)):  # beside AMX openvino is faster
        monkeypatch.setattr(precision, "has_amx", lambda amx=amx: amx)
        assert create_engine(found, EngineOptions()).name == ("openvino" if amx else expected)
        assert len(calls) == timings
    assert create_engine(found, EngineOptions("native")).name == "native"
    assert create_engine(found, EngineOptions("openvino")).name == "openvino"


def test_results_that_differ_are_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiled: None
) -> None:
    found = load_model(save(tmp_path / "x2.onnx"))
    assert isinstance(found, ForeignNetwork)
    whole = make_graph(found, Figures(found.digest))
    native = graph_backend._native_backend(whole, None, EngineOptions())
    wrong = native._replace(runner=lambda _: lambda lr: native.runner("fp32")(lr) + 0.01)
    assert graph_backend._speed(native, whole, native.whole("fp32")) > 0
    assert graph_backend._speed(wrong, whole, native.whole("fp32")) == 0
    monkeypatch.setattr(graph_backend, "_speed", lambda *_: 0.0)
    with pytest.raises(EngineError, match="its results differ"):
        create_engine(found, EngineOptions("native"))


def test_constants_that_depend_on_the_size(compiled: None) -> None:
    class Sized(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * (x.shape[3] / 64)

    with pytest.raises(UnsuitableError):
        graph_backend._native_backend(graph(Sized()), None, EngineOptions())


def test_the_memory_of_the_trunk_is_measured(tmp_path: Path, compiled: None) -> None:
    """Six skips of 64 channels wait for their additions: 7 x 256 bytes for each pixel, and more."""

    class Skips(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Conv2d(3, 64, 3, padding=1)
            self.body = nn.ModuleList(nn.Conv2d(64, 64, 3, padding=1) for _ in range(6))
            self.last = nn.Conv2d(64, 12, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            skips = [self.head(x)]
            for convolution in self.body:
                skips.append(functional.relu(convolution(skips[-1])))
            x = skips.pop()
            while skips:
                x = x + skips.pop()
            return functional.pixel_shuffle(self.last(x), 2)

    found = written(Skips(), tmp_path)
    create_engine(found, EngineOptions("native"))
    used = Figures(found.digest).get("native cpu fp32 trunk bytes per pixel")
    assert used > 7 * 256


def test_native_says_why_it_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiled: None
) -> None:
    with pytest.raises(
        EngineError, match=r"native engine \(it cannot compute Sigmoid\); use --eng"
    ):
        create_engine(written(UNSUITABLE["sigmoid"], tmp_path), EngineOptions("native"))
    levels = load_model(save(tmp_path / "levels.onnx", uint8_nhwc=True))
    with pytest.raises(EngineError, match="the form of its pictures"):
        create_engine(levels, EngineOptions("native"))
    monkeypatch.setattr(graph_backend, "resolve", lambda precision: precision)
    with pytest.raises(EngineError, match="fp32 on the CPU"):
        create_engine(load_model(save(tmp_path / "x2.onnx")), EngineOptions("native", "bf16"))
