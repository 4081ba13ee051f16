import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from srgan.engines import library, openvino, openvino_graph, precision, processor
from srgan.engines.base import Engine, EngineError
from srgan.engines.create import create_engine
from srgan.engines.options import EngineOptions
from srgan.engines.processor import bf16_is_slow
from srgan.evaluation.metrics import psnr
from srgan.models.load import load_checkpoint
from srgan.networks.architecture import Architecture, Checkpoint
from srgan.networks.folding import fold
from srgan.networks.generator import Generator
from srgan.pictures.resample import bicubic_8bit
from tests.support.networks import random_checkpoint
from tests.support.reference import network

ENGINES = ["openvino", "torch"]


def tensor(image: np.ndarray) -> np.ndarray:
    return (image.astype(np.float32) / 255).transpose(2, 0, 1)[None]


def build(checkpoint: Checkpoint, engine: str, precision: str = "fp32") -> Engine:
    return create_engine(checkpoint, EngineOptions(engine, precision))  # type: ignore[arg-type]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "architecture",
    [
        Architecture(2, 8, scale=2),
        Architecture(2, 8, scale=3),
        Architecture(2, 8, scale=4),
        Architecture(2, 8, scale=8),
        Architecture(2, 8, scale=1, unshuffle=4, bilinear=True, output="clamp"),
        Architecture(2, 8, scale=2, unshuffle=2, input="imagenet", hr_conv=True, bilinear=True),
    ],
    ids=["x2", "x3", "x4", "x8", "same-size", "unshuffled"],
)
def test_fp32_agrees_with_the_network(
    astronaut: np.ndarray, engine: str, architecture: Architecture
) -> None:
    """At a size that is no multiple of unshuffle."""
    checkpoint = random_checkpoint(architecture)
    lr = tensor(astronaut[:33, :47])
    sr = build(checkpoint, engine)(lr)
    assert sr.dtype == np.float32
    np.testing.assert_allclose(sr, network(checkpoint, lr), atol=1e-4)


@pytest.mark.parametrize("engine", ENGINES)
def test_shipped_model_agrees_with_the_network(astronaut: np.ndarray, engine: str) -> None:
    checkpoint = load_checkpoint("srresnet-x4")
    lr = tensor(astronaut[:48, :40])
    np.testing.assert_allclose(build(checkpoint, engine)(lr), network(checkpoint, lr), atol=1e-4)


@pytest.mark.parametrize("engine", ENGINES)
def test_bf16_costs_little(astronaut: np.ndarray, engine: str) -> None:
    checkpoint = load_checkpoint("srresnet-x4")
    lr = tensor(bicubic_8bit(astronaut, 24, 30))
    try:
        low = build(checkpoint, engine, "bf16")
    except EngineError as error:
        pytest.skip(str(error))
    exact, rounded = ((255 * e(lr)[0]).clip(0, 255) for e in (build(checkpoint, engine), low))
    hr = astronaut.transpose(2, 0, 1)
    assert psnr(rounded, hr) == pytest.approx(psnr(exact, hr), abs=0.03)
    assert low.precision == "bf16"
    assert not np.array_equal(exact, rounded), "bf16 was asked for, fp32 ran"


@pytest.mark.parametrize("engine", ENGINES)
def test_shapes_may_change_from_call_to_call(small_checkpoint: Checkpoint, engine: str) -> None:
    built = build(small_checkpoint, engine)
    for height, width in ((20, 30), (1, 1), (64, 3), (20, 30)):
        lr = np.random.default_rng(0).random((1, 3, height, width), np.float32)
        np.testing.assert_allclose(built(lr), network(small_checkpoint, lr), atol=1e-4)


