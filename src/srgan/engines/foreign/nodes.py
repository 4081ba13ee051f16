"""Reads an openvino graph as a list of its operations on pictures, all sizes known."""

import importlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from srgan.engines.library import openvino

SHUFFLE, UNSHUFFLE = "PixelShuffle", "PixelUnshuffle"
# openvino writes both shuffles as Reshape, Transpose, Reshape.
_SPREAD, _GATHERED = (0, 1, 4, 2, 5, 3), (0, 1, 3, 5, 2, 4)
# How Interpolate finds the nearest neighbour of a pixel: by the upper left corners, or the centres.
REPEATS = {
    ("asymmetric", "floor"),
    ("tf_half_pixel_for_nn", "floor"),
    *(
        (mode, f"round_prefer_{side}")
        for mode in ("half_pixel", "pytorch_half_pixel")
        for side in ("floor", "ceil")
    ),
}

Operand = int | np.ndarray  # the number of a node, or a constant


class Node(NamedTuple):
    """One output of an operation. Its number is its place in the list; node 0 is LR.

    Attributes:
        kind: openvino's name of the operation, or SHUFFLE or UNSHUFFLE.
        names: of openvino's operations that it stands for, the same in clones of the graph. The
            last one's output is the node's.
        reads: its operands.
        shape: of its output.
        attributes: openvino's; of shuffles also "step", the factor, and whether the channels are
            "blocks_first", (place in a block, channel), or as PyTorch's.
        output: which of the operation's outputs.
    """

    kind: str
    names: tuple[str, ...]
    reads: tuple[Operand, ...]
    shape: tuple[int, ...]
    attributes: dict[str, Any]
    output: int = 0

    @property
    def values(self) -> tuple[int, ...]:
        """The operands that are nodes."""
        return tuple(each for each in self.reads if isinstance(each, int))

    @property
    def is_plain(self) -> bool:
        """Whether a convolution has stride 1 and zeros around it that keep the size."""
        given, sides = self.attributes, [each.shape[-2:] for each in self.constants]
        if not sides or given["auto_pad"] != "explicit":
            return False
        border = [side // 2 for side in sides[0]]
        whole = list(given["pads_begin"]) == list(given["pads_end"]) == border
        odd = all(side % 2 for side in sides[0])
        return whole and odd and set(given["strides"]) == set(given["dilations"]) == {1}

    @property
    def repeats(self) -> bool:
        """Whether an Interpolate repeats each pixel, for whole factors."""
        given = self.attributes
        rounding = given["coordinate_transformation_mode"], given["nearest_mode"]
        return given["mode"] == "nearest" and rounding in REPEATS

    @property
    def constants(self) -> list[np.ndarray]:
        return [each for each in self.reads if isinstance(each, np.ndarray)]


def read_nodes(model: openvino.Model, size: tuple[int, int]) -> list[Node] | None:
    """The nodes from LR to SR in an order in which they can run; the last is SR.

    Args:
        model: takes (1, C, H, W) of any size and gives one picture. It is not changed.
        size: height and width of LR in the shapes.

    Returns:
        None if SR does not come from LR alone, a shape is unknown, or the graph does not take that
        size.
    """
    model = model.clone()
    passes: Any = importlib.import_module("openvino.passes")  # it has no types
    manager = passes.Manager()
    manager.register_pass(passes.ConstantFolding())  # what computes sizes becomes constants
    try:
        model.reshape([1, model.input(0).get_partial_shape()[1].get_length(), *size])
        manager.run_passes(model)
    except RuntimeError:
        return None
    numbers: dict[tuple[str, int], Operand] = {}
    nodes: list[Node] = []
    operations: Any = model.get_ordered_ops()
    for operation in operations:
        kind, name = operation.get_type_name(), operation.get_friendly_name()
        reads = tuple(
            numbers[each.get_node().get_friendly_name(), each.get_index()]
            for each in operation.input_values()
        )
        if kind == "Constant":
            numbers[name, 0] = operation.get_data()
        elif kind == "Convert" and isinstance(reads[0], np.ndarray):
            numbers[name, 0] = reads[0].astype(operation.get_element_type().to_dtype())
        elif kind == "Identity":
            numbers[name, 0] = reads[0]
        elif kind == "Result":
            return _in_order(nodes, reads[0])
        else:
            attributes = operation.get_attributes()
            for output in range(operation.get_output_size()):
                if operation.get_output_partial_shape(output).is_dynamic:
                    return None
                numbers[name, output] = len(nodes)
                shape = tuple(operation.get_output_shape(output))
                nodes.append(Node(kind, (name,), reads, shape, attributes, output))
    return None


def steady(nodes: list[Node], others: list[Node]) -> set[int]:
    """The nodes that are the same at two sizes of LR; others depend on the size in their constants.

    Args:
        nodes, others: of one graph at each size. Nodes of graphs that differ are not the same.
    """
    if len(nodes) != len(others):
        return set()
    pairs = enumerate(zip(nodes, others, strict=True))
    return {number for number, (node, other) in pairs if _is_same(node, other)}


def _is_same(node: Node, other: Node) -> bool:
    if (node.kind, node.values) != (other.kind, other.values):
        return False
    if node.kind in ("Interpolate", "Slice"):  # they may get sizes; shapes tell what they do
        return True
    pairs = zip(node.constants, other.constants, strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def _in_order(nodes: list[Node], last: Operand) -> list[Node] | None:
    """What node `last` needs, with whole shuffles; None unless LR is the only input."""
    if not isinstance(last, int):
        return None
    for number in range(len(nodes)):
        shuffle = _shuffle(nodes, number)
        if shuffle is not None:
            nodes[number] = shuffle
    needed: set[int] = set()
    open_ = [last]
    while open_:
        number = open_.pop()
        if number not in needed:
            needed.add(number)
            open_ += nodes[number].values
    order = sorted(needed)
    inputs = [number for number in order if nodes[number].kind == "Parameter"]
    if inputs != order[:1]:
        return None
    new = {number: place for place, number in enumerate(order)}

    def renumbered(reads: tuple[Operand, ...]) -> Iterator[Operand]:
        for each in reads:
            yield new[each] if isinstance(each, int) else each

    return [nodes[number]._replace(reads=(*renumbered(nodes[number].reads),)) for number in order]


def _shuffle(nodes: list[Node], number: int) -> Node | None:
    """A PixelShuffle or PixelUnshuffle that ends with node `number`, as one node."""
    last = nodes[number]
    if last.kind == "DepthToSpace":
        given = last.attributes
        first = given["mode"] == "blocks_first"
        return last._replace(
            kind=SHUFFLE, attributes={"step": given["block_size"], "blocks_first": first}
        )
    if last.kind != "Reshape" or not isinstance(last.reads[0], int):
        return None
    middle = nodes[last.reads[0]]
    if middle.kind != "Transpose" or not isinstance(middle.reads[0], int):
        return None
    first = nodes[middle.reads[0]]
    if first.kind != "Reshape" or not isinstance(first.reads[0], int):
        return None
    order, inner = tuple(int(axis) for axis in middle.constants[0]), first.shape
    before = nodes[first.reads[0]].shape
    if len(inner) != 6 or len(before) != 4:
        return None
    _, channels, height, width = before
    if order == _SPREAD:
        kind, step = SHUFFLE, inner[2]
        whole = (1, channels // step**2, step, step, height, width)
    elif order == _GATHERED:
        kind, step = UNSHUFFLE, inner[3]
        whole = (1, channels, height // step, step, width // step, step)
    else:
        return None
    if inner != whole or len(last.shape) != 4:
        return None
    names = (*first.names, *middle.names, *last.names)
    attributes = {"step": step, "blocks_first": False}
    return Node(kind, names, first.reads[:1], last.shape, attributes)
