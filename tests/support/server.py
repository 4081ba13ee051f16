"""`srgan serve` as a user runs it, in a process of its own, on a free port."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

START = [sys.executable, "-m", "srgan.cli", "serve", "--port"]


class Server:
    """A running server. `client` speaks to it."""

    def __init__(self, process: subprocess.Popen[str], url: str, folder: Path) -> None:
        self.process = process
        self.url = url
        self.folder = folder  # its temporary files
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
        """Bytes in temporary files."""
        return sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file())

    def results(self) -> list[Path]:
        return list(self.folder.glob("srgan-serve-*/results/*"))


@contextmanager
def running(*options: object, token: str | None = None) -> Iterator[Server]:
    """`srgan serve OPTIONS...`, up and ready; afterwards it is gone and has left nothing behind."""
    with tempfile.TemporaryDirectory() as name:
        environment = os.environ | {"TMPDIR": name} | ({"SRGAN_TOKEN": token} if token else {})
        process = subprocess.Popen(
            [*START, "0", *map(str, options)], stdout=subprocess.PIPE, text=True, env=environment
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
