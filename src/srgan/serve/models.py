"""The models that a server offers, each in memory once."""

from collections.abc import Iterable
from pathlib import Path

from srgan import auto
from srgan.config import EngineOptions, OptionError
from srgan.upscaler import Upscaler


def public_name(model: str) -> str:
    """What clients call a model: nothing of where its file lies."""
    return Path(model).name.removesuffix(".safetensors")


class Models:
    """Models by the names that clients use; a client never names a file.

    The first is the default.
    """

    def __init__(self, models: Iterable[str], engine: EngineOptions) -> None:
        """models: auto, shipped models, or model files, which go by their name without suffix.

        Raises:
            CheckpointError: a model that cannot be loaded.
            OptionError: two models of one name.
        """
        self._offered: dict[str, auto.Models] = {}
        upscalers: dict[str, Upscaler] = {}
        for model in models:
            name = public_name(model)
            if name in self._offered:
                raise OptionError(f"--model: there are two models named {name}")
            self._offered[name] = auto.Models(model, None, engine, upscalers)
        self.names = list(self._offered)
        self.default = self.names[0]

    def __getitem__(self, name: str) -> auto.Models:
        """What a name stands for. Only one thread at once may upscale by it."""
        return self._offered[name]