def test_auto_is_bf16_only_where_the_processor_is_fast_at_it(
    small_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = openvino.processor_flags()
    if not flags:
        pytest.skip("this system does not tell its processor's features")
    native = any("bf16" in flag for flag in flags) and not bf16_is_slow()
    assert build(small_checkpoint, "openvino", "auto").precision == ("bf16" if native else "fp32")
    monkeypatch.setattr(openvino, "native_precision", lambda: "fp32")
    assert build(small_checkpoint, "openvino", "auto").precision == "fp32"


def test_auto_is_fp16_where_that_is_openvino_s_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on ARM, where /proc/cpuinfo has other names, or is not there."""

    class Core:
        def get_property(self, _device: str, _name: str) -> object:
            return library.openvino.Type.f16

    monkeypatch.setattr(library, "shared_core", Core)
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "none")
    assert precision.native_precision() == "fp16"


@pytest.mark.parametrize(
    ("flags", "loss", "expected"),
    [
        ({"avx2", "avx_vnni"}, 0.0125, "int8"),
        ({"avx2", "avx_vnni"}, 0.025, "fp32"),
        ({"avx2", "avx_vnni"}, None, "fp32"),
        ({"avx2"}, 0.0125, "fp32"),
        (set(), 0.0125, "fp32"),  # unknown
        ({"avx512_bf16", "avx512_vnni"}, 0.0125, "int8"),  # 1.8 times bf16 on Zen 4
        ({"avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8"}, 0.0125, "fp32"),
    ],
)
def test_auto_is_int8_where_it_is_fast_and_loses_little(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], loss: float | None, expected: str
) -> None:
    checkpoint = load_checkpoint("srresnet-x4")
    info = {name: value for name, value in checkpoint.info.items() if name != "int8_loss"}
    checkpoint = replace(checkpoint, info=info if loss is None else info | {"int8_loss": loss})
    for module in (openvino, precision):
        monkeypatch.setattr(module, "native_precision", lambda: "fp32")
    monkeypatch.setattr(processor, "processor_flags", lambda: flags)
    assert build(checkpoint, "openvino", "auto").precision == expected


def test_auto_keeps_in_float_what_int8_costs_most(monkeypatch: pytest.MonkeyPatch) -> None:
    ranges = {name: [0.0, 1.0] for name in ("blocks.1.conv1", "upsample.0.conv", "tail")}
    monkeypatch.setattr(precision, "has_amx", lambda: False)
    monkeypatch.setattr(precision, "has_vnni", lambda: True)
    kept = precision.automatic_ranges({"int8": ranges, "int8_loss": 0.01})
    assert set(kept) == {"blocks.1.conv1", "tail"}


def test_features_are_bf16_where_the_engine_computes_in_it(small_checkpoint: Checkpoint) -> None:
    lr = np.random.default_rng(0).random((1, 3, 20, 30), np.float32)
    try:
        engine = build(small_checkpoint, "openvino", "bf16")
    except EngineError as error:
        pytest.skip(str(error))
    features = engine.features(lr)
    assert features.itemsize == 2
    whole = engine.reconstruct(features)
    part = engine.reconstruct(engine.features(lr)[..., 4:, :])  # a slice, as tiles are
    np.testing.assert_array_equal(part[..., 64:, :], whole[..., 80:, :])


def test_what_the_device_cannot_do_is_refused(
    small_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """openvino itself would run bf16 in silence."""
    if "avx512_fp16" not in openvino.processor_flags():
        with pytest.raises(EngineError, match="no fp16; use --precision fp32"):
            build(small_checkpoint, "openvino", "fp16")
    monkeypatch.setattr(openvino, "processor_flags", lambda: {"avx2"})
    monkeypatch.setattr(openvino, "has_vnni", lambda: False)
    with pytest.raises(EngineError, match="no int8"):
        build(small_checkpoint, "openvino", "int8")
    with pytest.raises(EngineError, match="int8"):
        build(small_checkpoint, "torch", "int8")
    with pytest.raises(EngineError, match="--engine torch"):
        create_engine(small_checkpoint, EngineOptions("openvino", compile=True))


def test_auto_takes_torch_only_with_a_gpu(small_checkpoint: Checkpoint) -> None:
    engine = build(small_checkpoint, "auto")
    assert (engine.device == "cpu") == isinstance(engine, openvino.OpenVINOEngine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.filterwarnings("error")
def test_lr_may_be_read_only(small_checkpoint: Checkpoint, engine: str) -> None:
    lr = np.random.default_rng(0).random((1, 3, 20, 30), np.float32)
    lr.flags.writeable = False
    sr = build(small_checkpoint, engine)(lr)
    np.testing.assert_allclose(sr, network(small_checkpoint, lr.copy()), atol=1e-4)


def test_compiled_torch_agrees(
    small_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traced as users have it; the C++ compiler, which takes a minute, is for SRGAN_SLOW_TESTS."""
    if not os.environ.get("SRGAN_SLOW_TESTS"):
        monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    engine = create_engine(small_checkpoint, EngineOptions("torch", "fp32", compile=True))
    lr = np.random.default_rng(0).random((1, 3, 20, 30), np.float32)
    np.testing.assert_allclose(engine(lr), network(small_checkpoint, lr), atol=1e-4)


def test_threads_are_what_was_asked_for(small_checkpoint: Checkpoint) -> None:
    engine = create_engine(small_checkpoint, EngineOptions("openvino", threads=1))
    assert isinstance(engine, openvino.OpenVINOEngine)
    engine(np.zeros((1, 3, 8, 8), np.float32))
    model = engine._stages[0].get_compiled_model()
    assert model.get_property("INFERENCE_NUM_THREADS") == 1


def test_engine_of_a_machine_without_torch() -> None:
    script = """
import sys
sys.modules["torch"] = None
from srgan.models.load import load_checkpoint
from srgan.engines.options import EngineOptions
from srgan.engines.create import create_engine
from srgan.errors import UserError
try:
    create_engine(load_checkpoint("srresnet-x4"), EngineOptions("torch"))
except UserError as error:
    print(error)
"""
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "pip install" in result.stdout


def int8(checkpoint: Checkpoint) -> openvino.OpenVINOEngine:
    try:
        engine = create_engine(checkpoint, EngineOptions("openvino", "int8"))
    except EngineError as error:
        pytest.skip(str(error))
    assert isinstance(engine, openvino.OpenVINOEngine)
    return engine


def test_int8_runs_in_int8_and_costs_little(astronaut: np.ndarray) -> None:
    checkpoint = load_checkpoint("srresnet-x4")
    engine = int8(checkpoint)
    lr = tensor(bicubic_8bit(astronaut, 24, 30))
    exact, rounded = (255 * e(lr)[0] for e in (build(checkpoint, "openvino"), engine))
    hr = astronaut.transpose(2, 0, 1)
    assert psnr(rounded, hr) > psnr(exact, hr) - 0.06
    nodes = engine._stages[0].get_compiled_model().get_runtime_model().get_ops()
    facts = [node.get_rt_info() for node in nodes]
    convolutions = [f for f in facts if f["layerType"].value == "Convolution"]
    # Of what a convolution reads; the names of kernels differ from processor to processor.
    precisions = [f["runtimePrecision"].value for f in convolutions]
    assert len(precisions) == 34
    assert sum(precision in ("i8", "u8") for precision in precisions) == 31


def test_int8_without_ranges_is_calibrated_on_the_first_tile(
    astronaut: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = load_checkpoint("srresnet-x4")
    engine = int8(replace(checkpoint, info={}))
    lr = tensor(bicubic_8bit(astronaut, 24, 30))
    exact, rounded = (255 * e(lr)[0] for e in (build(checkpoint, "openvino"), engine))
    hr = astronaut.transpose(2, 0, 1)
    assert psnr(rounded, hr) > psnr(exact, hr) - 0.1
    assert "measuring them on the first tile" in caplog.text


def test_stored_ranges_are_used(astronaut: np.ndarray, caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = load_checkpoint("srresnet-x4")
    stored = checkpoint.info["int8"]
    narrow = {name: [low / 4, high / 4] for name, (low, high) in stored.items()}
    lr = tensor(astronaut[:32, :32])
    sr = [int8(replace(checkpoint, info={"int8": ranges}))(lr) for ranges in (stored, narrow)]
    assert np.abs(sr[0] - sr[1]).max() > 0.05
    assert not caplog.text


def test_zero_is_a_level_of_int8() -> None:
    """The convolutions pad with it: a range that misses it by half a step moves the borders."""
    node = openvino_graph.quantised_input(openvino_graph.opset.parameter([1, 1, 1, 1]), -1.0, 2.01)
    low, high = (float(node.input_value(i).get_node().data.ravel()[0]) for i in (1, 2))
    zero = -low / (high - low) * 255
    assert zero == pytest.approx(round(zero), abs=1e-4)


def test_calibration_survives_flat_pictures(small_checkpoint: Checkpoint) -> None:
    engine = int8(small_checkpoint)
    assert np.isfinite(engine(np.zeros((1, 3, 20, 20), np.float32))).all()


def test_calibration_ranges_are_the_mean_over_tiles(small_checkpoint: Checkpoint) -> None:
    """Of the input of the tail, the last to be quantised, against the torch network's."""
    generator = Generator.from_checkpoint(small_checkpoint)
    seen: list[torch.Tensor] = []
    last = generator.get_submodule(f"upsample.{len(generator.upsample) - 1}.prelu")
    last.register_forward_hook(lambda _module, _x, y: seen.append(y))  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    tiles = [rng.random((1, 3, 20, 24), np.float32) for _ in range(3)]
    with torch.inference_mode():
        for tile in tiles:
            generator(torch.from_numpy(tile))
    low, high = openvino.calibrate(fold(small_checkpoint), tiles)["tail"]
    assert low == pytest.approx(np.mean([float(t.min()) for t in seen]), abs=1e-4)
    assert high == pytest.approx(np.mean([float(t.max()) for t in seen]), abs=1e-4)


def test_calibration_tiles_are_spread_over_the_picture() -> None:
    lr = np.arange(3 * 500 * 300, dtype=np.float32).reshape(1, 3, 500, 300)
    tiles = openvino.calibration_tiles(lr)
    assert len(tiles) == openvino.CALIBRATION_TILES
    assert np.array_equal(tiles[0], lr[:, :, :64, :64])
    assert np.array_equal(tiles[-1], lr[:, :, 448:, 256:])


TWO_ENGINES = """
import gc, os, signal
import numpy as np
from srgan.upscaling.upscaler import Upscaler

signal.signal(signal.SIGTERM, lambda *_: print("heard", flush=True))
lr = np.zeros((16, 16, 3), np.uint8)
first, second = (Upscaler.load("srresnet-x4", engine="openvino") for _ in range(2))
first(lr), second(lr)
del first
gc.collect()
del second
gc.collect()
os.kill(os.getpid(), signal.SIGTERM)
"""


def test_signals_are_heard_after_engines_have_gone() -> None:
    done = subprocess.run([sys.executable, "-c", TWO_ENGINES], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr


def test_openvino_is_imported_without_what_only_networks_of_torch_need() -> None:
    code = (
        "import sys; import srgan.engines.openvino, srgan.engines.library as library\n"
        "assert not [name for name in sys.modules if 'openvino.tools.ovc' in name]\n"
        "assert sys.modules['openvino_telemetry'] is None\n"
        "import torch; library.convert_model(torch.nn.ReLU(), example_input=torch.zeros(1))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
