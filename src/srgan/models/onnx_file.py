"""Reads ONNX files of one picture in and one picture out, and refuses all others, without onnx.

The file is looked through before openvino sees it: data in other files, custom operations, and
tensors larger than the file are refused.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from srgan.errors import UserError
from srgan.models.file import CheckpointError
from srgan.models.foreign import supported
from srgan.networks.foreign import ONNX, ForeignNetwork, Sizes

METADATA = "srgan"  # the key of our own facts in the file's metadata, as JSON
DOMAINS = ("", "ai.onnx")  # of ONNX's own operations
# Fields of the messages of onnx.proto.
GRAPH, OPSETS, PROPERTIES = 7, 8, 14
NODES, INITIALIZERS = 1, 5
OP_TYPE, ATTRIBUTES, DOMAIN = 4, 5, 7
ATTRIBUTE_TENSOR, ATTRIBUTE_GRAPH, ATTRIBUTE_TENSORS, ATTRIBUTE_GRAPHS = 5, 6, 10, 11
DIMENSIONS, TENSOR_NAME, EXTERNAL, LOCATION_KIND = 1, 8, 13, 14
KEY, VALUE = 1, 2

Field = tuple[int, int | memoryview]


class DamagedError(Exception):
    """The bytes are not a message of protocol buffers."""


def read_onnx(path: Path) -> ForeignNetwork:
    """Read an ONNX file.

    Raises:
        CheckpointError: it is damaged, needs other files or custom operations, or does not take
            one picture and give one, enlarged by a whole scale from 1 to 8.
    """
    data = path.read_bytes()
    try:
        facts = _looked_through(path, memoryview(data))
    except (DamagedError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: not a readable ONNX file ({error})") from error
    return _network(path, data, *facts)


def _network(path: Path, data: bytes, parameters: int, info: dict[str, Any]) -> ForeignNetwork:
    from srgan.engines.foreign.onnx_form import inspect_onnx

    try:
        found = inspect_onnx(data)
    except UserError as error:
        raise CheckpointError(f"{path}: {error}") from error
    scale = supported(path, found.scale, found.channels, found.outputs)
    sizes = found.sizes
    if "sizes" in info:
        stated = info["sizes"]
        sizes = Sizes(stated["minimum"], stated["multiple"], stated["square"], sizes.fixed)
    return ForeignNetwork(
        str(info.get("architecture", ONNX)),
        scale,
        found.channels,
        int(info.get("parameters", parameters)),
        sizes,
        hashlib.sha256(data).hexdigest(),
        half=found.half,
        onnx=data,
        info={"name": path.stem, **info},
    )


def _looked_through(path: Path, data: memoryview) -> tuple[int, dict[str, Any]]:
    """The number of stored values, and our own facts. What is refused is a CheckpointError."""
    info: dict[str, Any] = {}
    parameters = 0
    graphs = 0
    for number, value in _fields(data):
        if number == OPSETS:
            _check_domain(path, _text(value, KEY))
        if number == PROPERTIES and _text(value, KEY) == METADATA:
            info = _facts(_text(value, VALUE))
        if number == GRAPH:
            graphs += 1
            parameters += _look_through_graph(path, _message(value), len(data))
    if not graphs:
        raise DamagedError("it has no graph")
    return parameters, info


def _facts(text: str) -> dict[str, Any]:
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError) as error:
        raise DamagedError("its metadata is damaged") from error


def _look_through_graph(path: Path, graph: memoryview, size: int) -> int:
    values = 0
    for number, value in _fields(graph):
        if number == INITIALIZERS:
            values += _look_through_tensor(path, _message(value), size)
        if number == NODES:
            node = _message(value)
            _check_domain(path, _text(node, DOMAIN), _text(node, OP_TYPE))
            for attribute in (_message(v) for n, v in _fields(node) if n == ATTRIBUTES):
                for kind, inner in _fields(attribute):
                    if kind in (ATTRIBUTE_TENSOR, ATTRIBUTE_TENSORS):
                        _look_through_tensor(path, _message(inner), size)
                    if kind in (ATTRIBUTE_GRAPH, ATTRIBUTE_GRAPHS):
                        _look_through_graph(path, _message(inner), size)
    return values


def _look_through_tensor(path: Path, tensor: memoryview, size: int) -> int:
    """The number of values of a tensor."""
    values = 1
    for number, value in _fields(tensor):
        if number == DIMENSIONS:
            for side in [value] if isinstance(value, int) else _packed(value):
                values *= side
        if number == EXTERNAL or (number == LOCATION_KIND and value == 1):
            raise CheckpointError(
                f"{path}: refused: its weights are in other files; save it as one file with "
                "onnx.save(model, path, save_as_external_data=False)"
            )
    if values > size * 8:  # a value takes at least a few bits
        raise CheckpointError(
            f"{path}: damaged: a tensor claims {values:,} values, more than the file holds"
        )
    return values


def _check_domain(path: Path, domain: str, operation: str = "") -> None:
    if domain not in DOMAINS:
        what = f"the operation {operation} of {domain}" if operation else f"operations of {domain}"
        raise CheckpointError(
            f"{path}: refused: it needs {what}; only ONNX's own operations can run"
        )


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise DamagedError("a number instead of a message")
    return value


def _text(value: int | memoryview, number: int) -> str:
    """The first string of a message's field; empty without one."""
    for found, text in _fields(_message(value)):
        if found == number:
            return str(bytes(_message(text)), "utf-8")
    return ""


def _fields(data: memoryview) -> Iterator[Field]:
    """The fields of a message: number, and value; fixed-width numbers as their bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == 2:
            length, at = _varint(data, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise DamagedError(f"a field of kind {kind}")
        if at + length > len(data):
            raise DamagedError("it ends too early")
        yield number, data[at : at + length]
        at += length


def _packed(data: memoryview) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise DamagedError("it ends too early")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def with_facts(data: bytes, info: dict[str, Any]) -> bytes:
    """An ONNX file with our own facts in its metadata. Messages can be appended to each other."""
    entry = _field(KEY, METADATA.encode()) + _field(VALUE, json.dumps(info).encode())
    return data + _field(PROPERTIES, entry)


def _field(number: int, content: bytes) -> bytes:
    return _encoded(number << 3 | 2) + _encoded(len(content)) + content


def _encoded(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
