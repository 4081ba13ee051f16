"""Networks of other projects as openvino graphs: ONNX files, and torch modules that it converts."""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Generator
from dataclasses import asdict, replace
from math import lcm
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from srgan.engines.base import EngineError
from srgan.engines.foreign.figures import Figures
from srgan.engines.library import convert_model, openvino, shared_core
from srgan.engines.openvino import device_settings, infer
from srgan.engines.options import Precision
from srgan.errors import need, reason_of
from srgan.networks.foreign import ForeignNetwork, Sizes, torch_module

if TYPE_CHECKING:
    from torch import nn

FIXED_SIDE = 128  # of the tiles of networks whose conversion holds for one size only
FIXED = ("GRL", "IPT")  # their conversion for any size takes minutes
ALIGNMENTS = (1, 8, 16, 32)  # tried in turn: attention needs whole windows
EXAMPLE = 32, 48  # height and width of the picture that is traced
CHECKED = 41, 51  # least height and width of the pictures of the check against torch
# Largest and mean difference. ATD sorts, so rounding can swap two nearly equal values.
AGREES = (2e-2, 3e-4)
SIZES = "openvino sizes"  # name of the figure


class Graph(NamedTuple):
    """An openvino model of one input and one output, and the sizes that it takes."""

    model: openvino.Model
    sizes: Sizes


# From a module, its channels and sizes; of these, only whether they are fixed must be kept.
Convert = Callable[["nn.Module", int, Sizes], openvino.Model]


def make_graph(network: ForeignNetwork, figures: Figures) -> Graph:
    """The graph of a network. A torch module is converted, and compared once with torch.

    Args:
        figures: keep the sizes at which the graph agrees with torch.

    Raises:
        EngineError: openvino cannot run the network, or computes something else.
        MissingExtraError: PyTorch or spandrel is needed, and not installed.
    """
    if network.onnx:
        return Graph(read_onnx(network.onnx), network.sizes)
    need("torch", f"a network of the kind {network.architecture}", also="spandrel")
    module = torch_module(network)
    known = figures.get(SIZES)
    if known is not None:
        fixed = known["fixed"]
        sizes = replace(Sizes(**known), fixed=fixed and (fixed[0], fixed[1]))
        return Graph(_convert(module, network.channels, sizes), sizes)
    found = agreeing(network, module, _convert)
    figures.put(SIZES, asdict(found.sizes))
    return found


def agreeing(network: ForeignNetwork, module: "nn.Module", convert: Convert) -> Graph:
    """Convert a module, and find the sizes at which the graph computes the same.

    Tracing takes decisions about sizes for granted, such as the padding to whole windows. So the
    sizes are aligned until the graph agrees with torch; else the graph is for one size.

    Args:
        module: the network.
        convert: called last for the graph that is returned.

    Raises:
        EngineError: openvino cannot run the network, or computes something else.
    """
    problem = ""
    for candidates in (_any_size(network.sizes), _one_size(network.sizes)):
        if network.architecture in FIXED and candidates[0].fixed is None:
            continue
        try:
            model = convert(module, network.channels, candidates[-1])
        except Exception as error:  # openvino and torch raise many kinds
            problem = reason_of(error)[:200]
            continue
        runner = OpenVINORunner(model, "fp32", None)
        for sizes in candidates:
            graph = Graph(model, sizes)
            problem = _difference(runner, graph, module, network.channels)
            if not problem:
                return graph
    raise EngineError(
        f"openvino cannot run this {network.architecture} network ({problem}); use --engine torch"
    )


def _any_size(sizes: Sizes) -> list[Sizes]:
    return [replace(sizes, multiple=lcm(sizes.multiple, step)) for step in ALIGNMENTS]


def _one_size(sizes: Sizes) -> list[Sizes]:
    return [replace(sizes, fixed=sizes.padded(FIXED_SIDE, FIXED_SIDE))]


def _difference(runner: "OpenVINORunner", graph: Graph, module: "nn.Module", channels: int) -> str:
    """In which way a graph differs from torch at its sizes, in words; "" if it does not."""
    import torch

    sizes = graph.sizes
    rng = np.random.default_rng(0)
    low, wide = sizes.padded(*CHECKED)
    wide += sizes.multiple if low == wide and sizes.fixed is None and not sizes.square else 0
    for height, width in dict.fromkeys([(low, wide), (wide, low)]):
        lr = rng.random((1, channels, height, width), np.float32)
        try:
            of_one_size(graph.model, height, width)
            with torch.inference_mode():
                expected = module(torch.as_tensor(lr)).numpy()
            sr = runner(lr)
        except Exception as error:  # reshapes to the example's size
            return reason_of(error)[:200]
        if sr.shape != expected.shape:
            return f"{sr.shape} instead of {expected.shape}"
        difference = np.abs(sr - expected)
        if not (difference.max() <= AGREES[0] and difference.mean() <= AGREES[1]):
            return f"it differs from torch by up to {difference.max():.2g}"
    return ""


