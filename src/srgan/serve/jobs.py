"""The queue: pictures of the page and of /v1 wait their turn here, one is computed at a time."""

import logging
import secrets
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from srgan.serve.options import Limits
from srgan.serve.problems import Problem, draining, no_such_job, queue_full, too_much_time
from srgan.upscaling.auto import Choice


@dataclass(frozen=True)
class Result:
    """A finished picture, in a folder of the server's own that holds nothing else."""

    path: Path
    name: str  # for the client's file
    media_type: str
    bytes: int
    source_size: tuple[int, int]  # width, height
    size: tuple[int, int]
    choice: Choice  # the model that made it
    notes: tuple[str, ...]  # for people: what was left out or converted

    @property
    def stored(self) -> int:
        """Bytes on disk, what else lies in the folder included."""
        return sum(file.stat().st_size for file in self.path.parent.iterdir())

    def discard(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path.parent, ignore_errors=True)


State = Literal["receiving", "queued", "running", "done", "failed", "cancelled"]
Work = Callable[[Callable[[float], None]], Result]

log = logging.getLogger("srgan")


class Cancelled(Exception):  # noqa: N818 - no error: somebody asked for it
    """The job's client has cancelled it, or has gone."""


class Job:
    """One picture on its way. Made by its `JobQueue`, which alone changes its state."""

    def __init__(self, kept: bool) -> None:
        self.id = secrets.token_urlsafe(16)
        self.kept = kept
        self.state: State = "receiving"
        self.fraction = 0.0
        self.stored = 0  # bytes of the result on disk
        self.delivered = False  # to be set by whoever has told the client what came of it
        self.queued = self.started = self.finished = 0.0  # time.monotonic()
        self.outcome: Future[Result] = Future()
        self.outcome.set_running_or_notify_cancel()  # so that no waiter can cancel it
        self.work: Work | None = None  # holds the upload, so it goes as soon as it can

    @property
    def is_open(self) -> bool:
        """Whether it holds one of the queue's slots."""
        return self.state in ("receiving", "queued", "running")

    @property
    def seconds_queued(self) -> float:
        return (self.started or self.finished or time.monotonic()) - self.queued

    @property
    def seconds_computed(self) -> float:
        return ((self.finished or time.monotonic()) - self.started) if self.started else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Of computing, from its pace so far."""
        if self.state != "running" or not self.fraction:
            return None
        return self.seconds_computed * (1 - self.fraction) / self.fraction


class JobQueue:
    """A bounded queue with one worker: a model is not for two threads at once.

    All methods are for any thread.
    """

    def __init__(self, limits: Limits, watch: Callable[[Job], None] = lambda _job: None) -> None:
        """watch: called with every job that has come to its end, for metrics."""
        self._limits = limits
        self._watch = watch
        self._jobs: dict[str, Job] = {}  # in the order they came
        self._lock = threading.RLock()
        self._worker = ThreadPoolExecutor(1, "srgan-worker")
        self._recent: deque[float] = deque(maxlen=20)  # seconds that pictures took
        self.draining = False

    def call(self, function: Callable[[], Any]) -> Future[Any]:
        """Run `function` in the worker's thread, after what waits there already."""
        return self._worker.submit(function)

    def admit(self, *, kept: bool) -> Job:
        """A slot, before any of the picture has been received.

        Args:
            kept: the result waits for its client to fetch it, as `Limits` says; otherwise the
                caller removes the job.

        Raises:
            Problem: no slot is free, or the server is going down.
        """
        with self._lock:
            self.sweep()
            if self.draining:
                raise draining()
            stored = sum(job.stored for job in self._jobs.values())
            if self.open_jobs >= self._limits.queue or stored > self._limits.keep_bytes:
                raise queue_full(self.retry_after)
            job = Job(kept)
            self._jobs[job.id] = job
            return job

    def start(self, job: Job, work: Work) -> None:
        """Put an admitted job in line; `work` gets a function to tell its progress to.

        Raises:
            Problem: the server is going down.
        """
        with self._lock:
            if job.state != "receiving":  # the server's end has cancelled it meanwhile
                raise draining()
            job.state, job.work, job.queued = "queued", work, time.monotonic()
        self._worker.submit(self._run, job)

    def get(self, identifier: str) -> Job:
        """Raises Problem for a job that does not exist, or no longer."""
        with self._lock:
            self.sweep()
            job = self._jobs.get(identifier)
        if job is None or not job.kept:
            raise no_such_job()
        return job

    def position(self, job: Job) -> int:
        """Jobs that come before this one."""
        with self._lock:
            waiting = [each for each in self._jobs.values() if each.state in ("queued", "running")]
        return sum(each.queued < job.queued for each in waiting)

    def remove(self, job: Job) -> None:
        """Cancel a job that is not finished; forget it and its result."""
        with self._lock:
            self._jobs.pop(job.id, None)
            self._finish(job, "cancelled", Cancelled("by its client, or it has gone"))
        if job.outcome.exception() is None:
            job.outcome.result().discard()

    def refuse(self, job: Job, problem: Problem) -> None:
        """Forget a job whose upload turned out to be no picture to upscale."""
        with self._lock:
            self._jobs.pop(job.id, None)
        self._finish(job, "failed", problem)

    def sweep(self) -> None:
        """Forget finished jobs that are too old or too many, or whose results need the room."""
        with self._lock:
            finished = [job for job in self._jobs.values() if job.kept and not job.is_open]
            stored = sum(job.stored for job in self._jobs.values())
            oldest = time.monotonic() - self._limits.keep_seconds
            excess = len(finished) - self._limits.keep_jobs
            for number, job in enumerate(finished):
                full = stored > self._limits.keep_bytes
                if number < excess or full or job.finished < oldest:
                    stored -= job.stored
                    self.remove(job)

    def drain(self) -> None:
        """Take on nothing new."""
        self.draining = True

    def close(self) -> None:
        """Cancel everything and end the worker."""
        self.drain()
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            self.remove(job)
        self._worker.shutdown(cancel_futures=True)

    @property
    def open_jobs(self) -> int:
        with self._lock:
            return sum(job.is_open for job in self._jobs.values())

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for anything, not even to fetch a result."""
        with self._lock:
            return all(job.delivered for job in self._jobs.values())

    @property
    def retry_after(self) -> int:
        """Seconds after which a slot should be free."""
        recent = list(self._recent)
        return min(max(round(sum(recent) / max(len(recent), 1)), 1), 60)

    def _run(self, job: Job) -> None:
        with self._lock:
            if job.state != "queued":
                return
            job.state, job.started, work = "running", time.monotonic(), job.work
        assert work is not None
        try:
            result = work(lambda fraction: self._progress(job, fraction))
        except Exception as error:
            if not isinstance(error, Problem | Cancelled):
                log.error("a picture failed", exc_info=error)
                error = Problem(500, "internal-error", "the server failed: see its log")
            self._finish(job, "failed", error)
        else:
            self._recent.append(time.monotonic() - job.started)
            if not self._finish(job, "done", result):
                result.discard()

    def _progress(self, job: Job, fraction: float) -> None:
        if job.state == "cancelled":
            raise Cancelled
        if time.monotonic() - job.started > self._limits.max_seconds:
            raise too_much_time(self._limits.max_seconds)
        job.fraction = min(fraction, 1.0)

    def _finish(self, job: Job, state: State, outcome: "Result | Exception") -> bool:
        """Free the slot; False where the job had come to its end already."""
        with self._lock:
            if not job.is_open:
                return False
            job.state, job.work, job.finished = state, None, time.monotonic()
            if isinstance(outcome, Exception):
                job.outcome.set_exception(outcome)
            else:
                job.fraction, job.stored = 1.0, outcome.stored
                job.outcome.set_result(outcome)
        self._watch(job)
        return True
