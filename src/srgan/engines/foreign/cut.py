"""Cuts a network in two where it begins to enlarge.

The trunk has nearly all of the receptive field, and the tail needs nearly all of the memory. In one
piece they need small tiles with large halos: of RealESRGAN_x4plus's work, three quarters would be
thrown away.
"""

from math import ceil, prod
from typing import Any, NamedTuple

import numpy as np

from srgan.engines.foreign.nodes import SHUFFLE, Node, read_nodes, steady
from srgan.engines.library import openvino, opset
from srgan.engines.openvino import graph_model
from srgan.networks.foreign import Sizes

# Heights and widths of LR at which the cut must be the same. They stay apart when padded.
LEAST = (48, 64), (101, 151)
MOST_CHANNELS = 512  # of the features
CONVOLUTIONS = {"Convolution": opset.convolution, "GroupConvolution": opset.group_convolution}
POINTWISE = {
    "Add": opset.add,
    "Divide": opset.divide,
    "Maximum": opset.maximum,
    "Minimum": opset.minimum,
    "Multiply": opset.multiply,
    "PRelu": opset.prelu,
    "Relu": opset.relu,
    "Sigmoid": opset.sigmoid,
    "Subtract": opset.subtract,
    "Tanh": opset.tanh,
}
REACH = {"linear": 1, "linear_onnx": 1, "cubic": 2}  # of Interpolate, in its inputs


class Place(NamedTuple):
    """Where a network is cut.

    Attributes:
        nodes: of the network.
        late: numbers of the nodes of the tail.
        features: numbers of what the tail reads.
        halo: of the tail, in LR pixels.
    """

    nodes: list[Node]
    late: list[int]
    features: list[int]
    halo: int

    @property
    def early(self) -> list[int]:
        """Numbers of the nodes of the trunk."""
        return sorted(set(range(len(self.nodes))).difference(self.late))

    @property
    def trunk_share(self) -> float:
        """The share of the trunk in all multiplications."""
        return 1 - sum(self.work[number] for number in self.late) / sum(self.work)

    @property
    def work(self) -> list[int]:
        """The multiplications of each node."""
        return [_multiplications(node, self.nodes) for node in self.nodes]

    @property
    def channels(self) -> list[int]:
        """Of each of the features."""
        return [self.nodes[number].shape[1] for number in self.features]


def place_to_cut(model: openvino.Model, sizes: Sizes) -> Place | None:
    """Where to cut a network; None where it cannot be cut, or does not enlarge.

    Args:
        model: takes (1, C, H, W), and gives (1, C, scale * H, scale * W).
        sizes: that it takes.
    """
    if sizes.fixed is not None:
        return None
    place, other = (_place(model, sizes.padded(*least)) for least in LEAST)
    if place is None or other is None or place[1:] != other[1:]:
        return None
    same = steady(place.nodes, other.nodes)
    return place if same.issuperset(place.late) and any(place.work) else None


def cut(model: openvino.Model, place: Place) -> tuple[openvino.Model, openvino.Model]:
    """A network in two stages. It is not changed.

    Returns:
        The trunk, from LR (1, C, H, W) to features (1, F, H, W), and the tail, from any part
        (1, F, h, w) of the features to SR.
    """
    trunk = _trunk(model, [place.nodes[number] for number in place.features])
    return trunk, _tail(place, trunk.output(0).get_element_type())


def _place(model: openvino.Model, size: tuple[int, int]) -> Place | None:
    """The place to cut at; None without one. See `read_nodes` for the arguments."""
    nodes = read_nodes(model, size)
    if nodes is None:
        return None
    late: set[int] = set()
    for number, node in enumerate(nodes):
        if _is_larger(node.shape, size) or not late.isdisjoint(node.values):
            late.add(number)
    features = sorted({value for number in late for value in nodes[number].values} - late)
    shapes = [nodes[number].shape for number in features]
    if not shapes or any(len(shape) != 4 or shape[2:] != size for shape in shapes):
        return None
    if features == [0] or sum(shape[1] for shape in shapes) > MOST_CHANNELS:
        return None
    reach = [0.0] * len(nodes)  # in LR
    for number in sorted(late):
        values = nodes[number].values
        inputs = [nodes[value].shape for value in values]
        own = _reach(nodes[number], inputs) if inputs else None
        if own is None:
            return None
        pixel = size[0] / nodes[values[0]].shape[2]
        reach[number] = max(reach[value] for value in values) + own * pixel
    return Place(nodes, sorted(late), features, ceil(reach[-1]))


