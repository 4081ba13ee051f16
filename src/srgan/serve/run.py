"""Runs the server: one process with the page and the service, from start to shutdown."""

import contextlib
import gc
import logging
import signal
import socket
import threading
import time
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from math import ceil
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from platformdirs import user_state_path

from srgan.engines.options import EngineOptions
from srgan.errors import UserError
from srgan.serve.guard import Guard
from srgan.serve.http.metrics import Metrics
from srgan.serve.http.service import make_service
from srgan.serve.jobs import Job
from srgan.serve.kitchen import Kitchen, OfferedModels
from srgan.serve.log import LogRequests
from srgan.serve.options import Access, Address, Limits
from srgan.serve.page.page import add_docs, add_page
from srgan.serve.patience import Impatient
from srgan.serve.queue import JobQueue
from srgan.serve.store import JobStore, temporary_store_folder

GOODBYE_SECONDS = 2  # for the last answers at shutdown; connections of open pages never end
SWEEP_SECONDS = 30  # between two removals of expired results

log = logging.getLogger("srgan.serve")


class ServeError(UserError):
    """The server cannot start: one line with the reason and what to do."""


def serve(
    models: Sequence[str],
    engine: EngineOptions,
    address: Address,
    access: Access,
    limits: Limits,
    *,
    page: bool,
) -> None:
    """Serve until a signal: SIGINT stops at once, SIGTERM finishes what clients wait for first.

    Args:
        models: "auto", shipped models or model files, the default first.
        page: serve the web page beside the service.

    Raises:
        ServeError: the server cannot listen on the address.
        JobStoreError: the folder of the queue cannot be used.
        CheckpointError, EngineError: a model cannot be loaded.
        SystemExit: a signal stopped the server: 130 or 143.
    """
    gc.disable()  # objects of the start stay in memory: searching them for garbage costs 0.4 s
    with listen(address) as listener, _data_folder(address) as folder:
        offered = OfferedModels(models, engine)
        kitchen = Kitchen(offered, limits.max_pixels)
        metrics = Metrics()
        store = JobStore(folder)
        queue = JobQueue(store, limits, kitchen.upscale, lambda job: _record(job, metrics))
        metrics.follow(queue)
        try:
            default = offered[offered.default]
            loading = queue.submit(lambda _: default.upscaler())  # during the start of the rest
            queue.restore()
            service = make_service(kitchen, queue, limits, metrics, secured=bool(access.token))
            add_docs(service)
            if page:
                add_page(service)
            app = LogRequests(Guard(service, access), metrics)
            threading.Thread(target=_sweep, args=(queue,), daemon=True).start()
            gc.freeze()
            gc.enable()
            _run(app, queue, limits, address, listener, loading)
        finally:
            queue.close()


@contextlib.contextmanager
def _data_folder(address: Address) -> Generator[Path]:
    if address.data is not None:
        yield address.data
    elif address.port == 0:
        with temporary_store_folder() as folder:
            yield folder
    else:
        yield user_state_path("srgan") / f"serve-{address.port}"


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
    facts: dict[str, Any] = {"job": job.id, "client": job.client, "outcome": job.state}
    if job.result:
        facts["source"] = str(job.result.source_size)
        facts["size"] = str(job.result.size)
        facts["model"] = job.result.model
    elif job.problem:
        facts["problem"] = job.problem.kind
    facts["queued"] = round(job.seconds_queued, 3)
    facts["seconds"] = round(job.seconds_computed, 3)
    log.info("picture", extra={"facts": facts})


class _Server(uvicorn.Server):
    """SIGTERM drains: no new pictures; the running one and awaited ones are finished. SIGINT stops.

    The rest of the queue stays on disk for the next start.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        queue: JobQueue,
        drain_seconds: float,
        welcome: str,
        loading: Future[Any],
    ) -> None:
        super().__init__(config)
        self.received = 0
        self._queue = queue
        self._drain_seconds = drain_seconds
        self._welcome = welcome
        self._loading = loading

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(self._welcome, flush=True)
        self._loading.add_done_callback(self._check_model)

    def _check_model(self, loading: Future[Any]) -> None:
        """Stop if the default model cannot run here."""
        if not loading.cancelled() and loading.exception():
            self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._queue.draining = True
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


def _run(
    app: Any,
    queue: JobQueue,
    limits: Limits,
    address: Address,
    listener: socket.socket,
    loading: Future[Any],
) -> None:
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        http=Impatient,
        timeout_keep_alive=ceil(limits.silent_seconds),
        timeout_graceful_shutdown=GOODBYE_SECONDS,
        server_header=False,
        proxy_headers=bool(address.trusted_proxy),
        forwarded_allow_ips=list(address.trusted_proxy),
        root_path=address.root_path.rstrip("/"),
    )
    url = _url(address, listener)
    welcome = f"srgan is at {url} (service: {url}/docs); Ctrl-C stops it"
    server = _Server(config, queue, limits.drain_seconds, welcome, loading)
    server.run(sockets=[listener])
    if server.received:
        raise SystemExit(128 + server.received)  # the signal itself may be ignored by now
    loading.result()


def _sweep(queue: JobQueue) -> None:
    while not queue.draining:
        time.sleep(SWEEP_SECONDS)
        if not queue.draining:
            queue.sweep()
