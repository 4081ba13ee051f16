"""`srgan serve` under load, and how soon it is there.

- 64 clients for 60 s, each sending one picture after the other, of mixed sizes and formats; told
  to come back later (429) they do. What they were answered, how often they were refused for each
  success, the server's resident memory, and its throughput against `srgan upscale` on the same
  pictures, before and after.
- From the start of the process to its being ready, and, where there is a browser, from then to the
  page being usable in it.

`benchmarks/serve_abuse.py` has the other bounds: disk, a kill, five minutes of mixed requests.
"""

import asyncio
import io
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

import httpx
import psutil
from PIL import Image
from rich.console import Console
from rich.table import Table
from skimage import data

from srgan.cli.run import run_script

COMMAND = [sys.executable, "-m", "srgan.cli"]
SIZES = ((96, 96), (160, 120), (200, 200), (256, 256), (320, 240), (400, 300))
FORMATS = {"jpg": "jpeg", "png": "png", "webp": "webp"}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@dataclass
class Load:
    """What a run under load has seen."""

    answers: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)  # pictures upscaled, by name
    memory: list[tuple[float, int]] = field(default_factory=list)  # seconds, resident bytes
    seconds: float = 0.0


def main(*, clients: int = 64, seconds: float = 60, starts: int = 3) -> None:
    """Measure the server under load, and its start.

    Args:
        clients: How many at once.
        seconds: For how long.
        starts: How often the start is measured.
    """
    table = Table(show_header=False)
    with tempfile.TemporaryDirectory() as name:
        pictures = make_pictures(Path(name) / "pictures")
        before = command_rate(pictures, Path(name) / "before")
        load = under_load(pictures, clients, seconds)
        after = command_rate(pictures, Path(name) / "after")
        served = sum(megapixels(pictures[key]) * count for key, count in load.sent.items())
    rate, command = served / load.seconds, (before + after) / 2
    table.add_row("answers", ", ".join(f"{n} x {what}" for what, n in load.answers.items()))
    refusals = load.answers["429"] / max(load.answers["200"], 1)
    table.add_row("refusals for each success", f"{refusals:.2f}")
    table.add_row("served", f"{rate:.2f} HR MP/s")
    table.add_row("srgan upscale, before and after", f"{before:.2f} and {after:.2f} HR MP/s")
    table.add_row("served / srgan upscale", f"{rate / command:.0%}")
    half, end = (around(load.memory, moment) for moment in (seconds / 2, seconds - 5))
    table.add_row(
        "resident memory", f"{half / 2**20:.0f} MiB halfway, {end / 2**20:.0f} at the end"
    )
    table.add_row("growth in the second half", f"{end / half - 1:+.1%}")
    for ready, usable in (start_times() for _ in range(starts)):
        in_browser = f", {usable:.2f} s more to a page usable in Chromium" if usable else ""
        table.add_row("start", f"{ready:.2f} s to ready{in_browser}")
    Console().print(table)


def make_pictures(folder: Path) -> dict[str, Path]:
    """Photographs of mixed sizes and formats, by name."""
    folder.mkdir()
    photos = [Image.fromarray(p) for p in (data.astronaut(), data.chelsea(), data.coffee())]
    for number, size in enumerate(SIZES):
        for suffix, format in FORMATS.items():
            photo = photos[number % len(photos)].resize(size, Image.Resampling.LANCZOS)
            photo.save(folder / f"{size[0]}x{size[1]}.{suffix}", format)
    return {path.name: path for path in sorted(folder.iterdir())}


def megapixels(path: Path) -> float:
    """Of the result."""
    with Image.open(path) as image:
        return image.width * image.height * 16 / 1e6


def command_rate(pictures: dict[str, Path], target: Path, times: int = 2) -> float:
    """HR megapixels per second of `srgan upscale` on a folder, its start included."""
    source = target.with_suffix(".source")
    source.mkdir()
    for number in range(times):
        for name, path in pictures.items():
            shutil.copy(path, source / f"{number}-{name}")
    start = time.perf_counter()
    subprocess.run([*COMMAND, "upscale", source, "-o", target], check=True, stdout=subprocess.PIPE)
    return times * sum(map(megapixels, pictures.values())) / (time.perf_counter() - start)


@contextmanager
def server() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`srgan serve`, ready, and its address."""
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().split()[3]
    finally:
        process.terminate()
        process.wait()


def under_load(pictures: dict[str, Path], clients: int, seconds: float) -> Load:
    load = Load()
    with server() as (process, url):
        asyncio.run(send_all(load, url, pictures, clients, seconds, process.pid))
    return load


async def send_all(
    load: Load, url: str, pictures: dict[str, Path], clients: int, seconds: float, pid: int
) -> None:
    bodies = {name: path.read_bytes() for name, path in pictures.items()}
    start = time.perf_counter()
    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=url, timeout=300, limits=limits) as client:
        watch = asyncio.create_task(watch_memory(load, pid, start))
        dice = (random.Random(number) for number in range(clients))
        await asyncio.gather(*(send(load, client, bodies, each, start + seconds) for each in dice))
        watch.cancel()
    load.seconds = time.perf_counter() - start


async def send(
    load: Load, client: httpx.AsyncClient, bodies: dict[str, bytes], dice: random.Random, end: float
) -> None:
    while time.perf_counter() < end:
        name = dice.choice(list(bodies))
        try:
            answer = await client.post("/v1/upscale", content=bodies[name])
        except httpx.HTTPError as error:
            load.answers[type(error).__name__] += 1
            continue
        load.answers[str(answer.status_code)] += 1
        if answer.status_code == 200:
            with Image.open(io.BytesIO(answer.content)) as image:
                image.verify()
            load.sent[name] += 1
        elif answer.status_code == 429:
            await asyncio.sleep(int(answer.headers["Retry-After"]))


async def watch_memory(load: Load, pid: int, start: float) -> None:
    process = psutil.Process(pid)
    while True:
        load.memory.append((time.perf_counter() - start, process.memory_info().rss))
        await asyncio.sleep(0.5)


def around(memory: list[tuple[float, int]], moment: float) -> float:
    """Mean over ten seconds."""
    return mean(size for seconds, size in memory if abs(seconds - moment) < 5)


def start_times() -> tuple[float, float | None]:
    """Seconds from the start of the process to ready, and then to a usable page in a browser."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        start = time.perf_counter()
        with server():
            return time.perf_counter() - start, None
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page()
        page.goto("about:blank")
        start = time.perf_counter()
        with server() as (_, url):
            ready = time.perf_counter() - start
            page.goto(url)
            page.locator("body[data-ready]").wait_for()
            usable = time.perf_counter() - start - ready
        chromium.close()
    return ready, usable


if __name__ == "__main__":
    run_script(main)
