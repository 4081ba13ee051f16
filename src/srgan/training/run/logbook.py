"""The log of a training run: metrics.jsonl, and the same values for TensorBoard.

metrics.jsonl has one JSON object a line: "iteration", and names such as "loss/pixel" with a
number each, or null for one that was not finite (JSON has no NaN).
"""

import json
import logging
import math
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from srgan.errors import UserError
from srgan.pictures.files import replace_file
from srgan.training.run.files import METRICS

TENSORBOARD = "tensorboard"
ROOM = 16 * 2**20  # bytes that must be free on the disk to write for TensorBoard

logger = logging.getLogger("srgan")


class RunError(UserError):
    """A run or its folder cannot be used: one line with the reason and what to do."""


class Logbook:
    """Appends to the log of the run in `folder`.

    A full disk must not end a run that has trained for days: `write` and `picture` warn once,
    and write again when there is space.

    Args:
        folder: of the run; it exists.
        iteration: the one after which the run continues; 0 for a new run. Entries of later
            iterations, from before an interruption, are removed from the log.

    Raises:
        RunError: the log cannot be opened.
    """

    def __init__(self, folder: Path, iteration: int = 0) -> None:
        # Slow to import, and reading metrics needs no torch.
        from torch.utils.tensorboard import SummaryWriter

        path = folder / METRICS
        try:
            _remove_later(path, iteration)
            # Unbuffered: each line is in the file at once.
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise RunError(f"{path}: cannot be written: {error.strerror}") from error
        self._folder = folder
        self._warned = False
        self._events: SummaryWriter | None
        tensorboard = folder / TENSORBOARD
        try:
            self._events = SummaryWriter(str(tensorboard), purge_step=iteration + 1)
        except OSError as error:
            self._file.close()
            raise RunError(f"{tensorboard}: cannot be written: {error.strerror}") from error
        except UnicodeEncodeError:
            self._events = None
            logger.warning("%s: not UTF-8: there will be no TensorBoard events", tensorboard)

    def __enter__(self) -> "Logbook":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, iteration: int, values: Mapping[str, float]) -> None:
        """Log numbers by name, "group/name": a line in metrics.jsonl, scalars in TensorBoard."""
        try:
            self._append(_line(iteration, values))
        except OSError as error:
            self._warn(str(error.strerror))

        def add(events: Any) -> None:
            for name, value in values.items():
                events.add_scalar(name, value, iteration)

        self._to_tensorboard(add)

    def picture(self, iteration: int, name: str, image: np.ndarray) -> None:
        """Log a uint8 RGB picture (H, W, 3), in TensorBoard only."""
        self._to_tensorboard(
            lambda events: events.add_image(name, image, iteration, dataformats="HWC")
        )

    def close(self) -> None:
        """Write the events that TensorBoard still holds in memory, and close the files."""
        self._file.close()
        if self._events is not None:
            try:
                self._events.close()
            except OSError as error:
                self._warn(str(error.strerror))

    def _append(self, line: bytes) -> None:
        """Append a line or, if the disk is full, no part of it."""
        end = self._file.seek(0, os.SEEK_END)
        try:
            written = self._file.write(line)
            if written < len(line):
                # The disk took a part. The second attempt raises the error that says why.
                self._file.write(line[written:])
        except OSError:
            self._file.truncate(end)
            raise

    def _to_tensorboard(self, add: Callable[[Any], None]) -> None:
        """Give events to TensorBoard's thread, which a full disk would end with a traceback."""
        if self._events is None:
            return
        try:
            if shutil.disk_usage(self._folder).free < ROOM:
                self._warn("the disk is full")
            else:
                add(self._events)
        except OSError as error:  # the thread has ended with it, for instance due to a quota
            self._warn(str(error.strerror))
            self._events = None

    def _warn(self, reason: str) -> None:
        if not self._warned:
            logger.warning("%s: cannot write the log, training continues: %s", self._folder, reason)
        self._warned = True


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl, without a last one that was cut off.

    Returns:
        A dict for each line: "iteration", and values by name: float, or None if not finite.

    Raises:
        RunError: there is no such file, or it cannot be read.
    """
    path = folder / METRICS
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError as error:
        raise RunError(f"{folder}: not a run folder: {METRICS} is missing") from error
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}") from error
    return [values for line in lines if (values := _parse(line)) is not None]


def _line(iteration: int, values: Mapping[str, float]) -> bytes:
    numbers = {name: value if math.isfinite(value) else None for name, value in values.items()}
    return json.dumps({"iteration": iteration, **numbers}, allow_nan=False).encode() + b"\n"


def _parse(line: bytes) -> dict[str, Any] | None:
    """A line's values; None for a line that a crash cut off."""
    try:
        parsed: Any = json.loads(line)
    except ValueError:
        return None
    if not isinstance(parsed, dict):
        return None
    values = cast(dict[str, Any], parsed)
    return values if isinstance(values.get("iteration"), int) else None


def _remove_later(path: Path, iteration: int) -> None:
    """Keep the whole lines up to `iteration`. An interruption leaves the old file or the new."""
    if not path.exists():
        return
    old = path.read_bytes()
    lines = [(line, _parse(line)) for line in old.splitlines()]
    kept = [line + b"\n" for line, values in lines if values and values["iteration"] <= iteration]
    new = b"".join(kept)
    if new != old:
        replace_file(path, new)
