"""Worker processes that end when they should, and only then."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
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


def start_worker(lifeline: Connection) -> None:
    """Set up a worker process that reads pictures: it ends when the pipe's other end is closed."""
    os.environ["VIPS_CONCURRENCY"] = "1"  # read as libvips is loaded
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for Windows; see signals_blocked
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()


def _end_with(lifeline: Connection) -> None:
    """End this process when the main process closes its end of the pipe, or is no more.

    DataLoader's own way waits for the end of a round, and for ever where the main process was
    killed while a round was on its way through a pipe.
    """
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv()
    os._exit(0)
