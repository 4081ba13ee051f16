"""The page's logic without its looks: describes pictures, and upscales them one by one."""

import asyncio
import html
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from srgan.pictures.images import open_picture
from srgan.serve.jobs import Cancelled, Job, JobQueue, Result
from srgan.serve.kitchen import Kitchen, Order, OrderPlan, client_name
from srgan.serve.options import Limits
from srgan.serve.page.preview import MOST_PIXELS, write_previews
from srgan.serve.problems import Problem

TELL_SECONDS = 0.25  # between two messages on progress, when gradio notices a closed page


@dataclass(frozen=True)
class Shown:
    """A finished picture as the page shows it."""

    name: str  # of the client's file
    path: str  # of the result
    before: str  # path of the bicubic picture
    after: str  # path of the SR picture
    label: str  # of the download button
    caption: str  # HTML


class PageWork:
    """Serves the page's events with the kitchen and the queue."""

    def __init__(self, kitchen: Kitchen, queue: JobQueue, limits: Limits) -> None:
        self._kitchen = kitchen
        self._queue = queue
        self._limits = limits
        self._running: set[str] = set()  # visits with pictures in work

    def describe(self, paths: Sequence[str], model: str, scale: float) -> tuple[str, bool]:
        """Predict the results of the pictures, as HTML; and whether any can be upscaled."""
        rows: list[str] = []
        possible = False
        for path in paths:
            name = client_name(Path(path).name)
            try:
                order = self._order(path, model, scale)
                plan: OrderPlan = self._kitchen.inspector.submit(self._kitchen.plan, order).result()
            except Problem as problem:
                rows.append(f"<p class=problem>{html.escape(str(problem))}</p>")
            else:
                possible = True
                sizes = f"{_size(plan.source_size)} → <b>{_size(plan.size)}</b>"
                rows.append(f"<p><span>{html.escape(name)}</span><span>{sizes}</span></p>")
        return "".join(rows), possible

    def cancel(self, visit: str) -> None:
        """End the visit's `upscale` soon."""
        self._running.discard(visit)

    async def upscale(
        self, visit: str, paths: Sequence[str], model: str, scale: float, problems: list[str]
    ) -> AsyncGenerator[str | Shown, None]:
        """Upscale pictures one after the other.

        Args:
            visit: unique name of an open page.
            problems: gets a line for every picture that cannot be upscaled.

        Yields:
            Messages on the progress, as HTML, and each finished picture.

        Raises:
            Cancelled: by `cancel`.
        """
        self._running.add(visit)
        try:
            for number, path in enumerate(paths, 1):
                prefix = f"{number} of {len(paths)}: " if len(paths) > 1 else ""
                title = prefix + client_name(Path(path).name)
                try:
                    async with aclosing(self._one(visit, title, path, model, scale)) as steps:
                        async for step in steps:
                            yield step
                except Problem as problem:
                    problems.append(str(problem))
        finally:
            self._running.discard(visit)

    async def _one(
        self, visit: str, title: str, path: str, model: str, scale: float
    ) -> AsyncGenerator[str | Shown, None]:
        """Upscale one picture; its job is removed unless the client gets the result."""
        job = self._queue.admit(kept=True)
        try:
            order = await asyncio.to_thread(self._order, path, model, scale)
            self._queue.start(job, partial(self._work, order, job.id))
            while not job.outcome.done():
                if visit not in self._running:
                    raise Cancelled("by the page's button")
                yield _progress(title, job, self._queue.position(job))
                await asyncio.sleep(TELL_SECONDS)
            yield _shown(job.outcome.result())
            job.delivered = True
        finally:  # also if the page is closed
            if not job.delivered:
                self._queue.remove(job)

    def summary(self, problems: Sequence[str]) -> str:
        """The problems as HTML; "" if there are none."""
        lines = "".join(f"<p class=problem>{html.escape(line)}</p>" for line in problems)
        return f"<div role=alert>{lines}</div>" if lines else ""

    def _order(self, path: str, model: str, scale: float) -> Order:
        """The order for an uploaded file; raises Problem if it is gone or too large."""
        file, name = Path(path), client_name(Path(path).name)
        try:
            if file.stat().st_size > self._limits.max_bytes:
                raise Problem(413, "too-many-bytes", f"{name}: too many bytes")
            return Order(file.read_bytes(), name, model, float(scale))
        except OSError as error:
            detail = f"{name}: no longer kept here: upload it again"
            raise Problem(404, "no-such-upload", detail) from error

    def _work(self, order: Order, identifier: str, progress: Callable[[float], None]) -> Result:
        """Compute an order, rename its file for the client, and write the slider's pictures."""
        result = self._kitchen.upscale(order, identifier, progress)
        try:
            named = result.path.rename(result.path.with_name(result.name))
            source = open_picture(order.data, name=order.name)
            write_previews(source, named, result.size)
        except BaseException:
            result.discard()
            raise
        return replace(result, path=named)


def _shown(result: Result) -> Shown:
    width, height = result.size
    notes = [*result.notes]
    if width * height > MOST_PIXELS:
        notes.append("shown smaller here: the download has all pixels")
    lines = [
        f"<b>{html.escape(result.name)}</b> {_size(result.source_size)} → {_size(result.size)}",
        f"by {html.escape(result.choice.model)}, {html.escape(result.choice.why)}",
        *map(html.escape, notes),
    ]
    return Shown(
        result.name,
        str(result.path),
        str(result.path.with_name("bicubic.png")),
        str(result.path.with_name("sr.png")),
        f"Download {result.name} ({_megabytes(result.bytes)})",
        "".join(f"<p>{line}</p>" for line in lines),
    )


def _progress(name: str, job: Job, before: int) -> str:
    if job.state != "running":
        what = f"waiting for {before} other picture{'s' * (before != 1)}" if before else "starting"
        return _bar(name, what, None)
    if job.fraction == 1:
        return _bar(name, "drawing the comparison", None)
    left = job.seconds_left
    percent = f"{job.fraction:.0%}"
    what = percent if left is None else f"{percent}, {_duration(left)} left"
    return _bar(name, what, job.fraction)


def _bar(name: str, what: str, fraction: float | None) -> str:
    value = "" if fraction is None else f" value={fraction:.3f}"
    name = html.escape(name)
    return (
        f"<div class=progress><span>{name}</span><span>{what}</span>"
        f'<progress max=1{value} aria-label="{name}"></progress></div>'
    )


def _size(size: tuple[int, int]) -> str:
    width, height = size
    return f"{width}x{height}&nbsp;({width * height / 1e6:.2g}&nbsp;MP)"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.0f} kB"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
