"""Networks of other projects by our own convolutions: from nodes of a graph to a program."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from srgan.engines.foreign.nodes import SHUFFLE, UNSHUFFLE, Node
from srgan.engines.kernels import WHOLE, Kernels
from srgan.engines.programs import Apply, Convolve, Program, Repeat, Step, Sum

# Others, such as sigmoids, would take longer in NumPy than the convolutions save.
BINARY: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "Add": np.add,
    "Divide": np.divide,
    "Maximum": np.maximum,
    "Minimum": np.minimum,
    "Multiply": np.multiply,
    "PRelu": lambda x, slope: np.where(x > 0, x, x * slope),
    "Subtract": np.subtract,
}


class UnsuitableError(Exception):
    """The network has an operation that no step computes."""


def program(
    nodes: Sequence[Node],
    run: Sequence[int],
    inputs: Sequence[int],
    results: Sequence[int],
    threads: int,
) -> Program:
    """The program of a part of a network.

    Args:
        nodes: of the whole network.
        run: numbers of the nodes to run, in order.
        inputs, results: numbers of nodes.

    Raises:
        UnsuitableError: it cannot be made.
        EngineError: the convolutions cannot run here.
    """
    builder = _Builder(nodes, run, inputs, results)
    for number in run:
        if number not in inputs:
            builder.add(number)
    values = [builder.value(number) for number in results]
    return Program(builder.steps, len(inputs), values, threads)


@dataclass
class _Pending:
    """A convolution that later nodes may still complete: PReLU, then PixelShuffle or plus.

    Attributes:
        parts: numbers of values.
        plus: the number of a value.
    """

    parts: tuple[int, ...]
    weight: np.ndarray
    bias: np.ndarray
    slopes: np.ndarray | None = None
    shuffle: int = 1
    plus: int | None = None

    def scaled(self, factors: np.ndarray) -> None:
        """Multiply the result by a factor, or one for each channel."""
        self.weight = self.weight * factors.reshape(-1, 1, 1, 1)
        self.bias = self.bias * factors


class _Builder:
    """Turns nodes into steps.

    What a node gives is one or more values side by side (a concatenation costs nothing), or a
    convolution that is not a step yet, or a value times a factor.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        run: Sequence[int],
        inputs: Sequence[int],
        results: Sequence[int],
    ) -> None:
        self._nodes = nodes
        self._users = Counter(value for number in run for value in nodes[number].values)
        self._users.update(results)
        self._inputs = len(inputs)
        self.steps: list[Step] = []
        self._parts: dict[int, tuple[int, ...]] = {n: (at,) for at, n in enumerate(inputs)}
        self._pending: dict[int, _Pending] = {}
        self._factors: dict[int, tuple[int, float]] = {}  # node and factor
        self._channels = {at: nodes[number].shape[1] for at, number in enumerate(inputs)}

    def add(self, number: int) -> None:
        node = self._nodes[number]
        if not node.values or any(len(shape) != 4 for shape in self._shapes(node)):
            raise UnsuitableError(node.kind)
        if node.kind == "Convolution":
            self._pending[number] = self._convolution(node)
        elif node.kind == "Concat" and node.attributes["axis"] in (1, -3) and not node.constants:
            self._parts[number] = tuple(part for each in node.values for part in self.parts(each))
        elif not self._completed(number, node):
            self._applied(number, node)

    def value(self, number: int) -> int:
        """The number of the one value that a node gives."""
        parts = self.parts(number)
        if len(parts) == 1:
            return parts[0]
        joined = self._step(Apply(_joined, parts), self._nodes[number].shape[1])
        self._parts[number] = (joined,)
        return joined

    def parts(self, number: int) -> tuple[int, ...]:
        """The numbers of the values that a node gives."""
        if number in self._pending:
            self._parts[number] = (self._convolve(self._pending.pop(number)),)
        if number in self._factors and number not in self._parts:
            source, factor = self._factors[number]
            scaled = Apply(partial(np.multiply, np.float32(factor)), (self.value(source),))
            self._parts[number] = (self._step(scaled, self._nodes[number].shape[1]),)
        return self._parts[number]

    def _shapes(self, node: Node) -> list[tuple[int, ...]]:
        return [node.shape, *(self._nodes[value].shape for value in node.values)]

    def _step(self, step: Step, channels: int) -> int:
        self.steps.append(step)
        number = self._inputs + len(self.steps) - 1
        self._channels[number] = channels
        return number

    def _convolution(self, node: Node) -> _Pending:
        constants = node.constants
        if not constants or not node.is_plain or len(set(constants[0].shape[2:])) > 1:
            raise UnsuitableError("a convolution with a stride, other borders or computed kernels")
        weight = constants[0].astype(np.float32)
        return _Pending(self.parts(node.values[0]), weight, np.zeros(len(weight), np.float32))

    def _convolve(self, pending: _Pending) -> int:
        whole = all(self._channels[part] % WHOLE == 0 for part in pending.parts)
        made = Kernels(pending.weight, pending.bias, pending.slopes, pending.shuffle, whole=whole)
        channels = made.outputs // made.shuffle**2
        return self._step(Convolve(pending.parts, made, pending.plus), channels)

    def _completed(self, number: int, node: Node) -> bool:
        """Whether a convolution, or a factor, takes the node in."""
        if node.kind == "Add" and len(node.values) == 2:
            return self._added(number, node.values)
        first = node.values[0]
        pending = self._pending.get(first) if self._users[first] == 1 else None
        if pending is not None and self._taken_in(pending, node):
            self._pending[number] = self._pending.pop(first)
            return True
        if node.kind == "Multiply" and len(node.constants) == 1 and node.constants[0].size == 1:
            self._factors[number] = first, float(node.constants[0].item())
            return True
        return False

    def _taken_in(self, pending: _Pending, node: Node) -> bool:
        """Let a convolution compute the node, too; false where it cannot."""
        if pending.plus is not None:
            return False
        fills = node.kind == SHUFFLE and self._fills(node.shape[1])
        if fills and pending.shuffle == 1 and not node.attributes["blocks_first"]:
            pending.shuffle = node.attributes["step"]
            return True
        if pending.shuffle > 1 or node.kind not in ("Add", "Multiply", "PRelu", "Relu"):
            return False
        constants = [_by_channel(each, node) for each in node.constants]
        if not constants and node.kind != "Relu":
            return False
        constant = constants[0] if constants else np.zeros(1, np.float32)
        if constant.size not in (1, len(pending.bias)):  # it makes one channel several
            return False
        if node.kind == "Multiply":
            if pending.slopes is not None and (constant < 0).any():
                return False
            pending.scaled(constant)
        elif pending.slopes is not None:
            return False
        elif node.kind == "Add":
            pending.bias = pending.bias + constant
        else:
            pending.slopes = np.broadcast_to(constant, pending.bias.shape)
        return True

    def _added(self, number: int, values: tuple[int, ...]) -> bool:
        """Add two nodes: as a convolution's plus, or as a sum."""
        channels = self._nodes[number].shape[1]
        if len({self._nodes[value].shape for value in values}) > 1:
            return False
        for first, second in (values, values[::-1]):
            pending = self._pending.get(first) if self._users[first] == 1 else None
            if pending is None or pending.plus is not None or pending.shuffle > 1:
                continue
            if first != second and self._fills(channels) and second not in self._factors:
                pending.plus = self.value(second)
                self._pending[number] = self._pending.pop(first)
                return True
        (x, a), (z, b) = (self._factors.get(value, (value, 1.0)) for value in values)
        self._parts[number] = (self._step(Sum(self.value(x), a, self.value(z), b), channels),)
        return True

    @staticmethod
    def _fills(channels: int) -> bool:
        return channels % WHOLE == 0

    def _applied(self, number: int, node: Node) -> None:
        """A step that stands for itself."""
        values = tuple(self.value(each) for each in node.values)
        if node.kind == "Interpolate":
            step: Step = Repeat(values[0], self._factor(node))
        else:
            step = Apply(self._function(node), values)
        self._parts[number] = (self._step(step, node.shape[1]),)

    def _factor(self, node: Node) -> int:
        """By which nearest neighbours enlarge."""
        _, _, height, width = self._nodes[node.values[0]].shape
        down, across = node.shape[2] / height, node.shape[3] / width
        if not node.repeats or down != across or down != int(down):
            raise UnsuitableError(node.kind)
        return int(down)

    def _function(self, node: Node) -> Callable[..., np.ndarray]:
        given = node.attributes
        if node.kind == "Relu":
            return partial(np.maximum, np.float32(0))
        if node.kind in BINARY:
            operands = [
                _by_channel(each, node) if isinstance(each, np.ndarray) else None
                for each in node.reads
            ]
            return partial(_binary, BINARY[node.kind], operands)
        if node.kind == "Clamp":
            return partial(np.clip, a_min=np.float32(given["min"]), a_max=np.float32(given["max"]))
        if node.kind == SHUFFLE:
            return partial(_shuffled, given["step"], given["blocks_first"])
        if node.kind == UNSHUFFLE:
            return partial(_unshuffled, given["step"])
        raise UnsuitableError(node.kind)


