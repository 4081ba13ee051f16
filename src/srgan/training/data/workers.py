"""Worker processes that end with the main process, and not before."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Generator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection


@contextlib.contextmanager
def signals_blocked() -> Generator[None]:
    """Start processes that never get Ctrl-C and SIGTERM: the main process ends them.

    A terminal and Slurm send their signals to every process. A worker that dies of one, or prints
    a traceback, would prevent the orderly end of training.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # its start unblocks the signals in Python 3.11
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start_worker(wait_for_end: Callable[[], object]) -> None:
    """Set up a worker process that reads pictures. It ends when `wait_for_end` returns."""
    os.environ["VIPS_CONCURRENCY"] = "1"  # libvips reads it when it is loaded
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for Windows; see signals_blocked
    threading.Thread(target=_end_after, args=(wait_for_end,), daemon=True).start()


def _end_after(wait_for_end: Callable[[], object]) -> None:
    wait_for_end()
    os._exit(0)


def wait_for_close(lifeline: Connection) -> None:
    """Wait until the main process closes its end of the pipe, or has ended.

    DataLoader itself waits for the end of a round, and it waits forever if the main process is
    killed while a round is on its way through a pipe.
    """
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv()
