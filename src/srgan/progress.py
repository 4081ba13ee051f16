"""The progress of long work as lines on stderr, where a terminal would show a bar."""

import sys
import time
from datetime import timedelta

SILENCE = 30.0  # seconds between two lines


class ProgressLines:
    """Says how far the work is, in a line after every `SILENCE` seconds, so that a log shows it.

    On a terminal it is silent: there the work shows a bar.
    """

    def __init__(self) -> None:
        self._silent = sys.stderr.isatty()
        self._said = time.monotonic()

    def say(self, text: str) -> None:
        """Print the line, unless the last one is too recent."""
        now = time.monotonic()
        if self._silent or now - self._said < SILENCE:
            return
        self._said = now
        print(text, file=sys.stderr, flush=True)


def time_left(seconds: float, done: float, total: float) -> timedelta:
    """The time for the rest at the mean pace so far, in whole seconds.

    Args:
        seconds: since the start.
        done: units of `total` that are through, above 0.
    """
    return timedelta(seconds=round(seconds * (total / done - 1)))
