"""Connects to a Ray cluster, or starts one on this machine for the duration of a job."""

import contextlib
import logging
import os
import signal
import socket
from collections.abc import Generator, Mapping
from typing import Any

from srgan.cluster.options import ClusterOptions
from srgan.errors import UserError

CONNECT_SECONDS = 10
OBJECT_STORE_BYTES = 100_000_000  # of a cluster started here: it holds only names


class ClusterError(UserError):
    """The job cannot start or continue: one line for the user."""


@contextlib.contextmanager
def connected(options: ClusterOptions) -> Generator[int, None, None]:
    """Use the cluster at the address, or start one here; yield the number of actors for the job.

    After the body, the process leaves the cluster, and stops one that it started.

    Raises:
        ClusterError: no cluster can be reached, or it has no room for an actor.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # they would open a connection
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # silences a warning
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # silences a warning for each actor
    import ray as library

    ray: Any = library  # its types are partly unknown

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
        _check_port(address)
        with _nothing_on_stderr():
            ray.init(address=address, **settings)
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray's own exits with 15 and a stack trace
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


def _check_port(address: str) -> None:
    """Raise OSError if nothing listens at HOST:PORT: Ray would retry for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()


@contextlib.contextmanager
def _nothing_on_stderr() -> Generator[None, None, None]:
    """Discard stderr: Ray's C++ code prints its log level there. Errors are raised anyway."""
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
    """Number of actors that fit the cluster's resources."""
    room = resources.get("CPU", 0) / options.cpus_per_actor
    if options.gpus_per_actor:
        room = min(room, resources.get("GPU", 0) / options.gpus_per_actor)
    return int(room)
