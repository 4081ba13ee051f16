"""The queue on disk: bounds, shares, promises; what survives a stop, a kill and a damaged store."""

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from srgan.serve import preview
from srgan.serve.http.results import delivery
from srgan.serve.jobs import Job
from srgan.serve.options import Limits
from srgan.serve.orders import Order, Result, Size
from srgan.serve.problems import Problem
from srgan.serve.queue import JobQueue
from srgan.serve.store import JobStore, JobStoreError
from tests.support.results import result_of, start
from tests.support.server import TILE, Server, is_problem, running, wait_until

Make = Callable[..., JobQueue]


class Work:
    """Work of a queue, a result of `size` bytes each time it is allowed one."""

    def __init__(self) -> None:
        self.allowed = threading.Semaphore(0)
        self.size = 10_000
        self.started: list[str] = []
        self.is_small = False  # its encoding lets the next one start

    def __call__(
        self, job: Job, progress: Callable[[float], None], computed: Callable[[], None]
    ) -> Result:
        self.started.append(job.order.name)
        progress(0.0)
        if self.is_small:
            computed()
        while not self.allowed.acquire(timeout=0.02):
            progress(0.5)
        result = result_of(job, self.size, signs=["noisy"], notes=["n"])
        progress(1.0)
        return result


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def make(tmp_path: Path, work: Work) -> Iterator[Make]:
    queues: list[JobQueue] = []

    def make(**limits: Any) -> JobQueue:
        queue = JobQueue(JobStore(tmp_path / "data"), Limits(**limits), work)
        queues.append(queue)
        queue.restore()
        return queue

    yield make
    for queue in queues:
        queue.close()


def add(queue: JobQueue, client: str = "127.0.0.1", name: str = "a", size: int = 1000) -> Job:
    job = queue.admit(Order(model="m", name=name), client, kept=True, size=size)
    job.upload.write_bytes(bytes(size))
    return start(queue, job, size + 10_000)


def ended(job: Job) -> bool:
    return job.state in ("done", "failed")


