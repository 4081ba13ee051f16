"""Worker processes that end when they should, and only then."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection


@contextlib.contextmanager
def signals_blocked() -> Iterator[None]:
    """Processes started meanwhile never get Ctrl-C and SIGTERM: the main process ends them.

    A terminal and Slurm signal every process; a worker that dies of it, or prints a traceback,
    would spoil the orderly end of training.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # as it starts, Python 3.11 unblocks the signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start_worker(wait_for_end: Callable[[], object]) -> None:
    """Set up a worker process that reads pictures: it ends when `wait_for_end` returns."""
    os.environ["VIPS_CONCURRENCY"] = "1"  # read as libvips is loaded
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for Windows; see signals_blocked
    threading.Thread(target=_end_after, args=(wait_for_end,), daemon=True).start()


def _end_after(wait_for_end: Callable[[], object]) -> None:
    wait_for_end()
    os._exit(0)


def wait_for_close(lifeline: Connection) -> None:
    """Wait until the main process closes its end of the pipe, or is no more.

    DataLoader's own way waits for the end of a round, and for ever where the main process was
    killed while a round was on its way through a pipe.
    """
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv()
