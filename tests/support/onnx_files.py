"""Small ONNX files: a convolution and a DepthToSpace, in the forms that people's files have."""

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

Shape = list[int | str]


def weights(scale: int, channels: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 0.05, (channels * scale**2, channels, 3, 3)).astype(np.float32)
    for output in range(len(weight)):
        weight[output, output // scale**2, 1, 1] += 0.8
    return weight


def model(
    *,
    scale: int = 2,
    channels: int = 3,
    size: tuple[int | str, int | str] = ("height", "width"),
    uint8_nhwc: bool = False,
    extra: list[Any] | None = None,
) -> Any:
    """An ONNX model whose SR is LR convolved, and rearranged."""
    constants = [numpy_helper.from_array(weights(scale, channels), "weight")]
    nodes = []
    x = "lr"
    if uint8_nhwc:
        constants.append(numpy_helper.from_array(np.array(255, np.float32), "top"))
        nodes += [
            helper.make_node("Cast", [x], ["float"], to=TensorProto.FLOAT),
            helper.make_node("Div", ["float", "top"], ["unit"]),
            helper.make_node("Transpose", ["unit"], ["planes"], perm=[0, 3, 1, 2]),
        ]
        x = "planes"
    nodes.append(helper.make_node("Conv", [x, "weight"], ["features"], pads=[1, 1, 1, 1]))
    y = "features"
    if scale > 1:
        shuffle = {"blocksize": scale, "mode": "CRD"}
        nodes.append(helper.make_node("DepthToSpace", [y], ["large"], **shuffle))
        y = "large"
    if uint8_nhwc:
        constants += [
            numpy_helper.from_array(np.array(v, np.float32), n) for v, n in ((0, "a"), (1, "b"))
        ]
        nodes += [
            helper.make_node("Clip", [y, "a", "b"], ["clipped"]),
            helper.make_node("Mul", ["clipped", "top"], ["levels"]),
            helper.make_node("Round", ["levels"], ["rounded"]),
            helper.make_node("Transpose", ["rounded"], ["last"], perm=[0, 2, 3, 1]),
            helper.make_node("Cast", ["last"], ["sr"], to=TensorProto.UINT8),
        ]
    else:
        nodes.append(helper.make_node("Identity", [y], ["sr"]))
    kind = TensorProto.UINT8 if uint8_nhwc else TensorProto.FLOAT

    def port(name: str, height: int | str, width: int | str) -> Any:
        shape: Shape = [1, height, width, channels] if uint8_nhwc else [1, channels, height, width]
        return helper.make_tensor_value_info(name, kind, shape)

    large = [side * scale if isinstance(side, int) else f"sr_{side}" for side in size]
    graph = helper.make_graph(
        [*nodes, *(extra or [])], "g", [port("lr", *size)], [port("sr", *large)], constants
    )
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def save(path: Path, **options: Any) -> Path:
    path.write_bytes(model(**options).SerializeToString())
    return path
