"""The folded network as an openvino graph, in float or int8."""

from typing import Any

import numpy as np

from srgan.engines.library import openvino, opset
from srgan.networks import folding

Int8Ranges = dict[str, list[float]]  # convolution -> lowest and highest value of its input


class GraphOperations:
    """The folded network's operations as nodes of an openvino graph; see `folding.Operations`.

    Convolutions named in `ranges` are computed in int8: openvino's low-precision passes replace
    the fake-quantize nodes around them by int8 arithmetic.

    Attributes:
        ranges: lowest and highest value of the input of each convolution to quantise.
        inputs: the node that each convolution reads, by the convolution's name.
    """

    def __init__(self, ranges: Int8Ranges) -> None:
        self.ranges = ranges
        self.inputs: dict[str, Any] = {}

    def convolution(self, x: Any, convolution: folding.Convolution) -> Any:
        name, pad = convolution.name, convolution.weight.shape[-1] // 2
        self.inputs[name] = x
        step = convolution.shuffle
        kernel, bias = convolution.blocks_first()
        weight = opset.constant(kernel)
        if name in self.ranges:
            x = quantised_input(x, *self.ranges[name])
            weight = _quantised_weight(kernel)
        x = opset.convolution(x, weight, [1, 1], [pad, pad], [pad, pad], [1, 1])
        x = opset.add(x, opset.constant(bias.reshape(1, -1, 1, 1)))
        if convolution.slope is not None:
            x = opset.prelu(x, opset.constant(np.array([convolution.slope], np.float32)))
        return x if step == 1 else opset.depth_to_space(x, "blocks_first", step)

    def add(self, a: Any, b: Any) -> Any:
        return opset.add(a, b)

    def shuffle(self, x: Any, step: int) -> Any:
        return opset.depth_to_space(x, "depth_first", step)

    def unshuffle(self, x: Any, step: int) -> Any:
        return opset.space_to_depth(x, "depth_first", step)

    def to_unit_range(self, x: Any) -> Any:
        half = opset.constant(np.float32(0.5))
        return opset.add(opset.multiply(opset.tanh(x), half), half)

    def normalize(self, x: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> Any:
        shift, divisor = (np.array(v, np.float32).reshape(1, -1, 1, 1) for v in (mean, std))
        return opset.divide(opset.subtract(x, opset.constant(shift)), opset.constant(divisor))

    def join(self, a: Any, b: Any) -> Any:
        return opset.concat([a, b], 1)

    def split(self, x: Any, channels: int) -> tuple[Any, Any]:
        parts = opset.variadic_split(x, 1, [channels, -1])
        return parts.output(0), parts.output(1)

    def enlarge(self, x: Any, scale: int) -> Any:
        scales = np.array([scale, scale], np.float32)
        return opset.interpolate(x, scales, "linear_onnx", "scales", axes=[2, 3])

    def clamp(self, x: Any) -> Any:
        return opset.clamp(x, 0.0, 1.0)

    def fill(self, x: Any, multiple: int) -> Any:
        missing = opset.floor_mod(opset.negative(_sides(x)), np.int64(multiple))
        ends = opset.concat([opset.constant(np.zeros(2, np.int64)), missing], 0)
        return opset.pad(x, np.zeros(4, np.int64), ends, "edge")

    def cut(self, x: Any, like: Any, scale: int) -> Any:
        ends = opset.multiply(_sides(like), np.int64(scale))
        zeros, ones, axes = (np.array(pair, np.int64) for pair in ([0, 0], [1, 1], [2, 3]))
        return opset.slice(x, zeros, ends, ones, axes)


def _sides(x: Any) -> Any:
    """Height and width of a node's tensor, as a node."""
    return opset.gather(opset.shape_of(x), np.array([2, 3], np.int64), np.int64(0))


def _quantised_weight(weight: np.ndarray) -> Any:
    """Quantise to 255 levels, symmetric around 0, per output channel."""
    top = np.maximum(np.abs(weight).max(axis=(1, 2, 3), keepdims=True), 1e-8)
    return opset.fake_quantize(opset.constant(weight), -top, top, -top, top, 255)


def quantised_input(x: Any, low: float, high: float) -> Any:
    """Quantise to 256 levels from `low` to `high`, per tensor.

    The range is shifted so that zero is one of the levels: the convolution pads with zeros.
    """
    step = (high - low) / 255
    lowest = -round(-low / step) * step
    ends = np.array([lowest, lowest + 255 * step], np.float32).reshape(2, 1, 1, 1, 1)

    def levels(x: Any) -> Any:
        return opset.fake_quantize(x, ends[0], ends[1], ends[0], ends[1], 256)

    kind = _kind(x)
    if kind == "DepthToSpace":  # it then moves bytes
        return opset.depth_to_space(levels(x.input_value(0)), **x.get_attributes())
    if kind == "Add":
        # The sum of a residual block is read by the next sum, too. So openvino cannot fuse the
        # FakeQuantize into it, and a lone one is slow: it needs float32. An element-wise node
        # into which it is fused reads bf16. This one changes nothing.
        x = opset.maximum(x, opset.constant(ends[0]))
    return levels(x)


def _kind(x: object) -> str:
    """openvino's name of the operation; empty for one of several outputs of a node."""
    return x.get_type_name() if isinstance(x, openvino.Node) else ""
