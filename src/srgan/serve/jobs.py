"""A job: one picture of a client, from its upload to the end of its result. Its states:

    receiving -> queued -> running -> done or failed -> expired

The first three hold one of the queue's slots. A client can cancel a job in each of them.
"""

import json
import secrets
import time
from collections.abc import Generator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from srgan.serve.orders import Order, Result
from srgan.serve.problems import Problem

State = Literal["receiving", "queued", "running", "done", "failed", "cancelled", "expired"]
_STORED = (
    *("id", "client", "state", "key", "fingerprint", "attempts", "bytes"),
    *("created", "queued", "started", "finished", "fetched"),
)


class Cancelled(Exception):  # noqa: N818 - not an error: the client wanted it
    """The job's client cancelled it or disconnected, or the server is shutting down."""


class Job:
    """One picture to upscale. Only its `JobQueue` changes its state.

    Attributes:
        id: secret name; anyone who knows it can fetch the result.
        client: name of the client, for its share.
        folder: of the upload and the result, and of nothing else.
        kept: it is on disk and survives the server; the result waits until its client fetches it.
        key: the client's Idempotency-Key. The fingerprint tells repeated requests from others.
        fraction: of the work that is done, 0 to 1.
        bytes: disk space that it takes or has reserved.
        attempts: how often its work was started.
        clients: number of requests that wait for it.
        readers: number of responses that read its files.
        created, queued, started, finished, fetched: seconds since 1970, 0 if not reached.
        outcome: the result; or a Problem, or Cancelled.
    """

    def __init__(
        self, order: Order, client: str, folder: Path, *, kept: bool, key: str | None = None
    ) -> None:
        self.id = secrets.token_urlsafe(16)
        self.order = order
        self.client = client
        self.folder = folder / self.id
        self.kept = kept
        self.key = key
        self.fingerprint = ""
        self.state: State = "receiving"
        self.fraction = 0.0
        self.bytes = self.attempts = self.clients = self.readers = 0
        self.created = time.time()
        self.queued = self.started = self.finished = self.fetched = 0.0
        self.outcome: Future[Result] = Future()
        self.outcome.set_running_or_notify_cancel()  # so that no waiter can cancel it

    @property
    def upload(self) -> Path:
        """The client's picture."""
        return self.folder / "upload"

    @property
    def is_open(self) -> bool:
        """Whether the job has not ended, and so holds one of the queue's slots."""
        return self.state in ("receiving", "queued", "running")

    @property
    def result(self) -> Result | None:
        """The result of a job that is done."""
        return self.outcome.result() if self.state == "done" else None

    @property
    def problem(self) -> Problem | None:
        """Why the job failed."""
        error = self.outcome.exception() if self.outcome.done() else None
        return error if isinstance(error, Problem) else None

    @property
    def seconds_queued(self) -> float:
        """Time in the queue, so far or until the work started."""
        end = self.started or self.finished or time.time()
        return end - self.queued if self.queued else 0.0

    @property
    def seconds_computed(self) -> float:
        """Time of computing, so far or in all; 0 before it starts."""
        return ((self.finished or time.time()) - self.started) if self.started else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Estimated time of computing that is left; None while it is unknown."""
        if self.state != "running" or not self.fraction:
            return None
        return self.seconds_computed * (1 - self.fraction) / self.fraction

    @contextmanager
    def being_read(self) -> Generator[None]:
        """A context in which the job does not expire."""
        self.readers += 1
        try:
            yield
        finally:
            self.readers -= 1

    def settle(self, outcome: "Result | Exception") -> None:
        """Tell all who wait for the outcome."""
        if self.outcome.done():  # the shutdown has told them already
            return
        if isinstance(outcome, Exception):
            self.outcome.set_exception(outcome)
        else:
            self.outcome.set_result(outcome)

    def files_bytes(self) -> int:
        """Bytes in the job's folder at this moment."""
        total = 0
        for path in self.folder.glob("*"):
            try:
                total += path.stat().st_size
            except OSError:  # renamed or removed meanwhile
                continue
        return total

    def as_json(self) -> str:
        """The job for the store."""
        kept: dict[str, Any] = {name: getattr(self, name) for name in _STORED}
        kept["order"] = self.order.model_dump()
        kept["result"] = self.result.model_dump() if self.result else None
        problem = self.problem
        kept["problem"] = [problem.status, problem.kind, problem.detail] if problem else None
        return json.dumps(kept)

    @classmethod
    def from_json(cls, text: str, folder: Path) -> "Job":
        """The job that the store has kept. One that was in work is queued again."""
        kept: dict[str, Any] = json.loads(text)
        job = cls(Order(**kept["order"]), kept["client"], folder, kept=True, key=kept["key"])
        for name in _STORED:
            setattr(job, name, kept[name])
        job.folder = folder / job.id
        if job.is_open:
            job.state, job.started = "queued", 0.0
        elif kept["result"]:
            job.fraction = 1.0
            job.settle(Result(**kept["result"]))
        else:
            job.settle(Problem(*kept["problem"]) if kept["problem"] else Cancelled())
        return job
