"""The queue of jobs: pictures of the page and of /v1 wait here, and are computed one at a time.

A job is admitted before its upload, so that a full queue costs no upload. Its states:

    receiving -> queued -> running -> done, failed or cancelled

The first three hold one of the queue's slots; the others end the job.
"""

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
    """A finished picture, in a folder that holds nothing else."""

    path: Path
    name: str  # of the client's file
    media_type: str
    bytes: int
    source_size: tuple[int, int]  # width, height
    size: tuple[int, int]  # width, height
    choice: Choice  # the model that made it
    notes: tuple[str, ...]  # for people: what was left out or converted

    @property
    def stored(self) -> int:
        """Bytes on disk of all files in the folder."""
        return sum(file.stat().st_size for file in self.path.parent.iterdir())

    def discard(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path.parent, ignore_errors=True)


State = Literal["receiving", "queued", "running", "done", "failed", "cancelled"]
Work = Callable[[Callable[[float], None]], Result]

log = logging.getLogger("srgan")


class Cancelled(Exception):  # noqa: N818 - not an error: the client wanted it
    """The job's client cancelled it or disconnected."""


class Job:
    """One picture to upscale. Only its `JobQueue` makes it and changes its state.

    Attributes:
        id: secret name; anyone who knows it can fetch the result.
        kept: the result waits until its client fetches it.
        fraction: of the work that is done, 0 to 1.
        stored: bytes of the result on disk.
        delivered: the client knows the outcome. The code that tells the client sets it.
        queued, started, finished: times of `time.monotonic`, 0 if not reached.
        outcome: the result; or a Problem, or Cancelled.
    """

    def __init__(self, kept: bool) -> None:
        self.id = secrets.token_urlsafe(16)
        self.kept = kept
        self.state: State = "receiving"
        self.fraction = 0.0
        self.stored = 0
        self.delivered = False
        self.queued = self.started = self.finished = 0.0
        self.outcome: Future[Result] = Future()
        self.outcome.set_running_or_notify_cancel()  # so that no waiter can cancel it
        self.work: Work | None = None  # holds the upload, so it is released as early as possible

    @property
    def is_open(self) -> bool:
        """Whether the job has not ended, and so holds one of the queue's slots."""
        return self.state in ("receiving", "queued", "running")

    @property
    def seconds_queued(self) -> float:
        """Time in the queue, so far or until the work started."""
        return (self.started or self.finished or time.monotonic()) - self.queued

    @property
    def seconds_computed(self) -> float:
        """Time of computing, so far or in all; 0 before it starts."""
        return ((self.finished or time.monotonic()) - self.started) if self.started else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Estimated time of computing that is left; None while it is unknown."""
        if self.state != "running" or not self.fraction:
            return None
        return self.seconds_computed * (1 - self.fraction) / self.fraction


class JobQueue:
    """A bounded queue with one worker thread: two threads must not use a model at once.

    All methods can be called from any thread.
    """

    def __init__(self, limits: Limits, watch: Callable[[Job], None] = lambda _job: None) -> None:
        """watch: called with every job that ended, for metrics and the log."""
        self._limits = limits
        self._watch = watch
        self._jobs: dict[str, Job] = {}  # in the order of their admission
        self._lock = threading.RLock()
        self._worker = ThreadPoolExecutor(1, "srgan-worker")
        self._recent: deque[float] = deque(maxlen=20)  # seconds to compute the last pictures
        self.draining = False

    def call(self, function: Callable[[], Any]) -> Future[Any]:
        """Run `function` in the worker's thread, after the work that waits there."""
        return self._worker.submit(function)

    def admit(self, *, kept: bool) -> Job:
        """Reserve a slot for a picture that is not received yet.

        Args:
            kept: the result is kept within `Limits` until its client fetches it. Otherwise the
                caller must remove the job.

        Raises:
            Problem: no slot is free, or the server is shutting down.
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
        """Put an admitted job into the queue.

        Args:
            work: computes the picture in the worker's thread. It gets a function that it must
                call with the fraction done, and that raises to end the work.

        Raises:
            Problem: the server is shutting down.
        """
        with self._lock:
            if job.state != "receiving":  # the shutdown has cancelled it meanwhile
                raise draining()
            job.state, job.work, job.queued = "queued", work, time.monotonic()
        self._worker.submit(self._run, job)

    def get(self, identifier: str) -> Job:
        """The kept job with this id.

        Raises:
            Problem: there is no such job, or it is no longer kept.
        """
        with self._lock:
            self.sweep()
            job = self._jobs.get(identifier)
        if job is None or not job.kept:
            raise no_such_job()
        return job

    def position(self, job: Job) -> int:
        """Number of jobs before this one, the running one included."""
        with self._lock:
            waiting = [each for each in self._jobs.values() if each.state in ("queued", "running")]
        return sum(each.queued < job.queued for each in waiting)

    def remove(self, job: Job) -> None:
        """Forget a job and discard its result. A job that has not ended is cancelled."""
        with self._lock:
            self._jobs.pop(job.id, None)
            self._finish(job, "cancelled", Cancelled("cancelled by the client or by shutdown"))
        if job.outcome.exception() is None:
            job.outcome.result().discard()

    def refuse(self, job: Job, problem: Problem) -> None:
        """Forget a job whose upload is not a picture that can be upscaled."""
        with self._lock:
            self._jobs.pop(job.id, None)
        self._finish(job, "failed", problem)

    def sweep(self) -> None:
        """Forget ended jobs that are too old, too many, or whose results take too much disk."""
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
        """Admit no more jobs."""
        self.draining = True

    def close(self) -> None:
        """Cancel all jobs, discard all results, and end the worker."""
        self.drain()
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            self.remove(job)
        self._worker.shutdown(cancel_futures=True)

    @property
    def open_jobs(self) -> int:
        """Number of jobs that hold a slot."""
        with self._lock:
            return sum(job.is_open for job in self._jobs.values())

    @property
    def is_idle(self) -> bool:
        """Whether all outcomes, results and errors, were delivered."""
        with self._lock:
            return all(job.delivered for job in self._jobs.values())

    @property
    def retry_after(self) -> int:
        """Seconds after which a slot is probably free, 1 to 60: the mean time of a picture."""
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
        """Note the fraction done; raises Cancelled or Problem to end the work."""
        if job.state == "cancelled":
            raise Cancelled
        if time.monotonic() - job.started > self._limits.max_seconds:
            raise too_much_time(self._limits.max_seconds)
        job.fraction = min(fraction, 1.0)

    def _finish(self, job: Job, state: State, outcome: "Result | Exception") -> bool:
        """End a job and free its slot; False if the job had ended already."""
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
