"""Writes a model as ONNX, OpenVINO IR or TorchScript for other programs, and checks the result.

All three take pictures of any height and width. ONNX and OpenVINO files hold the folded network.
TorchScript files hold the torch network with its parameters, so that `.to(device)` moves them.
"""

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from srgan.engines.options import EngineOptions
from srgan.errors import UserError, need
from srgan.networks import folding
from srgan.networks.architecture import Checkpoint

ExportFormat = Literal["onnx", "openvino", "torchscript"]
ExportPrecision = Literal["fp32", "fp16"]
SUFFIXES: dict[ExportFormat, str] = {"onnx": ".onnx", "openvino": ".xml", "torchscript": ".pt"}
SIZES = ((24, 32), (37, 53), (64, 9))  # (height, width) of the LR pictures of the check
# Largest allowed difference from our fp32 engine, in units of [0, 1].
LIMITS: dict[ExportPrecision, float] = {"fp32": 1e-4, "fp16": 2e-2}
ROUNDING = 0.5 / 255  # added to the limit for 8-bit results

ExportedModel = Callable[[np.ndarray], np.ndarray]


class ExportError(UserError):
    """The exported file fails its check: one line with the reason."""


def export(
    checkpoint: Checkpoint,
    path: Path,
    format: ExportFormat,
    *,
    precision: ExportPrecision = "fp32",
    uint8: bool = False,
) -> float:
    """Write the generator for other programs. A file that fails its check is not written.

    Args:
        path: openvino also writes a .bin file beside it.
        precision: fp16 stores half the bytes, and computes in half precision where the program
            can. Input and output stay float32.
        uint8: input and output are (N, H, W, 3) uint8, the layout of pictures in memory,
            instead of (N, 3, H, W) float32 in [0, 1]. RGB in both cases.

    Returns:
        The largest difference from our fp32 engine over random pictures of `SIZES`, in units
        of [0, 1].

    Raises:
        ExportError: the difference is larger than `LIMITS` allow.
        MissingExtraError: the format's libraries are not installed.
    """
    if format != "openvino":
        need("export", f"--format {format}")
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        draft = Path(folder) / path.name
        model = _WRITERS[format](checkpoint, draft, precision == "fp16", uint8)
        difference = _difference(checkpoint, model, uint8)
        limit = LIMITS[precision] + (ROUNDING if uint8 else 0)
        if not difference <= limit:
            raise ExportError(
                f"{path}: deleted: its results differ from srgan's by up to {difference:.2g}, "
                f"more than {limit:.2g}"
            )
        for file in sorted(Path(folder).iterdir()):  # .bin first: .xml needs it
            file.replace(path.parent / file.name)
    return difference


def _difference(checkpoint: Checkpoint, model: ExportedModel, uint8: bool) -> float:
    """Largest difference from our fp32 engine; infinite if the results' shapes differ."""
    from srgan.engines.create import create_engine

    engine = create_engine(checkpoint, EngineOptions("openvino", "fp32"))
    rng = np.random.default_rng(0)
    worst = 0.0
    for height, width in SIZES:
        picture = rng.integers(0, 256, (1, height, width, 3), np.uint8)
        lr = np.ascontiguousarray(picture.transpose(0, 3, 1, 2).astype(np.float32) / 255)
        sr = engine(lr)
        if uint8:
            result = model(picture).transpose(0, 3, 1, 2).astype(np.float32) / 255
        else:
            result = model(lr)
        if result.shape != sr.shape:
            return float("inf")
        worst = max(worst, float(np.abs(result - sr).max()))
    return worst


def _write_onnx(checkpoint: Checkpoint, path: Path, half: bool, uint8: bool) -> ExportedModel:
    import onnxruntime

    from srgan.models.onnx import build

    path.write_bytes(build(checkpoint, half=half, uint8=uint8).SerializeToString())
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda picture: session.run(None, {"lr": picture})[0]


def _write_openvino(checkpoint: Checkpoint, path: Path, half: bool, uint8: bool) -> ExportedModel:
    from srgan.engines.library import openvino, opset, shared_core
    from srgan.engines.openvino import graph_model
    from srgan.engines.openvino_graph import GraphOperations

    generator, graph = folding.fold(checkpoint), GraphOperations({})
    if uint8:
        x = lr = opset.parameter([-1, -1, -1, 3], np.uint8)
        x = opset.transpose(opset.convert(x, "f32"), [0, 3, 1, 2])
        x = opset.divide(x, np.float32(255))
    else:
        x = lr = opset.parameter([-1, 3, -1, -1], np.float32)
    sr: Any = folding.whole(generator, graph, x)
    if uint8:
        sr = opset.round(opset.multiply(sr, np.float32(255)), "half_to_even")
        sr = opset.convert(opset.transpose(sr, [0, 2, 3, 1]), "u8")
    lr.output(0).set_names({"lr"})
    sr.output(0).set_names({"sr"})
    openvino.save_model(graph_model([sr], lr), path, compress_to_fp16=half)
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = shared_core().compile_model(path, "CPU", settings)
    return lambda picture: compiled([picture])[0]


def _write_torchscript(
    checkpoint: Checkpoint, path: Path, half: bool, uint8: bool
) -> ExportedModel:
    import torch

    from srgan.networks.generator import Generator

    generator = Generator.from_checkpoint(checkpoint)

    class Exported(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.generator = generator.half() if half else generator

        def forward(self, lr: torch.Tensor) -> torch.Tensor:
            x = lr.permute(0, 3, 1, 2) / 255 if uint8 else lr
            sr = self.generator(x.half()).float() if half else self.generator(x)
            return (255 * sr).round().to(torch.uint8).permute(0, 2, 3, 1) if uint8 else sr

    example = torch.zeros((1, 16, 20, 3) if uint8 else (1, 3, 16, 20))
    example = example.to(torch.uint8) if uint8 else example
    jit: Any = torch.jit  # its functions have no types
    with warnings.catch_warnings(action="ignore"), torch.inference_mode():
        jit.save(jit.trace(Exported().eval(), example, check_trace=False), path)
        loaded = jit.load(path)

    def run(picture: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return loaded(torch.as_tensor(picture)).numpy()

    return run


_WRITERS: dict[ExportFormat, Callable[[Checkpoint, Path, bool, bool], ExportedModel]] = {
    "onnx": _write_onnx,
    "openvino": _write_openvino,
    "torchscript": _write_torchscript,
}
