"""Figures of networks that were measured once, in a cache: one small file for each network."""

import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

from srgan.pictures.files import replace_file

VERSION = 1  # raise it when the measurements change


class Figures:
    """The measured figures of one network by name, as JSON values.

    They are kept in `SRGAN_CACHE`, by default the user's cache folder, in a file named after the
    network's weights. They are measured again with another version of openvino, which may compute
    faster, or wrongly. Without a folder that can be written, they live as long as the process.

    Args:
        digest: of the network's weights.
        known: figures that the model file itself holds.
    """

    def __init__(self, digest: str, known: dict[str, Any] | None = None) -> None:
        self._path = cache_folder() / f"{digest}.json"
        self._figures = {**self._read(), **(known or {})}

    def get(self, name: str) -> Any:
        """A figure, or None if it has not been measured."""
        return self._figures.get(name)

    def put(self, name: str, figure: Any) -> None:
        """Keep a figure."""
        self._figures[name] = figure
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Another process may have measured other figures meanwhile.
            merged = {**self._read(), **self._figures, "version": _version()}
            replace_file(self._path, json.dumps(merged, indent=1).encode())
        except OSError:  # a read-only home: measure again next time
            pass

    def _read(self) -> dict[str, Any]:
        try:
            figures: dict[str, Any] = dict(json.loads(self._path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return {}
        return figures if figures.get("version") == _version() else {}


def _version() -> str:
    return f"{VERSION}, openvino {version('openvino')}"


def cache_folder() -> Path:
    """The folder of the measured figures."""
    from platformdirs import user_cache_path

    own = os.environ.get("SRGAN_CACHE")
    return Path(own) if own else user_cache_path("srgan") / "networks"
