"""A run's log for wandb (Weights & Biases), beside metrics.jsonl and TensorBoard."""

import importlib
import logging
import os
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from srgan.errors import reason_of
from srgan.pictures.files import replace_file
from srgan.training.run.files import WANDB
from srgan.training.run.logbook import RunError

ID = f"{WANDB}-id"  # a file in the run folder: a resumed run continues the same curves
PROJECT = "srgan"  # unless WANDB_PROJECT names another one

log = logging.getLogger("srgan")


class WandbLog:
    """Logs the values and the sample grids of a run to wandb.

    Where and whether they are sent is wandb's matter: WANDB_MODE, WANDB_PROJECT, `wandb login`.
    A service that fails must not end a run: `write` and `picture` warn once, then do nothing.

    Args:
        folder: of the run; wandb keeps its files in the folder wandb in it.
        iteration: the one after which the run continues; 0 for a new run.
        options: of the run, shown beside its curves.

    Raises:
        RunError: wandb cannot start, as where nobody has logged in.
    """

    def __init__(self, folder: Path, iteration: int, options: Mapping[str, Any]) -> None:
        self._wandb: Any = importlib.import_module(WANDB)
        known = folder / ID
        new = not (iteration and known.exists())
        name = uuid.uuid4().hex if new else known.read_text(encoding="utf-8").strip()
        try:
            self._run: Any = self._wandb.init(
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                name=folder.resolve().name,
                id=name,
                resume="allow",
                dir=str(folder),
                config=dict(options),
                settings=self._wandb.Settings(console="off", silent=True),  # the display is ours
            )
            # Not wandb's own count of steps, which cannot go back to the state that is resumed.
            self._run.define_metric("*", step_metric="iteration")
        except Exception as error:  # wandb's own, of its service or of the network
            raise RunError(
                f"--log wandb: wandb cannot start ({reason_of(error)[:200]}): run wandb login, or "
                "set WANDB_MODE=offline"
            ) from error
        if new:
            replace_file(known, name.encode())

    def write(self, iteration: int, values: Mapping[str, float]) -> None:
        """Log numbers by name."""
        self._send(lambda run: run.log({"iteration": iteration, **values}))

    def picture(self, iteration: int, name: str, image: np.ndarray) -> None:
        """Log a uint8 RGB picture (H, W, 3)."""
        self._send(lambda run: run.log({"iteration": iteration, name: self._wandb.Image(image)}))

    def close(self) -> None:
        """Wait until everything is sent."""
        self._send(lambda run: run.finish())

    def _send(self, give: Callable[[Any], object]) -> None:
        if self._run is None:
            return
        try:
            give(self._run)
        except Exception as error:
            log.warning("wandb fails, training continues without it: %s", reason_of(error)[:200])
            self._run = None
