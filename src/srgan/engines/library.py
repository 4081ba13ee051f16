"""Imports openvino without the parts that it loads unasked, and its Core. Import them from here."""

import functools
import importlib
import sys
from typing import Any, cast

_CONVERTER = "openvino.tools.ovc"

_modules = cast("dict[str, Any]", sys.modules)
# Without openvino_telemetry, openvino sends no telemetry. The converter of other frameworks' models
# takes most of openvino's time to import, and only networks of torch need it.
_modules.setdefault("openvino_telemetry", None)
_modules.setdefault(_CONVERTER, None)

import openvino  # noqa: E402
from openvino import opset13  # noqa: E402

if _modules[_CONVERTER] is None:  # it can be imported from now on
    del _modules[_CONVERTER]

opset: Any = opset13  # its functions are only partly typed


def convert_model(*arguments: Any, **options: Any) -> openvino.Model:
    """openvino's `convert_model`."""
    return importlib.import_module(_CONVERTER).convert_model(*arguments, **options)


@functools.cache
def shared_core() -> openvino.Core:
    """The one Core of the process; it lives as long as the process.

    Two Cores can crash the process. On Linux the CPU plugin of a Core gives the thread a signal
    stack, and restores the previous one when the Core ends. If two Cores end in the order in which
    they began, the second restores the stack of the first, which is unmapped by then. The next
    signal that Python handles ends the process by SIGSEGV.
    """
    return openvino.Core()
