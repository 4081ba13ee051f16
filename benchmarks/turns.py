"""Candidates in processes of their own that take turns on the machine.

Whatever else the machine does hits all of them, and none changes another's memory.
"""

import multiprocessing
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

Work = Callable[[], float]  # does something, returns how much
Maker = tuple[Callable[..., Work], tuple[Any, ...]]  # what makes a candidate's work, in its process


def take_turns(
    candidates: Mapping[str, Maker], *, rounds: int, seconds: float
) -> dict[str, list[float]]:
    """Work per second of each candidate in each round of `seconds`, after one to warm up."""
    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    for name, maker in candidates.items():
        pipes[name], end = context.Pipe()
        context.Process(target=_serve, args=(end, *maker)).start()
    speeds: dict[str, list[float]] = {name: [] for name in candidates}
    for round in range(rounds + 1):
        for name, pipe in pipes.items():
            pipe.send(seconds)
            speed = pipe.recv()
            if round:
                speeds[name].append(speed)
    for pipe in pipes.values():
        pipe.send(None)
    return speeds


def _serve(pipe: Connection, make: Callable[..., Work], arguments: tuple[Any, ...]) -> None:
    work = None
    while (seconds := pipe.recv()) is not None:
        work = work or make(*arguments)
        work()  # what the first iteration of a turn finds prefetched does not count
        start = time.perf_counter()
        done = 0.0
        while time.perf_counter() - start < seconds:
            done += work()
        pipe.send(done / (time.perf_counter() - start))
