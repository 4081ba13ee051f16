"""The training process: stop signals, threads, memory."""

import ctypes
import logging
import os
import platform
import signal
import time
from typing import Any

import torch
from accelerate import Accelerator

from srgan.engines.processor import busy_cores
from srgan.engines.torch import set_torch_threads

log = logging.getLogger("srgan")

PATIENCE = 5.0  # seconds between two signals that mean "now": torchrun and Slurm may both send one


class StopSignals:
    """Catches the signals that stop the loop; a second signal, some seconds later, acts at once.

    Attributes:
        received: number of the first signal, or 0.
    """

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


def agree(accelerator: Accelerator, signals: StopSignals, elapsed: float) -> tuple[int, float]:
    """Make all processes stop in the same iteration and use the main one's clock.

    Returns:
        The signal at which all stop, or 0, and the main process's elapsed seconds.
    """
    if accelerator.num_processes == 1:
        return signals.received, elapsed
    mine = torch.tensor([[signals.received, elapsed]], device=accelerator.device)
    gathered: torch.Tensor = accelerator.gather(mine)
    return int(gathered[:, 0].max()), float(gathered[0, 1])


def set_threads(threads: int | None) -> None:
    """`set_torch_threads`, and warn where other programs need the same cores."""
    set_torch_threads(threads)
    busy = busy_cores()
    machine = os.cpu_count() or 1
    if busy + 1 > machine and torch.get_num_threads() > 1:
        log.warning(
            "other programs use %.0f of the machine's %d cores: training will be slow; fewer "
            "threads, such as --threads 1, may be faster",
            busy,
            machine,
        )


# Parameters of glibc's mallopt, from malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4


def keep_freed_memory() -> None:
    """Make malloc keep freed memory, since every step allocates the same memory again.

    glibc returns the large tensors that a step frees to the kernel. The next step gets them back
    page by page, and the kernel zeroes each page at its first use: about 20,000 page faults, or
    50 to 100 ms of a training step of 16 patches that takes 400 ms. With kept memory there are
    almost none once the heap has settled, and the process was no larger. Call this once, before
    the first step. Without glibc (not Linux, or musl) it does nothing.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_MAX, 0)  # take large blocks from the heap as well
    libc.mallopt(M_TRIM_THRESHOLD, -1)  # and never shrink the heap
