"""Shows the progress of `srgan cluster upscale`: a bar on a terminal, lines in a file."""

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from srgan.progress import ProgressLines, time_left


class BulkDisplay:
    """Shows a job's progress on stderr, and the reason of every picture that fails.

    Args:
        total: number of pictures to upscale.
    """

    def __init__(self, total: int) -> None:
        self._total, self._done, self._megapixels = total, 0, 0.0
        self._start = time.monotonic()
        self._lines = ProgressLines()
        self._bar = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[pace]}"),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task("", total=total, pace="the actors start")

    def __enter__(self) -> "BulkDisplay":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def add(self, reason: str | None, megapixels: float) -> None:
        """Count one more picture.

        Args:
            reason: why it failed; None if it is done.
            megapixels: of its result.
        """
        self._done += 1
        self._megapixels += megapixels
        if reason is not None:
            print(reason, file=sys.stderr, flush=True)
        self._bar.update(self._task, completed=self._done, pace=self.pace())
        self._lines.say(f"{self._done} of {self._total} pictures, {self.pace()}")

    def pace(self) -> str:
        """Mean pictures and SR megapixels per second since the start, and the time left."""
        seconds = max(time.monotonic() - self._start, 1e-9)
        left = time_left(seconds, max(self._done, 1), self._total)
        rate, megapixels = self._done / seconds, self._megapixels / seconds
        return f"{rate:.2f} pictures/s, {megapixels:.2f} MP/s, {left} left"
