"""Writes networks of other projects as ONNX files that `srgan upscale` runs without PyTorch."""

import io
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np

from srgan.engines.foreign.engine import ForeignEngine
from srgan.engines.foreign.figures import Figures
from srgan.engines.foreign.graph_backend import graph_backend
from srgan.engines.foreign.graphs import Graph, agreeing, read_onnx
from srgan.engines.options import EngineOptions
from srgan.errors import UserError, need
from srgan.models.onnx_file import read_onnx as read_file
from srgan.models.onnx_file import with_facts
from srgan.networks.foreign import ForeignNetwork, Sizes, torch_module
from srgan.pictures.files import replace_file

OPSET = 18
SMALLEST = 512  # values of a tensor that is worth storing in half precision
LIMIT = 1e-4  # largest allowed difference from torch, in units of [0, 1]
SIZES = ((24, 32), (37, 53), (64, 9))  # (height, width) of the LR pictures of the check
KEPT = ("name", "licence", "source")


class ConversionError(UserError):
    """A network cannot be written, or computes something else then: one line with the reason."""


def write_standalone(network: ForeignNetwork, path: Path) -> float:
    """Write a network as one ONNX file, with scale, halo, sizes, name and licence in its metadata.

    Weights that the source stores in half precision stay so.

    Returns:
        The largest difference from torch over pictures of `SIZES`, in units of [0, 1].

    Raises:
        ConversionError: torch cannot write the network, or the file's results differ.
        MissingExtraError: onnx or PyTorch is not installed.
    """
    if network.onnx:
        raise ConversionError(f"{path}: the source is an ONNX file already; use it as it is")
    need("export", f"{path}: writing ONNX files", also="spandrel")
    import torch

    module = torch_module(network)
    written: list[bytes] = []

    def convert(module: Any, channels: int, sizes: Sizes) -> Any:
        written.append(exported(module, channels, sizes, half=network.half))
        return read_onnx(written[-1])

    graph: Graph = agreeing(network, module, convert)
    data = written[-1]
    info = {key: network.info[key] for key in KEPT if key in network.info}
    info |= {
        "architecture": network.architecture,
        "scale": network.scale,
        "parameters": network.parameters,
        "sizes": {name: getattr(graph.sizes, name) for name in ("minimum", "multiple", "square")},
    }
    with TemporaryDirectory() as folder:
        draft = Path(folder) / path.name
        draft.write_bytes(with_facts(data, info))
        standalone = read_file(draft)
    figures = Figures(standalone.digest)
    options = EngineOptions("openvino", "fp32")
    backend = graph_backend(standalone, options, figures)
    engine = ForeignEngine(standalone, backend, figures, "fp32")
    worst = 0.0
    rng = np.random.default_rng(0)
    for least in SIZES:
        height, width = graph.sizes.padded(*least)
        lr = rng.random((1, 3, height, width), np.float32)
        with torch.inference_mode():
            expected = engine.with_runner(lambda x: module(torch.as_tensor(x)).numpy(), lr)
        worst = max(worst, float(np.abs(engine(lr) - expected).max()))
    if not worst <= LIMIT:
        raise ConversionError(
            f"{path}: not written: its results differ from torch's by up to {worst:.2g}, more than "
            f"{LIMIT:.2g}"
        )
    replace_file(path, with_facts(data, {**info, "halo": figures.get("halo")}))
    return worst


def exported(module: Any, channels: int, sizes: Sizes, *, half: bool) -> bytes:
    import torch

    height, width = sizes.example(32, 48)
    sides = {2: "height", 3: "width"}
    free = {} if sizes.fixed else {"lr": sides, "sr": {a: f"sr_{n}" for a, n in sides.items()}}
    target = io.BytesIO()
    export = cast(Any, torch.onnx).export  # its types are incomplete
    # torch says that this exporter is old, and where sizes are taken for granted.
    with warnings.catch_warnings(action="ignore"), torch.no_grad():
        export(
            module,
            (torch.rand(1, channels, height, width),),
            target,
            dynamo=False,
            opset_version=OPSET,
            input_names=["lr"],
            output_names=["sr"],
            dynamic_axes=free,
        )
    return _half(target.getvalue()) if half else target.getvalue()


def _half(data: bytes) -> bytes:
    """Store large float32 weights as float16, each with a cast back, so that results stay."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load_model_from_string(data)
    casts: list[Any] = []
    for weight in model.graph.initializer:
        values = numpy_helper.to_array(weight)
        halves = values.astype(np.float16)
        if values.dtype != np.float32 or values.size < SMALLEST:
            continue
        if not np.array_equal(halves.astype(np.float32), values):
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(halves, f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*casts, *nodes])
    return model.SerializeToString()
