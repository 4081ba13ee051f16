"""Bulk upscaling on Ray Data: a pool of actors, each with an engine, fed with names.

Only names and outcomes travel through Ray. Each actor reads, decodes, upscales, encodes and
writes with the code of `srgan upscale`, so that the bytes are the same, memory is that of a few
pictures an actor, and a picture that cannot be read fails alone (`ray.data.read_binary_files`
would end the job). Results appear whole or not at all, and what is there is not done again: that
is how a job goes on after any crash.
"""

import contextlib
import itertools
import json
import logging
import os
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from srgan.cluster_display import BulkDisplay
from srgan.cluster_plan import ERRORS, Picture, Plan, is_parquet, plan, tasks
from srgan.cluster_worker import Job, Outcome, Worker
from srgan.config import ClusterOptions
from srgan.stores import Store

TASK_PICTURES = 8
PARQUET_PICTURES = 32  # of a task, and so of a result file
TASKS_PER_ACTOR = 16  # at least, so that all actors end at about the same time
WAVE = 20_000  # tasks that Ray knows at a time: it holds some KB for each
KNOCK_SECONDS = 10
OBJECT_STORE_BYTES = 100_000_000  # of a cluster started here, which holds nothing but names


class ClusterError(Exception):
    """The job cannot go on: one line for the user."""


@dataclass(frozen=True)
class BulkReport:
    """What a job did.

    Attributes:
        done: pictures upscaled by this run.
        kept: results that were there.
        failed: pictures that failed.
        errors: where the manifest of these lies.
    """

    done: int
    kept: int
    failed: int
    errors: str | None

    def __str__(self) -> str:
        total = self.done + self.kept + self.failed
        kept = f", {self.kept} of them before" if self.kept else ""
        failed = f", {self.failed} failed: {self.errors}" if self.failed else ""
        return f"{self.done + self.kept} of {total} pictures done{kept}{failed}"


def bulk_upscale(job: Job, options: ClusterOptions) -> BulkReport:
    """Upscale what is in the job's source and not yet in its destination.

    Raises:
        OptionError, StoreError: source or destination cannot be.
        ClusterError: results cannot be written, the engine cannot run, or the cluster is gone.
    """
    todo = plan(job.source, job.destination, job.result, job.column)
    failed = []
    done = 0
    with BulkDisplay(len(todo.todo) + len(todo.refused)) as display:
        try:
            for outcome in _outcomes(job, todo, options):
                display.add(outcome.reason, outcome.megapixels)
                if outcome.reason is None:
                    done += 1
                else:
                    failed.append(outcome)
        finally:  # what is known when a job is stopped counts too
            errors = write_errors(job.destination, job.source, failed)
    return BulkReport(done, todo.kept, len(failed), errors)


def _outcomes(job: Job, todo: Plan, options: ClusterOptions) -> Iterator[Outcome]:
    """The outcome of each picture, in the order they finish."""
    for name, reason in todo.refused:
        yield Outcome(name, "", f"{job.source.full_name(name)}: {reason}", 0.0, ())
    if not todo.todo:
        return
    if job.source.in_this_process or job.destination.in_this_process:
        worker = Worker(job)  # no actor could see them
        for task in _tasks(job, todo, actors=1):
            yield from worker.upscale(task)
        return
    cluster = connect(options)
    try:
        waves = _tasks(job, todo, cluster.actors)
        while wave := list(itertools.islice(waves, WAVE)):
            yield from _on_ray(job, wave, cluster)
    finally:
        cluster.close()


