"""The values of a run, as means over an interval, for the display and the logbook."""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from srgan.training.run.display import TrainingDisplay
from srgan.training.run.logbook import Logbook
from srgan.training.run.wandb_log import WandbLog

Batch = TypeVar("Batch")


class Interval:
    """Collects the values of some iterations; `means` waits for the device once.

    Attributes:
        iterations: their number.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self.iterations = 0
        self._waited = 0.0
        self._start = time.monotonic()

    def next(self, batches: Iterator[Batch]) -> Batch:
        """The next batch. The time that it takes counts as waiting for data."""
        start = time.monotonic()
        batch = next(batches)
        self._waited += time.monotonic() - start
        return batch

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Add the scalars of an iteration."""
        self.iterations += 1
        for name, value in values.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value

    def means(self, accelerator: Accelerator, batch_size: int) -> dict[str, float]:
        """Means over the iterations and over all processes, and speeds.

        Every process must call it.

        Args:
            batch_size: crops of an iteration, over all processes.

        Returns:
            The means by name, "speed/iterations_per_second", "speed/patches_per_second" and
            "speed/data_wait", the share of the time spent waiting for data.
        """
        sums: Tensor = accelerator.reduce(torch.stack(list(self._sums.values())), "mean")
        means = [float(value) / self.iterations for value in sums.cpu()]
        seconds = time.monotonic() - self._start
        return {
            **dict(zip(self._sums, means, strict=True)),
            "speed/iterations_per_second": self.iterations / seconds,
            "speed/patches_per_second": batch_size * self.iterations / seconds,
            "speed/data_wait": self._waited / seconds,
        }


class Report:
    """Display and logbook of the main process; other processes show and write nothing.

    Args:
        title: name of the run and its folder.
        iteration: the one after which the run continues; 0 for a new run.
        total: iterations, or None if the run ends after a time.
        main: this is the main process.
        options: of the run, for wandb; None if it does not log there.

    Raises:
        RunError: the log cannot be opened.
    """

    def __init__(
        self,
        folder: Path,
        title: str,
        iteration: int,
        total: int | None,
        main: bool,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._display: TrainingDisplay | None = None
        self._logs: list[Logbook | WandbLog] = []
        with ExitStack() as stack:
            if main:
                self._logs.append(stack.enter_context(Logbook(folder, iteration)))
            if main and options is not None:
                wandb = stack.enter_context(closing(WandbLog(folder, iteration, options)))
                self._logs.append(wandb)
            if main:
                self._display = stack.enter_context(TrainingDisplay(title, total=total))
            self._stack = stack.pop_all()

    def __enter__(self) -> "Report":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def tick(self, iteration: int, progress: float) -> None:
        """Show the progress, 0 to 1; cheap enough for every iteration."""
        if self._display:
            self._display.update(iteration, progress, {})

    def values(self, iteration: int, progress: float, values: Mapping[str, float]) -> None:
        """Log and show the values of an interval or of a validation."""
        if self._display:
            for log in self._logs:
                log.write(iteration, values)
            self._display.update(iteration, progress, values)
            self._display.line(iteration, progress, values)

    def message(self, text: str) -> None:
        """Show a line of text."""
        if self._display:
            self._display.message(text)

    def picture(self, iteration: int, image: np.ndarray) -> None:
        """Log the sample grid, RGB uint8 (H, W, 3)."""
        if self._display:
            for log in self._logs:
                log.picture(iteration, "samples", image)
