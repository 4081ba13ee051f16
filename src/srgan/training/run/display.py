"""The display of a training run: live on a terminal, plain lines in a file."""

import logging
import math
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from srgan.errors import MessageHandler

WIDTH = 80  # columns at most
SILENCE = 30.0  # seconds without a line, at most, where lines are printed
CELLS = 3  # values side by side

Cell = tuple[str, str]  # a value's name and the value as text


class TrainingDisplay:
    """Shows a run on stderr while it is entered: live on a terminal, else as plain lines.

    Plain lines come at least every `SILENCE` seconds, so that a log shows that the run is alive.

    It shows the values "loss/NAME"; "validation/NAME" of the last validation; "d_hr" and "d_sr",
    the discriminator's mean probability that HR and SR are real; "gradient/NAME", a norm;
    "speed/iterations_per_second", "speed/patches_per_second" and "speed/data_wait", a share of
    the time from 0 to 1. A value stays until a new one of that name arrives. The display also
    shows warnings that "srgan" logs.

    Args:
        title: name of the run and its folder.
        total: iterations, or None if the run ends after a time.
    """

    def __init__(self, title: str, *, total: int | None) -> None:
        self._title, self._total = title, total
        self._iteration, self._progress = 0, 0.0
        self._values: Mapping[str, float] = {}
        self._start: tuple[float, float] | None = None
        self._left: timedelta | None = None
        self._handler = MessageHandler(self.message)
        self._live: Live | None = None
        self._said = time.monotonic()  # of the last line
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)
        console = Console(stderr=True)
        if sys.stderr.isatty() and console.is_interactive:
            self._live = Live(
                get_renderable=self._render,
                console=console,
                redirect_stdout=sys.stdout.isatty(),
            )

    def __enter__(self) -> "TrainingDisplay":
        logging.getLogger("srgan").addHandler(self._handler)
        if self._live:
            self._live.start()
        else:
            self.message(self._title)
            self._heart.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._live:
            self._live.stop()
        else:
            self._heart.join()
        logging.getLogger("srgan").removeHandler(self._handler)

    def update(self, iteration: int, progress: float, values: Mapping[str, float]) -> None:
        """Store the state after an iteration. Another thread draws it four times a second.

        Args:
            progress: the part of the run's schedule that is done, 0 to 1.
        """
        now = time.monotonic()
        if self._start is None:
            # The estimate of the time left starts here: a resumed run starts in the middle.
            self._start = now, progress
        start, start_progress = self._start
        if progress > start_progress:
            seconds = (now - start) * max(1 - progress, 0) / (progress - start_progress)
            self._left = timedelta(seconds=round(seconds))
        self._iteration, self._progress = iteration, progress
        # A new dict, since the drawing thread may be reading the old one.
        self._values = {**self._values, **values}

    def line(self, iteration: int, progress: float, values: Mapping[str, float]) -> None:
        """Print the state as a line, unless the live display shows it."""
        if self._live:
            return
        self.update(iteration, progress, values)
        self._print_state()

    def _beat(self) -> None:
        """Print the state, on a thread of its own, after each silence."""
        while not self._ended.wait(self._said + SILENCE - time.monotonic()):
            self.after_silence()

    def after_silence(self) -> None:
        """Print the state if no line was printed for `SILENCE` seconds."""
        if time.monotonic() - self._said >= SILENCE:
            self._print_state()

    def _print_state(self) -> None:
        parts = [f"iteration {self._count()}"]
        for label, cells in _groups(self._values):
            # A loss may have the same name, such as content.
            prefix = f"{label} " if label in ("validation", "gradient") else ""
            parts += [prefix + f"{name} {value}".strip() for name, value in cells]
        self.message("  ".join([*parts, f"left {self._time_left()}"]))

    def message(self, text: str) -> None:
        """Print a line, above the live display on a terminal."""
        self._said = time.monotonic()
        # A log on a full disk, or a closed terminal, must not end a training run.
        with suppress(OSError):
            if self._live:
                self._live.console.print(Text(text))
            else:
                print(text, file=sys.stderr, flush=True)

    def _count(self) -> str:
        if self._total is None:
            return f"{self._iteration} ({self._progress:.0%})"
        return f"{self._iteration}/{self._total}"

    def _time_left(self) -> str:
        return "-:--:--" if self._left is None else str(self._left)

    def _render(self) -> RenderableType:
        body = Group(self._bar(), Text(), _table(self._values)) if self._values else self._bar()
        return Panel(
            body,
            title=Text(self._title),
            title_align="left",
            border_style="dim",
            padding=(0, 1),
            width=min(WIDTH, self._live.console.width if self._live else WIDTH),
        )

    def _bar(self) -> Table:
        grid = Table.grid(padding=(0, 2), expand=True)
        grid.add_column(no_wrap=True)
        grid.add_column(ratio=1)
        grid.add_column(no_wrap=True, justify="right")
        grid.add_row(
            Text(f"iteration {self._count()}"),
            ProgressBar(total=1, completed=self._progress),
            Text(f"{self._time_left()} left"),
        )
        return grid


def _table(values: Mapping[str, float]) -> Table:
    """A row for each group of values, or several where they do not fit side by side."""
    grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
    grid.add_column(style="dim", no_wrap=True)
    for _ in range(CELLS):
        grid.add_column(ratio=1, no_wrap=True)
    for label, cells in _groups(values):
        for i in range(0, len(cells), CELLS):
            row = [Text.assemble((f"{n} " if n else "", "dim"), v) for n, v in cells[i : i + CELLS]]
            grid.add_row("" if i else label, *row)
    return grid


def _groups(values: Mapping[str, float]) -> list[tuple[str, list[Cell]]]:
    """The values as text, grouped under a label; groups without values are left out."""
    discriminator = {name: values[name] for name in ("d_hr", "d_sr") if name in values}
    groups = [
        ("loss", [(name, _short(value)) for name, value in _named("loss", values)]),
        ("validation", [(name, _score(name, v)) for name, v in _named("validation", values)]),
        ("D", [(name, f"{value:.2f}") for name, value in discriminator.items()]),
        ("gradient", [(name, _short(value)) for name, value in _named("gradient", values)]),
        ("speed", _speeds(values)),
    ]
    return [(label, cells) for label, cells in groups if cells]


def _named(group: str, values: Mapping[str, float]) -> list[tuple[str, float]]:
    prefix = f"{group}/"
    return [(n.removeprefix(prefix), v) for n, v in values.items() if n.startswith(prefix)]


def _speeds(values: Mapping[str, float]) -> list[Cell]:
    cells: list[Cell] = []
    for name, unit in (("iterations", "it/s"), ("patches", "patches/s")):
        if (speed := values.get(f"speed/{name}_per_second")) is not None:
            cells.append(("", f"{speed:.{0 if speed >= 10 else 1}f} {unit}"))
    if (wait := values.get("speed/data_wait")) is not None:
        cells.append(("data", f"{100 * wait:.1f} %"))
    return cells


def _score(name: str, value: float) -> str:
    return f"{value:.2f}" if "psnr" in name else f"{value:.4f}"


def _short(value: float) -> str:
    """The value with three digits."""
    if not math.isfinite(value) or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:#.3g}"