def _tasks(job: Job, todo: Plan, actors: int) -> Iterator[list[Picture]]:
    most = PARQUET_PICTURES if is_parquet(job.destination) else TASK_PICTURES
    return tasks(todo.todo, min(most, max(len(todo.todo) // (actors * TASKS_PER_ACTOR), 1)))


@dataclass(frozen=True)
class Cluster:
    """Ray, connected: close it at the end.

    Attributes:
        actors: how many the job will have.
    """

    actors: int
    options: ClusterOptions

    def close(self) -> None:
        import ray

        ray.shutdown()


def connect(options: ClusterOptions) -> Cluster:
    """Join the cluster at the address, or start one on this machine.

    Raises:
        OptionError: ray is not installed.
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
    room = _room(ray.cluster_resources(), options)
    if room < 1:
        ray.shutdown()
        raise ClusterError(
            f"{address}: no room for an actor with {options.cpus_per_actor} CPUs and "
            f"{options.gpus_per_actor:g} GPUs: ask for less"
        )
    return Cluster(options.num_actors or room, options)


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


def _on_ray(job: Job, wave: Sequence[list[Picture]], cluster: Cluster) -> Iterator[Outcome]:
    import pyarrow as pa
    import ray
    from ray.data import ActorPoolStrategy, DataContext
    from ray.exceptions import RayError

    context = DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    blocks = [pa.Table.from_pylist([each._asdict() for each in task]) for task in wave]
    actors = min(cluster.actors, len(wave))
    desk = ray.remote(num_cpus=0)(_Desk).remote(job)
    outcomes = ray.data.from_arrow(blocks).map_batches(
        _Actor,
        fn_constructor_args=(desk,),
        batch_size=None,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(min_size=1, max_size=actors, initial_size=actors),
        num_cpus=cluster.options.cpus_per_actor,
        num_gpus=cluster.options.gpus_per_actor,
    )
    try:
        for batch in outcomes.iter_batches(
            batch_size=None, batch_format="pyarrow", prefetch_batches=0
        ):
            for row in cast(Any, batch).to_pylist():
                yield Outcome(**row)
    except RayError as error:
        raise ClusterError(_reason(error)) from error


class _Desk:
    """An actor that outlives the workers: it hands out the job, and knows what they had begun.

    Ray makes a worker anew with its first arguments, which must not be large.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._begun: dict[str, int] = {}

    def job(self) -> Job:
        return self._job

    def begin(self, target: str) -> int:
        self._begun[target] = self._begun.get(target, 0) + 1
        return self._begun[target]

    def end(self, targets: Sequence[str]) -> None:
        for target in targets:
            self._begun.pop(target, None)


class _Attempts:
    """What the desk knows, for a worker; see `srgan.cluster_worker.Attempts`."""

    def __init__(self, desk: Any) -> None:
        self._desk = desk

    def begin(self, target: str) -> int:
        import ray

        return ray.get(self._desk.begin.remote(target))

    def end(self, targets: Sequence[str]) -> None:
        self._desk.end.remote(targets)


class _Actor:
    """A worker in an actor of Ray's, called with tables of `Picture`s."""

    def __init__(self, desk: Any) -> None:
        import ray

        self._worker = Worker(ray.get(desk.job.remote()), _Attempts(desk))

    def __call__(self, table: Any) -> Any:
        import pyarrow as pa

        pictures = [Picture(**row) for row in table.to_pylist()]
        outcomes = [outcome._asdict() for outcome in self._worker.upscale(pictures)]
        types = [pa.string(), pa.string(), pa.string(), pa.float64(), pa.list_(pa.string())]
        schema = pa.schema(list(zip(Outcome._fields, types, strict=True)))
        return pa.Table.from_pylist(outcomes, schema=schema)


def _reason(error: Exception) -> str:
    """The last line of what a worker raised, which Ray puts behind its own traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def write_errors(destination: Store, source: Store, failed: Sequence[Outcome]) -> str | None:
    """Write the manifest of pictures that failed, a JSON object a line; returns its name.

    One that an earlier run left is replaced, and removed where nothing failed.
    """
    if not failed:
        destination.remove(ERRORS)
        return None
    lines = [
        json.dumps(
            {
                "input": source.full_name(each.name),
                "output": destination.full_name(each.target),
                "status": "failed",
                "reason": each.reason,
            }
        )
        for each in failed
    ]
    destination.write(ERRORS, "".join(f"{line}\n" for line in lines).encode())
    return destination.full_name(ERRORS)
