"""`srgan serve` under bad treatment: its bounds on disk, memory and files, and a kill.

- `uploads`: 12 uploads of 19 MB at once with 60 MB allowed: the most that was ever on disk.
- `kill`: kill -9 with 20 jobs waiting, and a new start: how many end in a result.
- `mixed`: good, damaged, aborted and slow requests for five minutes: memory and open files in the
  middle and at the end, and what is on disk when the time of the results is over.
- `install`: what the extra `serve` adds to the base install, in MB.
"""

import asyncio
import contextlib
import io
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import httpx
import numpy as np
import psutil
from PIL import Image

from srgan.cli.run import run_script

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "srgan.cli", "serve", "--no-page", "--port", "0"]
KEEP_SECONDS = 20


def main(
    what: Literal["uploads", "kill", "mixed", "install"], *, seconds: float = 300, clients: int = 24
) -> None:
    """Measure one of the bounds.

    Args:
        what: See above.
        seconds: How long `mixed` takes.
        clients: At once, in `mixed`.
    """
    if what == "install":
        install()
        return
    with tempfile.TemporaryDirectory() as name:
        if what == "uploads":
            uploads(Path(name))
        elif what == "kill":
            kill(Path(name))
        else:
            asyncio.run(mixed(Path(name), seconds, clients))


@contextmanager
def server(data: Path, *options: object) -> Iterator[tuple[psutil.Process, str]]:
    command = [*COMMAND, "--data", data, *options]
    with subprocess.Popen(
        [*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield psutil.Process(process.pid), process.stdout.readline().split()[3]
        finally:
            process.kill()


def disk(folder: Path) -> int:
    """Bytes of all files. Files and folders may disappear meanwhile."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += Path(parent, name).stat().st_size
    return total


def png(side: int, dice: np.random.Generator) -> bytes:
    """Noise, which hardly compresses."""
    file = io.BytesIO()
    Image.fromarray(dice.integers(0, 256, (side, side, 3), np.uint8)).save(file, "png")
    return file.getvalue()


def uploads(folder: Path) -> None:
    picture = png(2500, np.random.default_rng(1))
    most, stop = 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not stop.is_set():
            most = max(most, disk(folder))

    answers: Counter[int] = Counter()

    def upload(url: str) -> None:
        query = {"scale": 1, "format": "jpeg"}
        answer = httpx.post(f"{url}/v1/jobs", content=picture, params=query, timeout=100)
        answers[answer.status_code] += 1

    with server(folder, "--keep-bytes", 60_000_000) as (_, url):
        watcher = threading.Thread(target=watch)
        watcher.start()
        threads = [threading.Thread(target=upload, args=(url,)) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        time.sleep(5)
        stop.set()
        watcher.join()
    print(f"12 uploads of {len(picture) / 1e6:.1f} MB: {dict(answers)}")
    print(f"most on disk, database included: {most / 1e6:.1f} MB of 60 MB")


def kill(folder: Path) -> None:
    dice = np.random.default_rng(2)
    with server(folder) as (process, url):
        pictures = [png(100, dice) for _ in range(20)]
        jobs = [httpx.post(f"{url}/v1/jobs", content=each).headers["location"] for each in pictures]
        process.kill()
    with server(folder) as (_, url):
        waiting = set(jobs)
        while waiting:
            waiting -= {job for job in waiting if state(url, job) in ("done", "failed")}
            time.sleep(0.2)
        results = [httpx.get(f"{url}{job}/result").status_code for job in jobs]
    print(f"after kill -9: {results.count(200)} of {len(jobs)} jobs have results")


def state(url: str, job: str) -> str:
    return httpx.get(f"{url}{job}").json()["status"]


async def mixed(folder: Path, seconds: float, clients: int) -> None:
    answers: Counter[str] = Counter()
    samples: list[tuple[float, int, int]] = []  # seconds, resident bytes, open files
    limits = ("--silent-seconds", 3, "--keep-seconds", KEEP_SECONDS)
    with server(folder, *limits) as (process, url):
        start = time.perf_counter()
        tasks = [
            asyncio.create_task(
                abuse(url, random.Random(number), start + seconds, answers), name=str(number)
            )
            for number in range(clients)
        ]
        while not all(task.done() for task in tasks):
            now = time.perf_counter() - start
            samples.append((now, process.memory_info().rss, process.num_fds()))
            await asyncio.sleep(0.5)
        await asyncio.sleep(KEEP_SECONDS + 31)  # and the server looks every 30 s
        left = list((folder / "jobs").rglob("*"))
        files = process.num_fds()
    print(dict(answers))
    for name, end in (("first fifth", 0.2), ("middle", 0.6), ("end", 1.0)):
        some = [each for each in samples if (end - 0.2) * seconds <= each[0] <= end * seconds]
        memory = sum(each[1] for each in some) / len(some) / 2**20
        print(f"{name}: {memory:.0f} MiB, at most {max(each[2] for each in some)} open files")
    print(f"afterwards: {files} open files, {len(left)} files of jobs on disk")


async def abuse(url: str, dice: random.Random, end: float, answers: Counter[str]) -> None:
    noise = np.random.default_rng(dice.randrange(1000))
    good = [png(side, noise) for side in (24, 60, 120)]
    kinds = ("good", "job", "damaged", "aborted", "slow", "wrong", "gone")
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        while time.perf_counter() < end:
            kind = dice.choice(kinds)
            try:
                answer = await request(client, kind, dice.choice(good), dice)
            except httpx.HTTPError as error:
                answers[f"{kind} {type(error).__name__}"] += 1
            else:
                answers[f"{kind} {answer.status_code}"] += 1
                if answer.status_code in (429, 507):
                    await asyncio.sleep(min(int(answer.headers.get("Retry-After", 1)), 5))


async def request(
    client: httpx.AsyncClient, kind: str, picture: bytes, dice: random.Random
) -> httpx.Response:
    if kind == "good":
        return await client.post("/v1/upscale", content=picture)
    if kind == "job":
        return await client.post("/v1/jobs", content=picture)
    if kind == "damaged":
        return await client.post("/v1/upscale", content=picture[: len(picture) // 2])
    if kind == "wrong":
        return await client.post("/v1/upscale?modle=x", content=picture)
    if kind == "gone":
        return await client.get("/v1/jobs/unknown/result")
    if kind == "aborted":
        return await client.post("/v1/upscale", content=picture, timeout=dice.uniform(0.01, 0.3))

    async def slowly() -> AsyncIterator[bytes]:
        yield picture[:100]
        await asyncio.sleep(dice.choice([1, 6]))
        yield picture[100:]

    return await client.post("/v1/upscale", content=slowly())


def install() -> None:
    """Install the base and the extra into two folders."""
    sizes: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as name:
        for what in ("", "[serve]"):
            target = Path(name) / f"with{what.strip('[]')}"
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", target]
            subprocess.run([*map(str, pip), f"{ROOT}{what}"], check=True)
            sizes[what] = disk(target)
    base, extra = sizes[""] / 1e6, (sizes["[serve]"] - sizes[""]) / 1e6
    print(f"base {base:.0f} MB, the extra adds {extra:.1f} MB")


if __name__ == "__main__":
    run_script(main)
