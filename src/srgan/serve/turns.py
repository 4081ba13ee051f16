"""The threads that work for the queue. They take turns to use the models."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import TypeVar

T = TypeVar("T")

log = logging.getLogger("srgan")


class Turns:
    """Two threads: one has its turn; the other may finish what needs the models no more."""

    def __init__(self) -> None:
        self._workers = ThreadPoolExecutor(2, "srgan-worker")
        self._turn = threading.Lock()

    def submit(self, work: Callable[[Callable[[], None]], T]) -> Future[T]:
        """Do work when its turn comes; it gets a function that ends its turn."""

        def in_turn() -> T:
            with ExitStack() as turn:
                turn.enter_context(self._turn)
                return work(turn.close)

        return self._workers.submit(in_turn)

    def start(self, work: Callable[[Callable[[], None]], None]) -> None:
        """Submit work that nobody waits for. The log has its exceptions."""
        self.submit(work).add_done_callback(_log_failure)

    def close(self) -> None:
        """Wait for the work that has begun, and do no other."""
        self._workers.shutdown(cancel_futures=True)


def _log_failure(work: Future[None]) -> None:
    error = None if work.cancelled() else work.exception()
    if error:
        log.error("the queue failed", exc_info=error)
