"""`srgan serve` as a user runs it, in a process of its own, on a free port."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

START = [sys.executable, "-m", "srgan.cli", "serve"]


class Server:
    """A running server. `client` speaks to it."""

    def __init__(self, process: subprocess.Popen[str], url: str, folder: Path) -> None:
        self.process = process
        self.url = url
        self.folder = folder  # its temporary files, --data among them
        self.client = httpx.Client(base_url=url, timeout=30)

    def post(self, data: bytes, path: str = "/v1/upscale", **parameters: object) -> httpx.Response:
        query = {name: str(value) for name, value in parameters.items()}
        return self.client.post(path, content=data, params=query)

    def figure(self, name: str) -> float:
        """One line of /metrics; 0 where it is not there yet."""
        for line in self.client.get("/metrics").text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[-1])
        return 0.0

    def memory(self) -> int:
        """Resident bytes."""
        return psutil.Process(self.process.pid).memory_info().rss

    def disk(self) -> int:
        """Bytes of uploads and results, and of temporary files elsewhere."""
        total = 0
        for parent, _, names in os.walk(self.folder):
            for name in names:
                with suppress(OSError):  # removed meanwhile
                    size = Path(parent, name).stat().st_size
                    total += 0 if name.startswith("queue.") else size
        return total

    def jobs(self) -> list[Path]:
        """The folders of its jobs."""
        return list(self.folder.glob("*/jobs/*"))

    def results(self) -> list[Path]:
        return list(self.folder.glob("*/jobs/*/result*"))

    def wait_for(self, *locations: str) -> list[dict[str, Any]]:
        """The status of jobs, given by their paths, when all have ended."""
        statuses: list[dict[str, Any]] = []

        def have_ended() -> bool:
            statuses[:] = [self.client.get(path).json() for path in locations]
            return all(each["status"] in ("done", "failed") for each in statuses)

        wait_until(have_ended)
        return statuses


@contextmanager
def running(
    *options: object,
    token: str | None = None,
    folder: Path | None = None,
    path: Path | None = None,
    log: Any = None,
) -> Iterator[Server]:
    """`srgan serve OPTIONS...`, up and ready; afterwards it is killed.

    Args:
        folder: for its temporary files, removed afterwards unless it is given. `--data` may be
            in it.
        path: of the srgan to run, instead of this one.
        log: a file for standard error.
    """
    with tempfile.TemporaryDirectory() as name:
        own = Path(name, "own")  # nobody else writes beside it
        own.mkdir()
        name = str(folder or own)
        environment = os.environ | {"TMPDIR": name} | ({"SRGAN_TOKEN": token} if token else {})
        environment |= {"PYTHONPATH": str(path)} if path else {}
        port = () if "--port" in options else ("--port", "0")
        command = [*START, *port, *map(str, options)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment, cwd=name
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("srgan is at http://127.0.0.1:"), line
            yield Server(process, line.split()[3], Path(name))
        finally:
            process.kill()
            process.wait()


TILE = ("--tile", 64)  # progress and cancelling come at every tile: often, then


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_problem(answer: httpx.Response, status: int, kind: str) -> bool:
    document = answer.json()
    return (
        answer.headers["content-type"] == "application/problem+json"
        and answer.status_code == document["status"] == status
        and document["type"] == f"urn:srgan:problem:{kind}"
        and set(document) == {"type", "title", "status", "detail"}
    )
