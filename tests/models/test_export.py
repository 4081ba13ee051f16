import os
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from srgan.engines.create import create_engine
from srgan.engines.library import openvino
from srgan.engines.options import EngineOptions
from srgan.models import export as module
from srgan.models.export import SUFFIXES, ExportError, ExportFormat, ExportPrecision, export
from srgan.models.load import load_checkpoint
from srgan.networks.architecture import Architecture, Checkpoint
from tests.support.command import Command
from tests.support.networks import random_checkpoint

# A network of other implementations: every operation that ours does not have.
OTHER = Architecture(
    2,
    8,
    kernel=3,
    head_kernel=3,
    tail_kernel=3,
    input="imagenet",
    batch_norm=False,
    trunk="none",
    hr_conv=True,
    bilinear=True,
    output="clamp",
)


def results(path: Path, picture: np.ndarray) -> np.ndarray:
    """What the file computes, by a program that has nothing of ours."""
    match path.suffix:
        case ".onnx":
            onnx.checker.check_model(str(path), full_check=True)
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            return session.run(["sr"], {"lr": picture})[0]  # type: ignore[return-value]
        case ".xml":
            settings = {"INFERENCE_PRECISION_HINT": "f32"}
            return openvino.Core().compile_model(path, "CPU", settings)({"lr": picture})["sr"]
        case _:
            with torch.inference_mode():
                return torch.jit.load(path)(torch.from_numpy(picture)).numpy()


SAME_SIZE = Architecture(2, 8, scale=1, unshuffle=4, bilinear=True, output="clamp")


@pytest.mark.parametrize("format", get_args(ExportFormat))
@pytest.mark.parametrize(
    ("architecture", "precision"),
    [
        (Architecture(2, 8), "fp32"),
        (Architecture(2, 8, scale=3), "fp32"),
        (OTHER, "fp32"),
        (OTHER, "fp16"),
        (SAME_SIZE, "fp32"),
        (SAME_SIZE, "fp16"),
    ],
    ids=["ours", "x3", "other", "other-fp16", "same-size", "same-size-fp16"],
)
@pytest.mark.filterwarnings("ignore")  # torch.jit is deprecated
def test_exports_compute_the_same(
    tmp_path: Path, format: ExportFormat, architecture: Architecture, precision: ExportPrecision
) -> None:
    checkpoint = random_checkpoint(architecture)
    engine = create_engine(checkpoint, EngineOptions("openvino", "fp32"))
    exact = 1e-4 if precision == "fp32" else 1e-2
    path = tmp_path / f"net{SUFFIXES[format]}"
    assert export(checkpoint, path, format, precision=precision) <= exact
    rng = np.random.default_rng(1)
    for batch, height, width in ((1, 20, 31), (2, 9, 8), (1, 1, 50)):
        lr = rng.random((batch, 3, height, width), np.float32)
        expected = np.concatenate([engine(each[None]) for each in lr])
        result = results(path, lr)
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, expected, atol=exact)


@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_the_shipped_model_agrees_at_three_sizes(tmp_path: Path, format: ExportFormat) -> None:
    assert len(module.SIZES) == 3
    checkpoint = load_checkpoint("srresnet-x4")
    assert export(checkpoint, tmp_path / f"net{SUFFIXES[format]}", format) < 1e-4


@pytest.mark.parametrize("format", get_args(ExportFormat))
@pytest.mark.filterwarnings("ignore")
def test_bytes_in_bytes_out(
    tmp_path: Path, format: ExportFormat, astronaut: np.ndarray, small_checkpoint: Checkpoint
) -> None:
    path = tmp_path / f"net{SUFFIXES[format]}"
    export(small_checkpoint, path, format, uint8=True)
    lr = astronaut[None, :40, :50]
    result = results(path, lr)
    assert (result.dtype, result.shape) == (np.uint8, (1, 160, 200, 3))
    engine = create_engine(small_checkpoint, EngineOptions("openvino", "fp32"))
    exact = engine(lr.transpose(0, 3, 1, 2).astype(np.float32) / 255).transpose(0, 2, 3, 1)
    assert np.abs(result - 255 * exact).max() < 0.51


def test_fp16_is_half_as_large(tmp_path: Path) -> None:
    checkpoint = random_checkpoint(Architecture(2, 32))
    written: dict[ExportFormat, str] = {"onnx": ".onnx", "openvino": ".bin"}
    for format, suffix in written.items():
        sizes = []
        for precision in get_args(ExportPrecision):
            export(checkpoint, tmp_path / f"net{SUFFIXES[format]}", format, precision=precision)
            sizes.append((tmp_path / f"net{suffix}").stat().st_size)
        assert sizes[1] < 0.55 * sizes[0]


@pytest.mark.parametrize("format", get_args(ExportFormat))
@pytest.mark.filterwarnings("ignore")
def test_a_failing_check_leaves_nothing(
    tmp_path: Path,
    format: ExportFormat,
    small_checkpoint: Checkpoint,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One slope of the network that is written is wrong."""
    tensors = dict(small_checkpoint.tensors)
    tensors["blocks.1.prelu.weight"] = tensors["blocks.1.prelu.weight"] + 0.01
    write = module._WRITERS[format]
    wrong = replace(small_checkpoint, tensors=tensors)
    monkeypatch.setitem(module._WRITERS, format, lambda _, *rest: write(wrong, *rest))
    path = tmp_path / f"net{SUFFIXES[format]}"
    path.write_text("old")
    with pytest.raises(ExportError, match="deleted: its results differ"):
        export(small_checkpoint, path, format)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "old"


def test_command(tmp_path: Path, small_model: Path, srgan: Command) -> None:
    result = srgan("export", small_model, "--format", "openvino", "-o", "a/b/")
    assert result.returncode == 0, result.stderr
    assert {p.name for p in (tmp_path / "a/b").iterdir()} == {"small.xml", "small.bin"}
    assert "differs from srgan by at most" in result.stdout
    again = srgan("export", small_model, "--format", "openvino", "-o", "a/b")
    assert (again.returncode, "--overwrite" in again.stderr) == (2, True)
    other = srgan("export", small_model, "--format", "onnx", "-o", "x.pt")
    assert (other.returncode, other.stderr) == (2, "srgan: x.pt: must end with .onnx\n")


def test_what_is_missing_is_named(tmp_path: Path, small_model: Path, srgan: Command) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['onnx'] = None")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    result = srgan("export", small_model, "--format", "onnx", env=environment)
    assert result.returncode == 2
    assert result.stderr == (
        "srgan: --format onnx needs onnx: install with: pip install 'srgan[export]'\n"
    )
