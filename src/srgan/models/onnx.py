"""Builds the folded network as an ONNX model, node by node, without torch."""

from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper

from srgan.networks import folding
from srgan.networks.architecture import Checkpoint

OPSET = 17  # onnxruntime reads it since 1.12 (2022)
IR_VERSION = 8


class OnnxOperations:
    """`folding.Operations` that add nodes to an ONNX graph; a tensor is its name in the graph."""

    def __init__(self, dtype: type[np.floating]) -> None:
        self.dtype = dtype
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, value: Any, dtype: Any = None) -> str:
        name = f"constant_{len(self.initializers)}"
        array = np.asarray(value, dtype or self.dtype)
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def convolution(self, x: str, convolution: folding.Convolution) -> str:
        weight, bias = self.constant(convolution.weight), self.constant(convolution.bias)
        padding = [convolution.weight.shape[-1] // 2] * 4
        x = self.node("Conv", x, weight, bias, pads=padding)
        if convolution.slope is not None:
            x = self.node("PRelu", x, self.constant([[[convolution.slope]]]))
        return x if convolution.shuffle == 1 else self.shuffle(x, convolution.shuffle)

    def add(self, a: str, b: str) -> str:
        return self.node("Add", a, b)

    def shuffle(self, x: str, step: int) -> str:
        return self.node("DepthToSpace", x, blocksize=step, mode="CRD")

    def unshuffle(self, x: str, step: int) -> str:
        # SpaceToDepth puts the places of a block before the channels.
        order = np.arange(3 * step**2).reshape(step**2, 3).T.ravel()
        blocks = self.node("SpaceToDepth", x, blocksize=step)
        return self.node("Gather", blocks, self.constant(order, np.int64), axis=1)

    def to_unit_range(self, x: str) -> str:
        half = self.constant(0.5)
        return self.node("Add", self.node("Mul", self.node("Tanh", x), half), half)

    def normalize(self, x: str, mean: tuple[float, ...], std: tuple[float, ...]) -> str:
        shift, divisor = (self.constant(np.reshape(v, (1, -1, 1, 1))) for v in (mean, std))
        return self.node("Div", self.node("Sub", x, shift), divisor)

    def join(self, a: str, b: str) -> str:
        return self.node("Concat", a, b, axis=1)

    def split(self, x: str, channels: int) -> tuple[str, str]:
        ends = (0, channels, np.iinfo(np.int64).max)
        start, middle, end = (self.constant([place], np.int64) for place in ends)
        axis = self.constant([1], np.int64)
        return self.node("Slice", x, start, middle, axis), self.node("Slice", x, middle, end, axis)

    def enlarge(self, x: str, scale: int) -> str:
        scales = self.constant([1, 1, scale, scale], np.float32)
        return self.node("Resize", x, "", scales, mode="linear")

    def clamp(self, x: str) -> str:
        return self.node("Clip", x, self.constant(0), self.constant(1))

    def fill(self, x: str, multiple: int) -> str:
        sides = self.node("Neg", self.sides(x))
        missing = self.node("Mod", sides, self.constant([multiple], np.int64))
        ends = self.node("Concat", self.constant([0] * 6, np.int64), missing, axis=0)
        return self.node("Pad", x, ends, mode="edge")

    def cut(self, x: str, like: str, scale: int) -> str:
        ends = self.node("Mul", self.sides(like), self.constant([scale], np.int64))
        zeros, axes = self.constant([0, 0], np.int64), self.constant([2, 3], np.int64)
        return self.node("Slice", x, zeros, ends, axes)

    def sides(self, x: str) -> str:
        """Height and width of a tensor."""
        return self.node("Shape", x, start=2, end=4)


def build(checkpoint: Checkpoint, *, half: bool, uint8: bool) -> ModelProto:
    """Build a model with the input "lr" and the output "sr", of any batch, height and width.

    Args:
        half: compute in float16; input and output keep their type.
        uint8: input and output are (N, H, W, 3) uint8 instead of (N, 3, H, W) float32 in [0, 1].
    """
    generator = folding.fold(checkpoint)
    ops = OnnxOperations(np.float16 if half else np.float32)
    x = "lr"
    if uint8:
        x = ops.node("Cast", x, to=TensorProto.FLOAT)
        x = ops.node("Div", x, ops.constant(255, np.float32))
        x = ops.node("Transpose", x, perm=[0, 3, 1, 2])
    if half:
        x = ops.node("Cast", x, to=TensorProto.FLOAT16)
    x = folding.whole(generator, ops, x)
    if half:
        x = ops.node("Cast", x, to=TensorProto.FLOAT)
    if uint8:
        x = ops.node("Round", ops.node("Mul", x, ops.constant(255, np.float32)))
        x = ops.node("Cast", ops.node("Transpose", x, perm=[0, 2, 3, 1]), to=TensorProto.UINT8)
    ops.nodes.append(helper.make_node("Identity", [x], ["sr"]))
    lr, sr = _port("lr", "height", "width", uint8), _port("sr", "sr_height", "sr_width", uint8)
    graph = helper.make_graph(ops.nodes, "srgan", [lr], [sr], ops.initializers)
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(
        graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="srgan"
    )


def _port(name: str, height: str, width: str, uint8: bool) -> ValueInfoProto:
    """The type and shape of an input or output; `height` and `width` name free dimensions."""
    shape = ["batch", height, width, 3] if uint8 else ["batch", 3, height, width]
    kind = TensorProto.UINT8 if uint8 else TensorProto.FLOAT
    return helper.make_tensor_value_info(name, kind, shape)
