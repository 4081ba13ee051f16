"""Progress bars on stderr, by rich."""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from srgan.progress import ProgressLines, time_left

NAME = Column(max_width=30, no_wrap=True, overflow="ellipsis")


class _Pace(ProgressColumn):
    """Column with megapixels of SR per second and the time left.

    A task's field `megapixels` gives those of one unit. The speed is the mean since the start:
    rows come in bursts, which rich's own estimate takes for speed.
    """

    def render(self, task: Task) -> Text:
        if not task.completed or not task.elapsed or not task.total:
            return Text("")
        left = time_left(task.elapsed, task.completed, task.total)
        rate = task.fields.get("megapixels", 0) * task.completed / task.elapsed
        return Text(f"{rate:.2f} MP/s, {left} left" if rate else f"{left} left")


@contextmanager
def counting(what: str) -> Generator[Callable[[int, int], None]]:
    """A progress bar on stderr, or lines if that is no terminal.

    The body calls it with (done, total) each time that one more is done.
    """
    bar = Progress(
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    task = bar.add_task(what, total=None)
    lines, start = ProgressLines(), time.perf_counter()

    def report(done: int, total: int) -> None:
        bar.update(task, completed=done, total=total)
        left = time_left(time.perf_counter() - start, done, total)
        lines.say(f"{done} of {total} {what}, {left} left")

    with bar:
        yield report


class PictureBar:
    """The bar of one picture."""

    def __init__(self, bars: Progress, name: str) -> None:
        self._bars = bars
        self._task = bars.add_task(name, total=None)

    def size(self, size: tuple[int, int]) -> None:
        """The size of the result, (height, width), is known."""
        self._bars.update(self._task, total=size[0], megapixels=size[1] / 1e6)

    def progress(self, rows: float) -> None:
        """So many rows of the result are done."""
        self._bars.update(self._task, completed=rows)

    def close(self) -> None:
        self._bars.remove_task(self._task)


class PictureBars:
    """The bars of the pictures in work and, of several pictures, one bar for all.

    Args:
        total: number of pictures.
    """

    def __init__(self, total: int) -> None:
        self._megapixels = 0.0
        self._bars = Progress(
            TextColumn("{task.description}", markup=False, table_column=NAME),
            BarColumn(),
            TaskProgressColumn(),
            _Pace(),
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=sys.stdout.isatty(),
        )
        self._all = self._bars.add_task("all pictures", total=total, visible=total > 1)
        self.start, self.stop = self._bars.start, self._bars.stop

    def add(self, name: str) -> PictureBar:
        """Show a bar for a picture whose size is not known yet."""
        return PictureBar(self._bars, name)

    def picture_done(self, megapixels: float) -> None:
        """A picture is through, with a result of so many megapixels; 0 if it has none."""
        self._megapixels += megapixels
        mean = self._megapixels / (self._bars.tasks[0].completed + 1)
        self._bars.update(self._all, advance=1, megapixels=mean)