def refusal(queue: JobQueue, **options: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        add(queue, **options)
    return caught.value


def test_a_result_that_nobody_fetched_stays_and_a_fetched_one_makes_room(
    make: Make, work: Work
) -> None:
    queue = make(keep_bytes=30_000)
    work.allowed.release(10)
    first, second = add(queue), add(queue, size=2000)
    wait_until(lambda: ended(first) and ended(second))
    assert queue.stored == 11_000 + 12_000
    full = refusal(queue)
    assert (full.status, full.kind) == (507, "storage-full")
    assert 3590 < int(full.headers["Retry-After"]) <= 3600  # when the oldest expires
    queue.fetched(first)
    third = add(queue)
    with pytest.raises(Problem, match="no longer kept") as caught:
        queue.get(first.id)
    assert caught.value.status == 410
    assert queue.get(second.id) is second
    assert not first.folder.exists()
    wait_until(lambda: ended(third))


@pytest.mark.parametrize("goes_away", [True, False])
def test_half_a_result_is_not_fetched(make: Make, work: Work, goes_away: bool) -> None:
    queue = make()
    work.size = 1_000_000
    work.allowed.release()
    job = add(queue)
    wait_until(lambda: ended(job))
    assert job.result
    gone = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if goes_away and message["type"] == "http.response.body":
            gone.set()
            await asyncio.sleep(60)

    scope: Any = {"type": "http", "method": "GET", "headers": []}
    asyncio.run(delivery(queue, job, job.result)(scope, receive, send))
    assert bool(job.fetched) is not goes_away


def test_an_upload_that_grows_stops_at_the_bound(make: Make) -> None:
    queue = make(keep_bytes=50_000)
    job = queue.admit(Order(model="m"), "127.0.0.1", kept=True)
    queue.reserve(job, 40_000)
    other = queue.admit(Order(model="m"), "127.0.0.1", kept=True)
    with pytest.raises(Problem, match="no room"):
        queue.reserve(other, 20_000)
    with pytest.raises(Problem, match="choose jpeg"):
        queue.reserve(job, 60_000)
    assert queue.stored <= 50_000


def test_a_result_larger_than_its_estimate_needs_room(make: Make, work: Work) -> None:
    queue = make(keep_bytes=50_000)
    work.size = 60_000
    work.allowed.release()
    job = add(queue)
    wait_until(lambda: ended(job))
    assert job.problem
    assert job.problem.kind == "result-too-large"


def test_one_client_of_another_machine_has_its_share(make: Make) -> None:
    queue = make(queue=8, client_share=0.5, keep_bytes=200_000)
    for _ in range(4):
        add(queue, "10.0.0.1")
    assert refusal(queue, client="10.0.0.1").kind == "share-used"
    assert refusal(queue, client="10.0.0.2", size=90_001).kind == "share-used"
    for number in range(4):
        add(queue, f"10.0.1.{number}")
    assert refusal(queue).kind == "queue-full"


def test_who_is_refused_gets_a_time_of_its_own(make: Make) -> None:
    queue = make(queue=1)
    add(queue)
    times = [int(refusal(queue).headers["Retry-After"]) for _ in range(6)]
    assert times == [1, 2, 3, 4, 4, 4]  # a second each, and never more than four queues


def test_a_stop_keeps_the_queue_and_the_results(make: Make, work: Work) -> None:
    queue = make()
    work.allowed.release()
    done = add(queue, name="done")
    wait_until(lambda: ended(done))
    jobs = [done, *(add(queue, name=str(number)) for number in range(3))]
    wait_until(lambda: jobs[1].state == "running")
    queue.close()
    assert jobs[1].state == "queued"

    again = make()
    restored = [again.get(job.id) for job in jobs]
    assert restored[0].result == done.result
    assert [job.order.name for job in restored] == ["done", "0", "1", "2"]
    work.allowed.release(3)
    wait_until(lambda: all(map(ended, restored)))
    assert work.started == ["done", "0", "0", "1", "2"]


def test_the_next_one_starts_while_a_small_one_is_encoded(make: Make, work: Work) -> None:
    queue = make()
    jobs = [add(queue, name=str(number)) for number in range(3)]
    wait_until(lambda: jobs[0].state == "running")
    time.sleep(0.1)
    assert jobs[1].state == "queued"
    work.is_small = True
    work.allowed.release()
    wait_until(lambda: jobs[2].state == "running")
    assert (ended(jobs[0]), jobs[1].state) == (True, "running")
    work.allowed.release(2)
    wait_until(lambda: all(map(ended, jobs)))
    assert work.started == ["0", "1", "2"]


def test_a_drain_starts_only_what_somebody_waits_for(make: Make, work: Work) -> None:
    queue = make()
    running, kept, awaited = (add(queue, name=name) for name in ("running", "kept", "awaited"))
    awaited.clients = 1
    wait_until(lambda: running.state == "running")
    queue.draining = True
    work.allowed.release(2)
    wait_until(lambda: ended(running) and ended(awaited))
    assert kept.state == "queued"
    assert refusal(queue).kind == "draining"


def test_expired_jobs_are_remembered(make: Make, work: Work) -> None:
    queue = make(keep_seconds=1)
    work.allowed.release()
    job = add(queue)
    wait_until(lambda: ended(job))
    job.finished -= 2
    with pytest.raises(Problem, match="no longer kept"):
        queue.get(job.id)
    queue.close()
    again = make(keep_seconds=1)
    with pytest.raises(Problem, match="no longer kept"):
        again.get(job.id)
    with pytest.raises(Problem, match="no such job"):
        again.get("unknown")


def test_a_picture_that_kills_the_server_is_given_up(
    tmp_path: Path, make: Make, work: Work
) -> None:
    queue = make()
    job = add(queue)
    wait_until(lambda: job.state == "running")
    queue.close()
    for _ in range(3):
        store = JobStore(tmp_path / "data")
        (text,) = store.load()
        kept = json.loads(text)
        kept["attempts"] += 1
        store.save(kept["id"], kept["created"], json.dumps(kept))
        store.close()
    again = make().get(job.id)
    wait_until(lambda: ended(again))
    assert again.problem
    assert again.problem.kind == "internal-error"


def test_a_folder_has_one_server_and_must_be_whole(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "data")
    with pytest.raises(JobStoreError, match="another server uses this folder"):
        JobStore(tmp_path / "data")
    store.close()
    (tmp_path / "data" / "jobs" / "leftover").mkdir()
    store = JobStore(tmp_path / "data")
    assert store.load() == []
    assert list(store.jobs.iterdir()) == []
    store.close()
    (tmp_path / "data" / "queue.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(JobStoreError, match="remove the folder"):
        JobStore(tmp_path / "data")
    (tmp_path / "file").touch()
    with pytest.raises(JobStoreError, match="--data"):
        JobStore(tmp_path / "file" / "data")


# -- As a user runs it ----------------------------------------------------------------------------


def test_twenty_waiting_jobs_survive_a_kill(small_model: Path, photo: Path, tmp_path: Path) -> None:
    options = ("--no-page", "-m", small_model, *TILE, "--data", tmp_path / "data")
    with running(*options, folder=tmp_path) as server:
        locations = [post(server, photo) for _ in range(20)]
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
    leftovers = tmp_path / "data" / "jobs" / "dead"
    leftovers.mkdir()
    with running(*options, folder=tmp_path) as server:
        statuses = server.wait_for(*locations)
        assert [status["status"] for status in statuses] == ["done"] * 20
        sizes = [len(server.client.get(f"{path}/result").content) for path in locations]
        assert sizes == [status["bytes"] for status in statuses]
        assert not leftovers.exists()


def post(server: Server, photo: Path) -> str:
    answer = server.post(photo.read_bytes(), "/v1/jobs", format="png")
    assert answer.status_code == 202
    return answer.headers["location"]


def test_a_dead_servers_temporary_folder_is_removed(small_model: Path, tmp_path: Path) -> None:
    options = ("--no-page", "-m", small_model)
    dead = tmp_path / "srgan-serve-dead"
    JobStore(dead).close()
    long_ago = time.time() - 1000
    os.utime(dead, (long_ago, long_ago))
    with running(*options, folder=tmp_path) as server:
        assert not dead.exists()
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(30)
    assert list(tmp_path.glob("srgan-serve-*")) == []


def test_uploads_at_once_stay_within_the_bound(small_model: Path, tmp_path: Path) -> None:
    """12 uploads of 1.9 MB, 6 MB allowed: refused ones cost nothing, and the disk has 6 MB."""
    limits = ("--keep-bytes", 6_000_000, "--max-bytes", 2_000_000)
    with running("--no-page", "-m", small_model, *limits, folder=tmp_path) as server:
        most, stop = [0], threading.Event()

        def watch() -> None:
            while not stop.wait(0.005):
                most.append(server.disk())

        def upload(answers: list[Any]) -> None:
            chunks = (bytes(100_000) for _ in range(19))
            answers.append(server.client.post("/v1/jobs", content=chunks))

        answers: list[Any] = []
        watcher = threading.Thread(target=watch)
        watcher.start()
        threads = [threading.Thread(target=upload, args=(answers,)) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stop.set()
        watcher.join()
        assert max(most) <= 6_000_000
        statuses = {answer.status_code for answer in answers}
        assert statuses <= {415, 507}
        assert all(is_problem(a, 507, "storage-full") for a in answers if a.status_code == 507)
        wait_until(lambda: server.disk() == 0)


def test_results_that_one_client_never_fetches_do_not_lock_out_others(
    make: Make, work: Work
) -> None:
    queue = make(keep_jobs=4, client_share=0.5)
    work.allowed.release(10)
    for _ in range(2):
        job = add(queue, "10.0.0.1")
        wait_until(lambda job=job: ended(job))
    assert refusal(queue, client="10.0.0.1").kind == "share-used"
    add(queue, "10.0.0.2")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_a_preview_is_no_larger_than_it_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setattr(preview, "MOST_PIXELS", 1000)
    job = Job(Order(model="m", name="a"), "127.0.0.1", tmp_path, kept=True)
    job.folder.mkdir()
    Image.effect_noise((120, 100), 50).save(job.folder / f"result.{suffix}")
    result = Result(
        name="a",
        type="image/png",
        bytes=1,
        source_size=Size(width=30, height=25),
        size=Size(width=120, height=100),
        model="m",
        why="asked",
        signs=[],
        notes=[],
    )
    monkeypatch.setattr(Result, "file", f"result.{suffix}")
    for _ in range(2):  # the second is read from the folder
        shown = preview.make_preview(job, "result", result, lambda _: None)
        assert Image.open(shown).size == (35, 29)