def _convert(module: "nn.Module", channels: int, sizes: Sizes) -> openvino.Model:
    import torch

    height, width = sizes.example(*EXAMPLE)
    example = torch.rand(1, channels, height, width)
    shape = [1, channels, *(sizes.fixed or (-1, -1))]
    jit: Any = torch.jit
    # torch says that tracing is deprecated, and where sizes are taken for granted.
    with warnings.catch_warnings(action="ignore"), torch.no_grad(), _quiet():
        traced = jit.trace(module, example, check_trace=False, strict=False)
        return convert_model(traced, input=shape)


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """No messages of openvino's and torch's converters below errors.

    openvino's prints some if --verbose is among the arguments of the process.
    """
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(level)


def read_onnx(data: bytes) -> openvino.Model:
    """Read an ONNX file's bytes. Raises RuntimeError if openvino cannot."""
    core = cast(Any, shared_core())  # its types are incomplete
    return core.read_model(data)


def of_one_size(model: openvino.Model, height: int, width: int) -> openvino.Model:
    """A copy of a graph for LR of one size, in which all shapes that follow from it are known.

    A graph whose shapes contradict each other must not run: with one thread openvino does not
    notice, and damages memory.

    Raises:
        RuntimeError: the shapes contradict each other.
    """
    form = form_of(model)
    sides = (
        [height, width, form.channels] if form.channels_last_in else [form.channels, height, width]
    )
    model = model.clone()
    model.reshape([1, *sides])
    return model


class OpenVINORunner:
    """A compiled graph: LR (1, C, H, W) float32 in [0, 1] to SR, whatever form the graph has.

    Args:
        model: of one input and one output; (N, C, H, W) or (N, H, W, C); float or uint8.
        precision: fp32, bf16 or fp16.
        threads: by default openvino's choice.
        device: one of openvino's.
    """

    def __init__(
        self,
        model: openvino.Model,
        precision: Precision,
        threads: int | None,
        device: str = "CPU",
    ) -> None:
        settings = device_settings(device, precision, threads)
        compiled = shared_core().compile_model(model, device, settings)
        self._request = compiled.create_infer_request()
        self._form = form_of(model)

    def __call__(self, lr: np.ndarray) -> np.ndarray:
        form = self._form
        x = lr.transpose(0, 2, 3, 1) if form.channels_last_in else lr
        x = np.floor(255 * x + 0.5).clip(0, 255) if form.dtype == np.uint8 else x
        sr = infer(self._request, x.astype(form.dtype, copy=False), copy=True)
        sr = sr.transpose(0, 3, 1, 2) if form.channels_last_out else sr
        if sr.dtype == np.uint8:
            return sr.astype(np.float32) / 255
        return sr.astype(np.float32, copy=False)


class Form(NamedTuple):
    """How a graph takes and gives pictures.

    Attributes:
        channels: of the input; 0 if it takes no picture of 1 or 3 channels.
        outputs: of the output; 0 if it gives no picture of 1 or 3 channels.
        dtype: of the input's samples.
        fixed: (height, width) if the graph takes no other.
    """

    channels: int
    outputs: int
    channels_last_in: bool
    channels_last_out: bool
    dtype: np.dtype
    fixed: tuple[int, int] | None


def form_of(model: openvino.Model) -> Form:
    """The form of a graph of one input and one output."""
    lr, sr = model.input(0), model.output(0)
    channels, last_in = _channels(lr.get_partial_shape())
    outputs, last_out = _channels(sr.get_partial_shape())
    shape: Any = lr.get_partial_shape()
    fixed = None
    if channels:
        sides = [shape[i] for i in ((1, 2) if last_in else (2, 3))]
        known = [side.get_length() for side in sides if side.is_static]
        fixed = (known[0], known[-1]) if known else None
    dtype = np.dtype(lr.get_element_type().to_dtype())
    return Form(channels, outputs, last_in, last_out, dtype, fixed)


def _channels(shape: Any) -> tuple[int, bool]:
    """The channels of a picture's shape, and whether they are the last axis."""
    if shape.rank.is_dynamic or len(shape) != 4:
        return 0, False
    sides = [side.get_length() if side.is_static else 0 for side in shape]
    if sides[1] in (1, 3):
        return sides[1], False
    if sides[3] in (1, 3) and sides[1] not in (2, 4):
        return sides[3], True
    return 0, False
