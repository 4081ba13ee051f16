"""Imports gradio in half the time, without telemetry and without writing into its package."""

import importlib.util
import inspect
import os
import sys
from pathlib import Path
from typing import Any


def import_gradio(folder: Path) -> Any:
    """Import gradio for pages whose uploads and caches lie in `folder`.

    gradio rewrites a .pyi file for editors in its own package for each of its 80 components. That
    takes half of its 3 s, and fails if the package is read-only. It skips components whose source
    `inspect.getfile` does not find, so that function finds none during the import.
    """
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    _import_when_used("pandas")  # 0.4 s, for tables, which the page lacks
    find_source = inspect.getfile

    def no_source_in_gradio(thing: Any) -> str:
        if getattr(thing, "__module__", "").startswith("gradio."):
            raise OSError
        return find_source(thing)

    inspect.getfile = no_source_in_gradio
    try:
        import gradio
    finally:
        inspect.getfile = find_source
    return gradio


def _import_when_used(name: str) -> None:
    """Delay a package's import until one of its names is used.

    importlib's LazyLoader cannot do it: it counts the import statement's look at `__spec__` as use.
    """
    spec = importlib.util.find_spec(name) if name not in sys.modules else None
    if spec is None:
        return
    stand_in = importlib.util.module_from_spec(spec)

    def import_now(attribute: str) -> Any:
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]
        return getattr(importlib.import_module(name), attribute)

    del stand_in.__path__  # so that importing one of its modules counts as use
    vars(stand_in)["__getattr__"] = import_now
    sys.modules[name] = stand_in
