"""Durations of frames in the units of an animation's format."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

# Browsers show a frame of 10 ms or less for 100 ms, and so libvips writes such frames into WebP.
_UNSEEN = 10


@dataclass(frozen=True)
class _Clock:
    """How a format stores durations, in milliseconds.

    Attributes:
        unit: durations are multiples of it.
        least: of a frame that lasts longer than browsers' limit of 10 ms.
        most: the longest duration.
    """

    unit: int
    least: int
    most: int


_CLOCKS = {
    "gif": _Clock(10, 20, 655_350),
    "webp": _Clock(1, 11, (1 << 24) - 1),
    "avif": _Clock(1, 1, (1 << 31) - 1),
}


def whole_durations(durations: Sequence[Fraction], format: str) -> list[int]:
    """Durations that a format can store, in milliseconds, which do not drift from the true ones.

    The times at which frames end are rounded. A frame that is shown at all stays longer than 0;
    the frames after it make up for at most one unit of that.

    Args:
        durations: of each frame, in milliseconds.
        format: "gif", "webp" or "avif".
    """
    clock = _CLOCKS[format]
    whole: list[int] = []
    owed = Fraction(0)  # milliseconds that the frames so far should have been shown longer
    for duration in durations:
        owed += duration
        least = clock.least if duration > _UNSEEN else clock.unit if duration else 0
        shown = max(round(owed / clock.unit) * clock.unit, least)
        owed = max(owed - shown, Fraction(-clock.unit))
        whole.append(min(shown, clock.most))
    return whole


def seconds_of_png(duration: Fraction) -> Fraction:
    """A duration of milliseconds in seconds, of which both terms fit into 16 bits."""
    most = Fraction(65_535)
    seconds = min(duration / 1000, most)
    return seconds.limit_denominator(int(min(most, most / seconds)) if seconds else 1)
