"""The training process: stop signals, and memory that stays allocated."""

import ctypes
import platform
import signal
import time
from typing import Any

PATIENCE = 5.0  # seconds: torchrun and Slurm may both tell a process, a person asks again


class StopSignals:
    """Catches the signals for the loop to stop at; one that comes again later acts at once."""

    def __init__(self) -> None:
        self.received = 0
        self._time = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopSignals":
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # no SIGHUP on Windows
            if number is not None and signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._receive)
        return self

    def _receive(self, number: int, _: Any) -> None:
        if not self.received:
            self.received, self._time = number, time.monotonic()
        elif time.monotonic() - self._time > PATIENCE:
            self._restore()
            signal.raise_signal(number)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __exit__(self, *_: object) -> None:
        self._restore()


# Parameters of glibc's mallopt, from malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4


def keep_freed_memory() -> None:
    """Have malloc keep what is freed, for a loop that takes the same memory again at every step.

    glibc gives the large tensors that a step frees back to the kernel, and the next step takes
    them again page by page, each page zeroed on its first use: about 20,000 page faults and 50
    to 100 ms of a training step of 16 patches that takes 400 ms. With memory kept there are
    next to none once the heap has settled, and the process was no larger. Call it once, before
    the first step. Without glibc (other systems than Linux, musl) nothing happens.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_MAX, 0)  # take large blocks from the heap as well
    libc.mallopt(M_TRIM_THRESHOLD, -1)  # and never shrink the heap
