"""Runs the server: one process with the page and the service, from start to shutdown."""

import contextlib
import gc
import logging
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from srgan.engines.options import EngineOptions
from srgan.errors import UserError
from srgan.serve.front import Front, RequireToken
from srgan.serve.http.metrics import CountRequests, Metrics
from srgan.serve.http.service import make_service
from srgan.serve.jobs import Job, JobQueue
from srgan.serve.kitchen import Kitchen, OfferedModels
from srgan.serve.options import Address, Limits

GOODBYE_SECONDS = 2  # for the last answers at shutdown; connections of open pages never end
SWEEP_SECONDS = 30  # between two removals of expired results

log = logging.getLogger("srgan.serve")


class ServeError(UserError):
    """The server cannot start: one line with the reason and what to do."""


def serve(
    models: Sequence[str], engine: EngineOptions, address: Address, limits: Limits, *, page: bool
) -> None:
    """Serve until a signal: SIGINT stops at once, SIGTERM finishes the pictures of clients first.

    Args:
        models: "auto", shipped models or model files, the default first.
        page: serve the web page beside the service.

    Raises:
        ServeError: the server cannot listen on the address.
        CheckpointError, EngineError: a model cannot be loaded.
        SystemExit: a signal stopped the server: 130 or 143.
    """
    gc.disable()  # objects of the start stay in memory: searching them for garbage costs 0.4 s
    offered = OfferedModels(models, engine)
    with listen(address) as listener, tempfile.TemporaryDirectory(prefix="srgan-serve-") as name:
        metrics = Metrics()
        queue = JobQueue(limits, lambda job: _record(job, metrics))
        metrics.follow(queue)
        loading = queue.call(offered[offered.default].upscaler)  # during the imports below
        try:
            app = _application(offered, queue, address, limits, metrics, Path(name), page=page)
            loading.result()
            keep = limits.keep_seconds
            threading.Thread(target=_sweep, args=(queue, Path(name), keep), daemon=True).start()
            gc.freeze()
            gc.enable()
            _run(app, queue, limits, listener, _url(address, listener))
        finally:
            queue.close()


def _application(
    models: OfferedModels,
    queue: JobQueue,
    address: Address,
    limits: Limits,
    metrics: Metrics,
    folder: Path,
    *,
    page: bool,
) -> Any:
    results = folder / "results"
    results.mkdir()
    kitchen = Kitchen(models, results, limits.max_pixels)
    service = make_service(kitchen, queue, limits, metrics, secured=address.token is not None)
    web = None
    if page:
        from srgan.serve.page.page import make_page

        web = make_page(kitchen, queue, limits, folder / "page")
    app: Any = Front(service, web)
    if address.token is not None:
        app = RequireToken(app, address.token)
    return CountRequests(app, metrics)


def listen(address: Address) -> socket.socket:
    """Bind a socket to the address, before any other work: a port in use is an error at once.

    Raises:
        ServeError: the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    # With the protocol named, asyncio switches off Nagle's algorithm: it costs 40 ms an answer.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address.host, address.port))
    except OSError as error:
        listener.close()
        raise ServeError(
            f"cannot listen on {address.host} port {address.port} ({error.strerror}): "
            "choose another address with --host and --port"
        ) from error
    return listener


def _url(address: Address, listener: socket.socket) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"http://{host}:{listener.getsockname()[1]}"


def _record(job: Job, metrics: Metrics) -> None:
    """Count and log a job that ended."""
    metrics.count(job)
    if job.state == "done":
        result = job.outcome.result()
        (width, height), (new_width, new_height) = result.source_size, result.size
        log.info(
            "%dx%d -> %dx%d in %.1f s after %.1f s in the queue",
            *(width, height, new_width, new_height),
            *(job.seconds_computed, job.seconds_queued),
        )
    else:
        log.info("%s: %s", job.state, job.outcome.exception())


class _Server(uvicorn.Server):
    """SIGTERM drains: no new pictures; admitted ones are finished and fetched. SIGINT stops."""

    def __init__(
        self, config: uvicorn.Config, queue: JobQueue, drain_seconds: float, welcome: str
    ) -> None:
        super().__init__(config)
        self.received = 0
        self._queue = queue
        self._drain_seconds = drain_seconds
        self._welcome = welcome

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(self._welcome, flush=True)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._queue.drain()
        if sig == signal.SIGTERM and not self.received:
            threading.Thread(target=self._drain, daemon=True).start()
        elif self.should_exit:
            self.force_exit = True
        else:
            threading.Thread(target=self._stop, daemon=True).start()
        self.received = self.received or sig

    def _drain(self) -> None:
        end = time.monotonic() + self._drain_seconds
        while not self._queue.is_idle and time.monotonic() < end and not self.should_exit:
            time.sleep(0.1)
        self._stop()

    def _stop(self) -> None:
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # silences open pages
        self._queue.close()  # clients that still wait get an answer
        self.should_exit = True


def _run(app: Any, queue: JobQueue, limits: Limits, listener: socket.socket, url: str) -> None:
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=GOODBYE_SECONDS,
        server_header=False,
    )
    welcome = f"srgan is at {url} (service: {url}/docs); Ctrl-C stops it"
    server = _Server(config, queue, limits.drain_seconds, welcome)
    server.run(sockets=[listener])
    if server.received:
        raise SystemExit(128 + server.received)  # the signal itself may be ignored by now


def _sweep(queue: JobQueue, folder: Path, keep_seconds: float) -> None:
    while not queue.draining:
        time.sleep(SWEEP_SECONDS)
        queue.sweep()
        for file in folder.glob("page/tmp*"):  # gradio leaves an empty file for every upload
            with contextlib.suppress(OSError):
                if file.is_file() and time.time() - file.stat().st_mtime > keep_seconds:
                    file.unlink()
