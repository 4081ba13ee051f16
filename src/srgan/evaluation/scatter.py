"""Perception against distortion: a scatter plot as SVG, coloured by the CSS of its page."""

import html
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from srgan.evaluation.results import BICUBIC
from srgan.evaluation.tables import printable, shown_value, title_of

WIDTH, HEIGHT = 460, 340  # of a scatter plot; small, so that its text is legible on a phone
LEFT, RIGHT, TOP, BOTTOM = 62, 16, 14, 52  # its margins
LETTER = 7.2  # width of a label's letter
LABEL = 28  # letters of a label, the rest is cut
# Where a label may go beside its point: x, y, and which end of the text is there.
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
    """A method in a scatter plot."""

    label: str
    x: float
    y: float


def escaped(text: str) -> str:
    return html.escape(printable(text))


def partial(method: str, count: int, most: int) -> str:
    """A method's label, which says so where its mean is over fewer pictures than others'."""
    return method if count == most else f"{method} ({count} of {most})"


def scatter(set: str, points: Sequence[Point], lpips: str) -> str:
    """An SVG of labelled points: PSNR-Y to the right, LPIPS upwards."""
    y_title = title_of(lpips)
    x_ticks = _ticks([point.x for point in points])
    y_ticks = _ticks([point.y for point in points])
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def place(point: Point) -> tuple[float, float]:
        x = (point.x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0])
        y = (point.y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return LEFT + x * (right - LEFT), bottom - y * (bottom - TOP)

    lines, texts = [], []
    for tick, label in zip(x_ticks, _labels(x_ticks), strict=True):
        x = place(Point("", tick, y_ticks[0]))[0]
        lines.append(f'<path class="grid" d="M{x:.1f} {TOP}V{bottom}"/>')
        texts.append(_svg_text(x, bottom + 18, "middle", label, "tick"))
    for tick, label in zip(y_ticks, _labels(y_ticks), strict=True):
        y = place(Point("", x_ticks[0], tick))[1]
        lines.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{right}"/>')
        texts.append(_svg_text(LEFT - 7, y + 4, "end", label, "tick"))
    lines.append(f'<path class="axis" fill="none" d="M{LEFT} {TOP}V{bottom}H{right}"/>')
    texts.append(_svg_text((LEFT + right) / 2, HEIGHT - 10, "middle", "PSNR-Y (dB), higher better"))
    middle = (TOP + bottom) / 2
    texts.append(
        f'<text transform="translate(15 {middle:.1f}) rotate(-90)" text-anchor="middle">'
        f"{escaped(y_title)}, lower better</text>"
    )
    dots, labels = _dots([point.label for point in points], [place(point) for point in points])
    summary = "; ".join(
        f"{p.label}: {shown_value('psnr_y', p.x)} dB, {shown_value(lpips, p.y)}" for p in points
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" xmlns="http://www.w3.org/2000/svg">'
        f"<title>{escaped(f'{set}, PSNR-Y and {y_title}. {summary}')}</title>"
        f"{''.join([*lines, *texts, *dots, *labels])}</svg>"
    )


def _svg_text(x: float, y: float, anchor: str, text: str, kind: str = "") -> str:
    style = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}>{escaped(text)}</text>'


def _dots(
    names: Sequence[str], places: Sequence[tuple[float, float]]
) -> tuple[list[str], list[str]]:
    """Circles, and labels where they cover neither a point nor another label, if possible."""
    dots, labels = [], []
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in places]
    for name, (x, y) in zip(names, places, strict=True):
        kind = ' class="bicubic"' if name == BICUBIC else ""
        dots.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5"{kind}/>')
        text = name if len(name) <= LABEL else f"{name[: LABEL - 1]}…"
        boxes = [_box(x + dx, y + dy, anchor, text) for dx, dy, anchor in PLACES]
        free = [i for i, box in enumerate(boxes) if _inside(box) and not _meets(box, taken)]
        inside = [i for i, box in enumerate(boxes) if _inside(box)]
        choice = [*free, *inside, 0][0]
        taken.append(boxes[choice])
        dx, dy, anchor = PLACES[choice]
        labels.append(_svg_text(x + dx, y + dy, anchor, text))
    return dots, labels


Box = tuple[float, float, float, float]  # left, top, right, bottom


def _box(x: float, y: float, anchor: str, text: str) -> Box:
    width = LETTER * len(text)
    left = x - {"start": 0, "middle": 0.5, "end": 1}[anchor] * width
    return left, y - 11, left + width, y + 4


def _inside(box: Box) -> bool:
    return box[0] >= LEFT and box[1] >= 0 and box[2] <= WIDTH and box[3] <= HEIGHT - BOTTOM


def _meets(box: Box, others: Iterable[Box]) -> bool:
    return any(
        box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]
        for other in others
    )


def _ticks(values: Sequence[float]) -> list[float]:
    """Three to seven round numbers, evenly spaced, around all values with some room."""
    low, high = min(values), max(values)
    room = 0.08 * (high - low) or 0.02 * abs(high) or 0.1
    low, high = low - room, high + room
    power = 10.0 ** math.floor(math.log10((high - low) / 4))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= (high - low) / 4)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [i * step for i in range(first, last + 1)]


def _labels(ticks: Sequence[float]) -> list[str]:
    decimals = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    return [f"{tick:.{decimals}f}" for tick in ticks]
