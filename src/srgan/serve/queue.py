"""The queue of jobs: pictures of the page and of /v1 wait here, and are computed one at a time.

A job is admitted before its upload, so that a full queue costs no upload. Slots and disk space are
limited by refusing new work: a result that nobody has fetched stays for its whole time.
"""

import logging
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from srgan.serve import problems
from srgan.serve.jobs import Cancelled, Job, State
from srgan.serve.options import Limits, is_loopback
from srgan.serve.orders import Order, Result
from srgan.serve.pace import Pace
from srgan.serve.problems import Problem
from srgan.serve.store import JobStore
from srgan.serve.turns import Turns

Progress = Callable[[float], None]
T = TypeVar("T")

MOST_ATTEMPTS = 3  # a picture that kills the server shall not do so for ever
REMEMBER_SECONDS = 86_400  # how long an expired job is told from one that never was
LEAST_BYTES = 4096  # disk space of a job without any

log = logging.getLogger("srgan")


class JobQueue:
    """A bounded queue. All methods can be called from any thread."""

    def __init__(
        self,
        store: JobStore,
        limits: Limits,
        work: Callable[[Job, Progress, Callable[[], None]], Result],
        watch: Callable[[Job], None] = lambda _job: None,
    ) -> None:
        """Make the queue.

        Args:
            work: computes a job. It gets a function to call with the fraction done, which raises
                to end the work, and one that it may call when it needs the models no more.
            watch: called with every job that ended, for metrics and the log.
        """
        self._store = store
        self._limits = limits
        self._work = work
        self._watch = watch
        self._jobs: dict[str, Job] = {}  # in the order of their admission
        self._lock = threading.RLock()
        self._turns = Turns()
        self._pace = Pace(limits.queue)
        self._stopping = False
        self.draining = False  # if set: admit no jobs, and start only those whose clients wait

    def submit(self, work: Callable[[Callable[[], None]], T]) -> Future[T]:
        """Do work with the models when its turn comes; it gets a function that ends its turn."""
        return self._turns.submit(work)

    def restore(self) -> None:
        """Continue with the jobs of the store."""
        with self._lock:
            for text in self._store.load():
                job = Job.from_json(text, self._store.jobs)
                self._jobs[job.id] = job
                if job.state == "queued":
                    self._turns.start(self._run_next)

    def admit(
        self, order: Order, client: str, *, kept: bool, key: str | None = None, size: int = 0
    ) -> Job:
        """Reserve a slot for a picture that is not received yet.

        Args:
            kept: the job is on disk until it expires. Otherwise the caller must remove it.
            size: bytes of the upload, as far as they are known.

        Raises:
            Problem: no slot or disk space is free, or the server is shutting down.
        """
        with self._lock:
            self.sweep()
            if self.draining:
                raise problems.draining()
            if self.open_jobs >= self._limits.queue:
                raise problems.queue_full(self._pace.promise())
            mine = sum(job.is_open and job.client == client for job in self._jobs.values())
            if mine >= max(self._share(client) * self._limits.queue, 1):
                raise problems.share_used("queue", self._pace.promise())
            job = Job(order, client, self._store.jobs, kept=kept, key=key)
            self.reserve(job, max(size, LEAST_BYTES))
            with problems.telling_full_disk():
                job.folder.mkdir(mode=0o700)
            self._jobs[job.id] = job
            return job

    def reserve(self, job: Job, size: int) -> None:
        """Make the job's disk space at least `size` bytes; raises Problem if they are not free."""
        with self._lock:
            most, extra = self._limits.keep_bytes, size - job.bytes
            if extra <= 0:
                return
            if size > most:
                raise problems.too_large_result(size, most)
            if not self._make_room(extra, new=not job.bytes):
                raise problems.storage_full(self._seconds_to_room(job))
            own = [each for each in self._jobs.values() if each.client == job.client]
            ended = sum(each.state in ("done", "failed") and not each.fetched for each in own)
            if not job.bytes and ended >= max(self._share(job.client) * self._limits.keep_jobs, 1):
                raise problems.share_used("finished jobs", self._seconds_to_room(job))
            mine = sum(each.bytes for each in own)
            if mine + extra > self._share(job.client) * most:
                raise problems.share_used("storage", self._seconds_to_room(job))
            job.bytes = size

    def start(self, job: Job, fingerprint: str, size: int) -> None:
        """Put an admitted job with its upload into the queue.

        Args:
            size: bytes of the upload and, estimated, of the result.

        Raises:
            Problem: there is no room for the result or in the store, or the server is shutting
                down.
        """
        with self._lock:
            if job.state != "receiving" or self._stopping:
                raise problems.draining()
            self.reserve(job, size)
            job.state, job.queued, job.fingerprint = "queued", time.time(), fingerprint
            if not self._save(job):
                job.state = "receiving"
                raise problems.storage_full()
        self._turns.start(self._run_next)

    def get(self, identifier: str) -> Job:
        """The kept job with this id.

        Raises:
            Problem: there is no such job, or it is no longer kept.
        """
        job = self.find(identifier)
        if job is None:
            raise problems.no_such_job()
        if job.state == "expired":
            raise problems.expired()
        return job

    def find(self, identifier: str) -> Job | None:
        """The kept or expired job with this id, if there is one."""
        with self._lock:
            self.sweep()
            job = self._jobs.get(identifier)
        return job if job is not None and job.kept else None

    def repeated(self, client: str, key: str) -> Job | None:
        """The client's job with this Idempotency-Key, if there is one."""
        with self._lock:  # an expired job has no key
            jobs = self._jobs.values()
            return next((job for job in jobs if (job.key, job.client) == (key, client)), None)

    def position(self, job: Job) -> int:
        """Number of jobs before this one, the running one included."""
        jobs = [each for each in list(self._jobs.values()) if each.state in ("queued", "running")]
        return sum(each.queued < job.queued for each in jobs)

    def fetched(self, job: Job) -> None:
        """Note that the client has the result, so that it may make room for others."""
        with self._lock:
            job.fetched = time.time()
            self._save(job)

    def remove(self, job: Job, problem: Problem | None = None) -> None:
        """Forget a job and its files. One that has not ended fails, or is cancelled."""
        self._forget(job)
        self._finish(job, "failed" if problem else "cancelled", problem or Cancelled())

    def sweep(self) -> None:
        """End the time of jobs that are old enough, and forget them a day later."""
        now = time.time()
        with self._lock:
            for job in list(self._jobs.values()):
                if job.is_open or not job.kept or job.readers:
                    continue
                age = now - job.finished
                if age > self._limits.keep_seconds and job.state != "expired":
                    self._expire(job)
                if age > self._limits.keep_seconds + REMEMBER_SECONDS:
                    self._forget(job)

    def close(self) -> None:
        """Stop the work, tell all who wait, and end the worker. Kept jobs stay on disk."""
        self.draining = True
        with self._lock:
            self._stopping = True
            for job in list(self._jobs.values()):
                if not job.kept or job.state == "receiving":
                    self.remove(job)
                elif job.is_open:
                    job.settle(Cancelled())
        self._turns.close()
        self._store.close()

    @property
    def open_jobs(self) -> int:
        """Number of jobs that hold a slot."""
        return sum(job.is_open for job in list(self._jobs.values()))

    @property
    def stored(self) -> int:
        """Bytes on disk that jobs take or have reserved."""
        return sum(job.bytes for job in list(self._jobs.values()))

    @property
    def is_idle(self) -> bool:
        """Whether a draining queue has nothing more to do."""
        with self._lock:
            jobs = self._jobs.values()
            return not any(job.clients or job.readers or job.state == "running" for job in jobs)

    def _run_next(self, end_turn: Callable[[], None]) -> None:
        with self._lock:
            queued = [job for job in self._jobs.values() if job.state == "queued"]
            jobs = [job for job in queued if job.clients or not self.draining]
            if not jobs:  # cancelled, or left for the next start
                return
            job = min(jobs, key=lambda each: each.queued)
            job.state, job.started = "running", time.time()
            job.attempts += 1
            self._save(job)
        try:
            if job.attempts > MOST_ATTEMPTS:
                raise problems.internal_error()
            with problems.telling_full_disk():
                result = self._work(job, lambda fraction: self._progress(job, fraction), end_turn)
        except Cancelled:
            with self._lock:
                if job.state == "running":  # the server stops: it is for the next start
                    job.state, job.attempts = "queued", job.attempts - 1
                    self._save(job)
        except Exception as error:
            if not isinstance(error, Problem):
                log.error("a picture failed", exc_info=error)
                error = problems.internal_error()
            self._finish(job, "failed", error)
        else:
            self._finish(job, "done", result)
        finally:
            if job.id not in self._jobs:  # cancelled: the work may have written since
                shutil.rmtree(job.folder, ignore_errors=True)

    def _progress(self, job: Job, fraction: float) -> None:
        """Note the fraction done; raises to end the work."""
        if job.state == "cancelled" or self._stopping:
            raise Cancelled
        if time.time() - job.started > self._limits.max_seconds:
            raise problems.too_much_time(self._limits.max_seconds)
        self.reserve(job, job.files_bytes())
        job.fraction = min(max(job.fraction, fraction), 1.0)

    def _finish(self, job: Job, state: State, outcome: "Result | Exception") -> None:
        """End a job and free its slot, unless it has ended already."""
        with self._lock:
            if not job.is_open:
                return
            job.settle(outcome)
            job.state, job.finished = state, time.time()
            job.bytes = max(job.files_bytes(), LEAST_BYTES)
            if state == "done":
                job.fraction = 1.0
                self._pace.note(job.seconds_computed)
            self._save(job)
        self._watch(job)

    def _save(self, job: Job) -> bool:
        """Save a job that is kept; whether it is on disk, see `JobStore.save`."""
        if not job.kept or job.id not in self._jobs:
            return True
        return self._store.save(job.id, job.created, job.as_json())

    def _expire(self, job: Job) -> None:
        job.state, job.bytes, job.key = "expired", 0, None
        shutil.rmtree(job.folder, ignore_errors=True)
        self._save(job)

    def _forget(self, job: Job) -> None:
        with self._lock:
            self._jobs.pop(job.id, None)
            shutil.rmtree(job.folder, ignore_errors=True)
            if job.kept:
                self._store.forget(job.id)

    def _share(self, client: str) -> float:
        """This machine's own client may use everything: it is the server's user."""
        return 1.0 if is_loopback(client) else self._limits.client_share

    def _make_room(self, extra: int, *, new: bool) -> bool:
        """Whether `extra` bytes are free, after the end of fetched results, oldest first.

        Args:
            new: they are for one job more, which may be too many, too.
        """
        ended = [job for job in self._jobs.values() if job.state in ("done", "failed")]
        excess = len(ended) + 1 - self._limits.keep_jobs if new else 0
        old = [job for job in ended if job.fetched and not job.readers]
        for job in sorted(old, key=lambda each: each.fetched):
            if self.stored + extra <= self._limits.keep_bytes and excess <= 0:
                break
            self._expire(job)
            excess -= 1
        return self.stored + extra <= self._limits.keep_bytes and excess <= 0

    def _seconds_to_room(self, job: Job) -> int:
        others = [each for each in self._jobs.values() if each.bytes and each is not job]
        return self._pace.seconds_to_room(others, self._limits.keep_seconds)
