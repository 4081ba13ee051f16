"""Finds out what an ONNX file takes and gives: channels, scale and sizes, by running it."""

from typing import Any, NamedTuple

import numpy as np

from srgan.engines.base import EngineError
from srgan.engines.foreign.graphs import Form, OpenVINORunner, form_of, of_one_size, read_onnx
from srgan.engines.library import openvino
from srgan.networks.foreign import Sizes

MINIMUM = 16  # height and width; some networks fail below without saying so
MULTIPLES = (1, 2, 4, 8, 16, 32, 64)
TRIED = 33, 49  # height and width: multiples of none of the above
INPUTS = [np.dtype(kind) for kind in (np.float32, np.float16, np.uint8)]


class OnnxFacts(NamedTuple):
    """What a graph takes and gives.

    Attributes:
        scale: may be no whole number.
        half: the input is float16.
    """

    channels: int
    outputs: int
    scale: float
    sizes: Sizes
    half: bool


def inspect_onnx(data: bytes) -> OnnxFacts:
    """Run an ONNX file on small pictures, to find out what it takes and gives.

    Raises:
        EngineError: it cannot be read, or is no network from one picture to one picture.
    """
    try:
        model = read_onnx(data)
    except RuntimeError as error:
        raise EngineError(f"openvino cannot read it ({_last_line(error)})") from error
    counts = len(model.inputs), len(model.outputs)
    if counts != (1, 1):
        raise EngineError(f"it has {counts[0]} inputs and {counts[1]} outputs, not one of each")
    form = form_of(model)
    if form.dtype not in INPUTS:
        raise EngineError(f"its input is {form.dtype}, not float or uint8")
    if not form.channels:
        raise EngineError(
            f"its input has the shape {model.input(0).get_partial_shape()}, which is no picture of "
            "1 or 3 channels"
        )
    if not form.outputs:
        raise EngineError(
            f"its output has the shape {model.output(0).get_partial_shape()}: it gives no picture; "
            "srgan runs networks from pictures to pictures"
        )
    runner = OpenVINORunner(model, "fp32", None)
    problem = "no size fits"
    for sizes in _candidates(form.fixed):
        height, width = sizes.example(*TRIED)
        try:
            if not _gives_a_picture(model, form, height, width):
                continue
            sr = runner(np.full((1, form.channels, height, width), 0.5, np.float32))
        except RuntimeError as error:
            problem = _last_line(error)
            continue
        scales = {sr.shape[2] / height, sr.shape[3] / width}
        whole = len(scales) == 1 and scales.copy().pop().is_integer()
        if whole or form.fixed is not None or sizes.multiple == MULTIPLES[-1]:
            return OnnxFacts(
                form.channels, form.outputs, max(scales), sizes, form.dtype == np.float16
            )
        problem = f"it enlarges {max(scales):.4g} times"
    raise EngineError(f"openvino cannot run it ({problem})")


def _gives_a_picture(model: openvino.Model, form: Form, height: int, width: int) -> bool:
    """Whether a graph takes a size, by its shapes.

    Raises:
        RuntimeError: it does not.
    """
    if form.fixed is not None:
        return True
    shape: Any = of_one_size(model, height, width).output(0).get_partial_shape()
    return not any(side.is_static and side.get_length() == 0 for side in shape)


def _candidates(fixed: tuple[int, int] | None) -> list[Sizes]:
    if fixed is not None:
        return [Sizes(fixed=fixed)]
    return [Sizes(max(MINIMUM, multiple), multiple) for multiple in MULTIPLES]


def _last_line(error: Exception) -> str:
    """openvino puts the reason at the end of several lines."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:200]
