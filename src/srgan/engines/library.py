"""Imports openvino without the parts that it loads unasked. Import it from here only."""

import importlib
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

# Without the import of openvino_telemetry, openvino sends no telemetry. The converter of other
# frameworks' models takes most of openvino's time to import, and only networks of torch need it.
_TELEMETRY, _CONVERTER = "openvino_telemetry", "openvino.tools.ovc"


@contextmanager
def _without(module: str) -> Generator[None]:
    modules = cast("dict[str, Any]", sys.modules)
    if module in modules:
        yield
        return
    modules[module] = None
    try:
        yield
    finally:
        del modules[module]


cast("dict[str, object]", sys.modules).setdefault(_TELEMETRY, None)
with _without(_CONVERTER):
    import openvino
    from openvino import opset13

opset: Any = opset13  # its functions are only partly typed


def convert_model(*arguments: Any, **options: Any) -> openvino.Model:
    """openvino's `convert_model`."""
    return importlib.import_module(_CONVERTER).convert_model(*arguments, **options)