def _by_channel(constant: np.ndarray, node: Node) -> np.ndarray:
    """A constant as (C,) or (1,).

    Raises:
        UnsuitableError: it has a value for each place.
    """
    # (C,) goes along the rows, but for slopes.
    by_channel = constant.ndim >= 3 and constant.shape[-2:] == (1, 1)
    by_channel |= constant.ndim == 1 and node.kind == "PRelu"
    if constant.size != 1 and not (by_channel and constant.size == node.shape[1]):
        raise UnsuitableError("a constant for each place")
    return constant.astype(np.float32).reshape(-1)


def _binary(
    function: Callable[[np.ndarray, np.ndarray], np.ndarray],
    operands: list[np.ndarray | None],
    *values: np.ndarray,
) -> np.ndarray:
    """A function of two operands; None stands for the next value."""
    rest = iter(values)
    first, second = (next(rest) if each is None else each for each in operands)
    return function(first, second)


def _joined(*values: np.ndarray) -> np.ndarray:
    return np.concatenate(values, 2)


def _shuffled(step: int, blocks_first: bool, x: np.ndarray) -> np.ndarray:
    """PixelShuffle."""
    height, width, channels = x.shape
    if blocks_first:
        parts = x.reshape(height, width, step, step, channels // step**2).transpose(0, 2, 1, 3, 4)
    else:
        parts = x.reshape(height, width, channels // step**2, step, step).transpose(0, 3, 1, 4, 2)
    return parts.reshape(height * step, width * step, -1)


def _unshuffled(step: int, x: np.ndarray) -> np.ndarray:
    """PixelUnshuffle."""
    height, width, channels = x.shape
    parts = x.reshape(height // step, step, width // step, step, channels)
    return parts.transpose(0, 2, 4, 1, 3).reshape(height // step, width // step, -1)
