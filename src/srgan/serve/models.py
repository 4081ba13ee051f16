"""The models that a server offers, each in memory once."""

from collections.abc import Iterable
from pathlib import Path

from srgan.checkpoint import Checkpoint, load_checkpoint
from srgan.config import EngineOptions, OptionError
from srgan.upscaler import Upscaler


class Models:
    """Models by the names that clients use; a client never names a file.

    The first is the default. Not for two threads at once, but for reading `checkpoints`.
    """

    def __init__(self, models: Iterable[str], engine: EngineOptions) -> None:
        """models: names of shipped models, or model files, which go by their name without suffix.

        Raises:
            CheckpointError: a model that cannot be loaded.
            OptionError: two models of one name.
        """
        self.checkpoints: dict[str, Checkpoint] = {}
        self._engine = engine
        self._loaded: dict[str, Upscaler] = {}
        for model in models:
            name = Path(model).name.removesuffix(".safetensors")
            if name in self.checkpoints:
                raise OptionError(f"--model: there are two models named {name}")
            self.checkpoints[name] = load_checkpoint(model)
        self.default = next(iter(self.checkpoints))

    def scale(self, name: str) -> int:
        """SR pixels per LR pixel along each axis."""
        return self.checkpoints[name].architecture.scale

    def get(self, name: str) -> Upscaler:
        """The model, its engine built at the first use."""
        if name not in self._loaded:
            self._loaded[name] = Upscaler(self.checkpoints[name], self._engine)
        return self._loaded[name]
