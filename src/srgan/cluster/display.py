"""What `srgan cluster upscale` shows: a progress bar, or lines where it goes to a file."""

import sys
import time
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

LINE_SECONDS = 60.0


class BulkDisplay:
    """Shows how far a job is, on stderr; every picture that fails is named with its reason.

    Args:
        total: pictures to do.
    """

    def __init__(self, total: int) -> None:
        self._total, self._done, self._megapixels = total, 0, 0.0
        self._start = self._said = time.monotonic()
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
        """One more picture is done, or failed for a reason."""
        self._done += 1
        self._megapixels += megapixels
        if reason is not None:
            print(reason, file=sys.stderr, flush=True)
        self._bar.update(self._task, completed=self._done, pace=self.pace())
        now = time.monotonic()
        if self._bar.disable and now - self._said >= LINE_SECONDS:
            self._said = now
            print(f"{self._done} of {self._total} pictures, {self.pace()}", file=sys.stderr)

    def pace(self) -> str:
        """Pictures and megapixels of SR a second, from the mean since the start, and time left."""
        seconds = max(time.monotonic() - self._start, 1e-9)
        left = timedelta(seconds=round(seconds * (self._total / max(self._done, 1) - 1)))
        rate, megapixels = self._done / seconds, self._megapixels / seconds
        return f"{rate:.2f} pictures/s, {megapixels:.2f} MP/s, {left} left"