def _is_larger(shape: tuple[int, ...], size: tuple[int, int]) -> bool:
    """Whether a shape is that of a picture larger than `size`."""
    if len(shape) != 4 or shape[0] != 1:
        return False
    down, across = shape[2] / size[0], shape[3] / size[1]
    return down == across > 1


def _reach(node: Node, inputs: list[tuple[int, ...]]) -> int | None:
    """How many pixels of its inputs a node looks to each side.

    Returns:
        None for an operation that `_rebuilt` does not know.
    """
    attributes, before = node.attributes, inputs[0][2:]
    if any(shape[2:] != before for shape in inputs):
        return None
    if node.kind in CONVOLUTIONS:
        return max(node.constants[0].shape[-2:]) // 2 if node.is_plain else None
    if node.kind == "Interpolate":
        whole = attributes["coordinate_transformation_mode"] == "align_corners"  # by its size
        if whole or attributes["antialias"]:
            return None
        return 0 if node.repeats else REACH.get(attributes["mode"])
    known = node.kind in POINTWISE or node.kind in ("Clamp", SHUFFLE)
    known |= node.kind == "Concat" and attributes["axis"] in (1, -3)
    known |= node.kind == "Slice" and node.shape == inputs[0] and (node.constants[2] == 1).all()
    # A constant of one axis goes along the rows, but for slopes.
    flat = node.kind == "PRelu"
    wide = node.kind != "Slice" and any(
        prod(each.shape[-2:]) > 1 and not (flat and each.ndim == 1) for each in node.constants
    )
    return 0 if known and not wide else None


def _multiplications(node: Node, nodes: list[Node]) -> int:
    """Of a convolution or a product of matrices."""
    if node.kind in CONVOLUTIONS and node.constants:
        return prod(node.shape[2:]) * node.constants[0].size
    if node.kind == "MatMul" and node.values:
        return prod(node.shape) * nodes[node.values[0]].shape[-1]
    return 0


def _trunk(model: openvino.Model, ends: list[Node]) -> openvino.Model:
    model = model.clone()
    operations: Any = model.get_ops()
    named = {operation.get_friendly_name(): operation for operation in operations}
    outputs = [named[node.names[-1]].output(node.output) for node in ends]
    features = outputs[0] if len(outputs) == 1 else opset.concat(outputs, 1).output(0)
    parameters: Any = model.get_parameters()
    return graph_model([opset.result(features)], *parameters)


def _tail(place: Place, kind: openvino.Type) -> openvino.Model:
    """Built anew: in the graph, shuffles may ask for the size of LR."""
    features = opset.parameter([1, sum(place.channels), -1, -1], kind)
    parts = opset.variadic_split(features, 1, place.channels).outputs()
    values = dict(zip(place.features, parts, strict=True))
    for number in place.late:
        node = place.nodes[number]
        operands = [values[each] if isinstance(each, int) else each for each in node.reads]
        values[number] = _rebuilt(node, operands, place.nodes[node.values[0]].shape).output(0)
    return graph_model([opset.result(values[place.late[-1]])], features)


def _rebuilt(node: Node, operands: list[Any], before: tuple[int, ...]) -> Any:
    """A node of the tail as openvino's operation, for pictures of any size.

    Args:
        before: the shape of its first input.
    """
    x, given = operands[0], node.attributes
    if node.kind in CONVOLUTIONS:
        ends = given["pads_begin"], given["pads_end"]
        return CONVOLUTIONS[node.kind](x, operands[1], [1, 1], *ends, [1, 1])
    if node.kind == "Interpolate":
        scales = np.divide(node.shape[2:], before[2:]).astype(np.float32)
        kept = ("coordinate_transformation_mode", "nearest_mode", "cube_coeff")
        options = {name: given[name] for name in kept}
        return opset.interpolate(x, scales, given["mode"], "scales", axes=[2, 3], **options)
    if node.kind == SHUFFLE:
        order = "blocks_first" if given["blocks_first"] else "depth_first"
        return opset.depth_to_space(x, order, given["step"])
    if node.kind == "Concat":
        return opset.concat(operands, 1)
    if node.kind == "Clamp":
        return opset.clamp(x, given["min"], given["max"])
    if node.kind == "Slice":  # of everything
        return x.get_node()
    return POINTWISE[node.kind](*operands)
