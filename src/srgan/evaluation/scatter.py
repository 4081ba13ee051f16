"""Perception against distortion: where everything in a scatter plot lies. report.html.j2 draws it.

All positions are in pixels of the plot, x to the right and y downwards.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from srgan.evaluation.results import BICUBIC
from srgan.evaluation.tables import shown_value, title_of

WIDTH, HEIGHT = 460, 340  # of a scatter plot; small, so that its text is legible on a phone
LEFT, RIGHT, TOP, BOTTOM = 62, 16, 14, 52  # its margins
LETTER = 7.2  # width of a label's letter
LABEL = 28  # letters of a label; a longer one is cut
# Where a label may be beside its point: x, y, and which end of the text is there.
PLACES = (
    (10, 4, "start"),
    (-10, 4, "end"),
    (0, -12, "middle"),
    (0, 22, "middle"),
    (10, -12, "start"),
    (10, 20, "start"),
    (-10, -12, "end"),
    (-10, 20, "end"),
)


class Point(NamedTuple):
    """A method: x is its PSNR-Y, y its LPIPS."""

    label: str
    x: float
    y: float


class Label(NamedTuple):
    """A text; `anchor` says which part of it is at x: its start, middle or end."""

    x: float
    y: float
    anchor: str
    text: str


class Dot(NamedTuple):
    """The centre of a circle."""

    x: float
    y: float
    is_bicubic: bool


@dataclass(frozen=True)
class Plot:
    """A scatter plot: PSNR-Y to the right, LPIPS upwards.

    Attributes:
        summary: the plot in words, for readers who do not see it.
        left, right, top, bottom: sides of the field in which the points lie.
        x_lines, y_lines: positions of the vertical and of the horizontal grid lines.
        x_labels, y_labels: the values at these lines.
    """

    set: str
    summary: str
    x_title: Label
    y_title: Label
    x_lines: list[float]
    y_lines: list[float]
    x_labels: list[Label]
    y_labels: list[Label]
    dots: list[Dot]
    labels: list[Label]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def scatter(set: str, points: Sequence[Point], lpips: str) -> Plot:
    """Lay out the plot of a benchmark set.

    Args:
        points: at least one; their values are finite.
        lpips: the metric of y.
    """
    x_ticks = ticks([point.x for point in points])
    y_ticks = ticks([point.y for point in points])
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def x_of(value: float) -> float:
        return LEFT + (value - x_ticks[0]) / (x_ticks[-1] - x_ticks[0]) * (right - LEFT)

    def y_of(value: float) -> float:
        return bottom - (value - y_ticks[0]) / (y_ticks[-1] - y_ticks[0]) * (bottom - TOP)

    x_lines, y_lines = [x_of(tick) for tick in x_ticks], [y_of(tick) for tick in y_ticks]
    dots = [Dot(x_of(p.x), y_of(p.y), p.label == BICUBIC) for p in points]
    shown = "; ".join(
        f"{p.label}: {shown_value('psnr_y', p.x)} dB, {shown_value(lpips, p.y)}" for p in points
    )
    return Plot(
        set=set,
        summary=f"{set}, PSNR-Y and {title_of(lpips)}. {shown}",
        x_title=Label((LEFT + right) / 2, HEIGHT - 10, "middle", "PSNR-Y (dB), higher better"),
        y_title=Label(15, (TOP + bottom) / 2, "middle", f"{title_of(lpips)}, lower better"),
        x_lines=x_lines,
        y_lines=y_lines,
        x_labels=[
            Label(x, bottom + 18, "middle", text)
            for x, text in zip(x_lines, tick_labels(x_ticks), strict=True)
        ],
        y_labels=[
            Label(LEFT - 7, y + 4, "end", text)
            for y, text in zip(y_lines, tick_labels(y_ticks), strict=True)
        ],
        dots=dots,
        labels=place_labels([point.label for point in points], dots),
    )


def place_labels(names: Sequence[str], dots: Sequence[Dot]) -> list[Label]:
    """A label for each dot. It covers neither a dot nor another label, if that is possible."""
    labels: list[Label] = []
    taken: list[Box] = [(dot.x - 6, dot.y - 6, dot.x + 6, dot.y + 6) for dot in dots]
    for name, dot in zip(names, dots, strict=True):
        text = name if len(name) <= LABEL else f"{name[: LABEL - 1]}…"
        choices = [Label(dot.x + dx, dot.y + dy, anchor, text) for dx, dy, anchor in PLACES]
        inside = [choice for choice in choices if is_inside(box_of(choice))]
        free = [choice for choice in inside if not overlaps(box_of(choice), taken)]
        best = [*free, *inside, choices[0]][0]
        taken.append(box_of(best))
        labels.append(best)
    return labels


Box = tuple[float, float, float, float]  # left, top, right, bottom


def box_of(label: Label) -> Box:
    """The rectangle that a label covers, about."""
    width = LETTER * len(label.text)
    left = label.x - {"start": 0, "middle": 0.5, "end": 1}[label.anchor] * width
    return left, label.y - 11, left + width, label.y + 4


def is_inside(box: Box) -> bool:
    """Whether a rectangle lies in the plot, right of the y axis and above the x axis."""
    return box[0] >= LEFT and box[1] >= 0 and box[2] <= WIDTH and box[3] <= HEIGHT - BOTTOM


def overlaps(box: Box, others: Iterable[Box]) -> bool:
    """Whether a rectangle overlaps one of the others."""
    return any(
        box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]
        for other in others
    )


def ticks(values: Sequence[float]) -> list[float]:
    """Three to seven round numbers, evenly spaced, that enclose all values with some room."""
    low, high = min(values), max(values)
    room = 0.08 * (high - low) or 0.02 * abs(high) or 0.1
    low, high = low - room, high + room
    power = 10.0 ** math.floor(math.log10((high - low) / 4))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= (high - low) / 4)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [i * step for i in range(first, last + 1)]


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """The numbers with as many decimals as their spacing needs."""
    decimals = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    return [f"{tick:.{decimals}f}" for tick in ticks]
