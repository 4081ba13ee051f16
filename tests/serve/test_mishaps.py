"""Disks that are full, and clients that delete, read only a part, or read nothing."""

import asyncio
import errno
import logging
import shutil
import socket
import sqlite3
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.server import ServerState

from srgan.engines.options import EngineOptions
from srgan.serve import patience
from srgan.serve.http.metrics import Metrics
from srgan.serve.http.results import delivery
from srgan.serve.http.service import make_service
from srgan.serve.jobs import Job
from srgan.serve.kitchen import Kitchen, OfferedModels
from srgan.serve.options import Address, Limits
from srgan.serve.orders import Order, Result
from srgan.serve.patience import Impatient
from srgan.serve.problems import Problem
from srgan.serve.queue import JobQueue
from srgan.serve.run import listen
from srgan.serve.store import JobStore
from tests.support.results import result_of, start
from tests.support.server import is_problem, wait_until

FULL = (errno.ENOSPC, errno.EDQUOT)


class Disk:
    """The database of a store, on a disk that can be full."""

    def __init__(self, store: JobStore) -> None:
        self.is_full = False
        self._database: sqlite3.Connection = store._database
        store._database = self  # type: ignore[assignment]

    def __enter__(self) -> None:
        self._database.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._database.__exit__(*error)

    def execute(self, *statement: Any) -> Any:
        self._database.execute(f"PRAGMA max_page_count = {1 if self.is_full else 1000}")
        if self.is_full:
            self._database.execute("INSERT INTO jobs VALUES ('big', 0, zeroblob(1000000))")
        return self._database.execute(*statement)

    def close(self) -> None:
        self._database.close()


class Place:
    """A queue whose work makes `size` bytes when it may, and what belongs to the queue."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.size = 1000
        self.may_end = threading.Event()
        self.watched: list[Job] = []
        store = JobStore(folder)
        self.disk = Disk(store)
        self.queue = JobQueue(store, Limits(), self.work, self.watched.append)

    def work(self, job: Job, progress: Callable[[float], None], _: Callable[[], None]) -> Result:
        while not self.may_end.wait(0.02):
            progress(0.5)
        return result_of(job, self.size)

    def add(self) -> Job:
        return start(self.queue, self.queue.admit(Order(model="m"), "127.0.0.1", kept=True))

    def done(self) -> Job:
        self.may_end.set()
        job = self.add()
        wait_until(lambda: job.state == "done")
        return job

    def stored(self) -> dict[str, str]:
        """The states of the jobs as the next start finds them."""
        self.queue.close()
        store = JobStore(self.folder)
        jobs = [Job.from_json(text, store.jobs) for text in store.load()]
        store.close()
        return {job.id: job.state for job in jobs}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path / "data")
    yield place
    place.queue.close()


@pytest.fixture
def ask(place: Place, small_model: Path) -> Callable[..., Coroutine[Any, Any, httpx.Response]]:
    """Sends a request to the service over the queue."""
    kitchen = Kitchen(OfferedModels([str(small_model)], EngineOptions(threads=1)), 1_000_000)
    app = make_service(kitchen, place.queue, Limits(), Metrics(), secured=False)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)

    async def ask(method: str, path: str, **options: Any) -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path, **options)

    return ask


# -- Full disks -----------------------------------------------------------------------------------


def test_a_disk_that_is_full_for_a_moment_loses_no_job(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    first, second, third = (place.add() for _ in range(3))
    wait_until(lambda: first.state == "running")
    place.disk.is_full = True
    with caplog.at_level(logging.ERROR):
        place.queue.remove(third)
        place.may_end.set()
        wait_until(lambda: (first.state, second.state) == ("done", "done"))
        wait_until(lambda: len(place.watched) == 3)
    assert "the queue cannot be written: database or disk is full" in caplog.text
    assert place.queue.open_jobs == 0
    place.disk.is_full = False
    fourth = place.done()  # what could not be written is written with it
    assert place.stored() == dict.fromkeys((first.id, second.id, fourth.id), "done")


def test_a_job_that_cannot_be_written_is_refused(place: Place) -> None:
    place.disk.is_full = True
    with pytest.raises(Problem) as caught:
        place.add()
    assert (caught.value.status, caught.value.kind) == (507, "storage-full")
    place.disk.is_full = False
    assert (place.queue.open_jobs, place.queue.stored) == (0, 0)
    job = place.done()
    assert place.stored() == {job.id: "done"}


def test_exceptions_of_the_queue_are_logged(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job = place.add()
    monkeypatch.setattr(place.queue, "_watch", lambda _: [].pop())
    place.may_end.set()
    wait_until(lambda: job.state == "done")
    wait_until(lambda: "pop from empty list" in caplog.text)


@pytest.mark.parametrize(
    ("where", "code"),
    [
        *((where, code) for where in ("folder", "file", "copy") for code in FULL),
        *((where, errno.ENOSPC) for where in ("bytes", "last bytes")),
    ],
)
def test_an_upload_on_a_full_disk(
    place: Place,
    ask: Callable[..., Any],
    photo: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    code: int,
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(code, "full")

    path, body = "/v1/jobs", photo.read_bytes()
    if where == "folder":
        monkeypatch.setattr(Path, "mkdir", refuse)
    elif where == "file":
        monkeypatch.setattr(Path, "open", refuse)
    elif where == "copy":
        monkeypatch.setattr(shutil, "copyfile", refuse)
        place.may_end.set()
        path = f"/v1/jobs/{asyncio.run(ask('POST', path, content=body)).json()['id']}/again"
    else:
        monkeypatch.setattr(Job, "upload", Path("/dev/full"))
        body = bytes(1_000_000 if where == "bytes" else 100)
    answer = asyncio.run(ask("POST", path, content=b"" if where == "copy" else body))
    assert is_problem(answer, 507, "storage-full")
    wait_until(lambda: place.queue.open_jobs == 0)


def test_other_errors_of_a_disk_are_the_servers(
    ask: Callable[..., Any], photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(Path, "open", refuse)
    body = b"no picture"
    assert is_problem(asyncio.run(ask("POST", "/v1/jobs", content=body)), 500, "internal-error")


# -- Clients --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "status", "counts"),
    [
        (None, 200, True),
        ("bytes=0-0", 206, False),
        ("bytes=0-998", 206, False),
        ("bytes=500-", 206, True),
        ("bytes=0-0,-1", 206, False),
        ("bytes=5000-", 416, False),
        ("bytes", 400, False),
    ],
)
def test_a_part_without_the_end_is_not_fetched(
    place: Place, ask: Callable[..., Any], part: str | None, status: int, counts: bool
) -> None:
    job = place.done()
    headers = {"range": part} if part else {}
    answer = asyncio.run(ask("GET", f"/v1/jobs/{job.id}/result", headers=headers))
    assert answer.status_code == status
    assert bool(job.fetched) is counts


def test_a_client_that_goes_away_before_the_last_bytes(place: Place) -> None:
    job = place.done()
    assert job.result
    gone = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            gone.set()
            with suppress(asyncio.CancelledError):  # uvicorn returns, as if it had sent the bytes
                await asyncio.sleep(60)

    scope: Any = {"type": "http", "method": "GET", "headers": []}
    asyncio.run(delivery(place.queue, job, job.result)(scope, receive, send))
    assert not job.fetched


@pytest.mark.parametrize("stops", [False, True])
def test_who_waits_for_a_deleted_job_hears_so(
    place: Place, ask: Callable[..., Any], photo: Path, stops: bool
) -> None:
    async def delete() -> httpx.Response:
        post = {"content": photo.read_bytes(), "headers": {"idempotency-key": "a"}}
        job = place.queue.get((await ask("POST", "/v1/jobs", **post)).json()["id"])
        waiting = asyncio.create_task(ask("POST", "/v1/upscale", **post))
        while not job.clients:
            await asyncio.sleep(0.01)
        if stops:
            await asyncio.to_thread(place.queue.close)
        else:
            assert (await ask("DELETE", f"/v1/jobs/{job.id}")).status_code == 204
        return await waiting

    expected = (503, "draining") if stops else (404, "no-such-job")
    assert is_problem(asyncio.run(delete()), *expected)


@contextmanager
def connected(place: Place, job: Job) -> Iterator[socket.socket]:
    """A client of a server that has one answer, the job's result, and little patience."""
    result = job.result
    assert result

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await delivery(place.queue, job, result)(scope, receive, send)

    config = uvicorn.Config(
        app, http=Impatient, timeout_keep_alive=1, log_config=None, lifespan="off"
    )
    server = uvicorn.Server(config)
    with listen(Address(port=0)) as listener, socket.socket() as client:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            wait_until(lambda: server.started)
            client.connect(listener.getsockname())
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            yield client
        finally:
            client.close()
            server.should_exit = True
            thread.join()


