"""gradio, imported in half the time, with nothing sent home and nothing written beside it."""

import importlib.util
import inspect
import os
import sys
from pathlib import Path
from typing import Any


def import_gradio(folder: Path) -> Any:
    """Import gradio for pages whose uploads and caches lie in `folder`.

    As each of its 80 components is defined, gradio rewrites a .pyi file for editors in its own
    package. That is half of its 3 s, and impossible where the package is read-only. It gives up
    where `inspect.getfile` finds no source, so for that while it finds none.
    """
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    _import_when_used("pandas")  # 0.4 s, for tables, of which the page has none
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
    """Put off a package's import to the first use of one of its names.

    Not by importlib's LazyLoader: an import statement looks at `__spec__`, and to it that is use.
    """
    spec = importlib.util.find_spec(name) if name not in sys.modules else None
    if spec is None:
        return
    stand_in = importlib.util.module_from_spec(spec)

    def import_now(attribute: str) -> Any:
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]
        return getattr(importlib.import_module(name), attribute)

    del stand_in.__path__  # so that an import of one of its modules is use, too
    stand_in.__getattr__ = import_now  # type: ignore[method-assign]
    sys.modules[name] = stand_in
