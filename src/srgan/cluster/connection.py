"""Joining a Ray cluster, or starting one on this machine for the time of a job."""

import contextlib
import logging
import os
import signal
import socket
from collections.abc import Iterator, Mapping
from typing import Any

from srgan.cluster.options import ClusterOptions
from srgan.errors import UserError

KNOCK_SECONDS = 10
OBJECT_STORE_BYTES = 100_000_000  # of a cluster started here, which holds nothing but names


class ClusterError(UserError):
    """The job cannot start or go on: one line for the user."""


@contextlib.contextmanager
def connected(options: ClusterOptions) -> Iterator[int]:
    """The number of actors for the job, on the cluster at the address or one started here.

    It is left, or ended if it was started, when the body ends.

    Raises:
        ClusterError: there is no cluster at the address, or it has no room for one actor.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would open a connection
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # silences a warning
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # one about every actor
    import ray

    address = options.address or os.environ.get("RAY_ADDRESS") or "local"
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        cores = (options.num_actors or 0) * options.cpus_per_actor
        settings |= {
            "num_cpus": max(cores, os.cpu_count() or 1),
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
        }
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        _knock(address)
        with _nothing_on_stderr():
            ray.init(address=address, **settings)
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray's own leaves with 15 and a stack trace
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ClusterError(f"{address}: no Ray cluster can be reached there: {reason}") from error
    try:
        room = _room(ray.cluster_resources(), options)
        if room < 1:
            raise ClusterError(
                f"{address}: no room for an actor with {options.cpus_per_actor} CPUs and "
                f"{options.gpus_per_actor:g} GPUs: ask for less"
            )
        yield options.num_actors or room
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raise OSError where nothing listens at HOST:PORT: Ray would try for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), KNOCK_SECONDS).close()


@contextlib.contextmanager
def _nothing_on_stderr() -> Iterator[None]:
    """Ray's C++ code says there which log level it was given; what goes wrong is raised."""
    stderr = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


def _room(resources: Mapping[str, float], options: ClusterOptions) -> int:
    room = resources.get("CPU", 0) / options.cpus_per_actor
    if options.gpus_per_actor:
        room = min(room, resources.get("GPU", 0) / options.gpus_per_actor)
    return int(room)