def test_a_client_that_reads_nothing_does_not_hold_its_result(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(patience, "READING_SECONDS", 1)
    place.size = 30_000_000  # more than the kernel takes
    job = place.done()
    with connected(place, job):
        wait_until(lambda: job.readers == 1)
        wait_until(lambda: job.readers == 0)
        assert not job.fetched
        assert "a client took nothing for 1 s" in caplog.text


class Wire(asyncio.Transport):
    """A connection; each look at what waits to be sent finds the next of `sizes`."""

    def __init__(self, *sizes: int) -> None:
        super().__init__()
        self.sizes = list(sizes)
        self.is_aborted = False

    def get_write_buffer_size(self) -> int:
        return self.sizes.pop(0)

    def abort(self) -> None:
        self.is_aborted = True


@pytest.mark.parametrize(
    ("sizes", "is_closed"), [((9, 9), True), ((9, 8, 8), True), ((9, 8, 7, 1, 0), False)]
)
def test_a_slow_client_may_read_on(
    sizes: tuple[int, ...], is_closed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "READING_SECONDS", 0)

    async def watch() -> None:
        protocol = Impatient(uvicorn.Config(lambda: None), ServerState(), {})
        wire = protocol.transport = Wire(*sizes)
        protocol.flow = FlowControl(wire)
        protocol.pause_writing()
        while wire.sizes:
            assert not wire.is_aborted
            await asyncio.sleep(0)
        assert wire.is_aborted is is_closed

    asyncio.run(asyncio.wait_for(watch(), 10))


def test_a_client_that_reads_again_is_not_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "READING_SECONDS", 0)

    async def watch() -> None:
        protocol = Impatient(uvicorn.Config(lambda: None), ServerState(), {})
        wire = protocol.transport = Wire(9, 9)
        protocol.flow = FlowControl(wire)
        protocol.pause_writing()
        protocol.resume_writing()
        await asyncio.sleep(0.05)
        assert wire.sizes == [9]

    asyncio.run(watch())
