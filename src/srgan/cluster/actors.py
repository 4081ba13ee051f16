"""Runs the tasks of a bulk job on Ray Data: a pool of actors, each with a `Worker`.

Only names and outcomes travel through Ray. `ray.data.read_binary_files` would be simpler, but it
ends the whole job at the first file that cannot be read.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Any, cast

from srgan.cluster.connection import ClusterError
from srgan.cluster.options import ClusterOptions
from srgan.cluster.plan import SourcePicture
from srgan.cluster.worker import BulkJob, Outcome, Worker
from srgan.errors import one_line

_TASK = "task"  # column with the pictures of a task
_FATAL = "fatal"  # column with the error that ends the job


def upscale_on_ray(
    job: BulkJob, tasks: Sequence[list[SourcePicture]], actors: int, options: ClusterOptions
) -> Iterator[Outcome]:
    """Yield the outcome of each picture, in the order they finish.

    Args:
        actors: the most actors to run.

    Raises:
        ClusterError: an actor cannot work, or Ray ended the job.
    """
    import ray.data
    from ray.exceptions import RayError

    data: Any = ray.data  # its types are partly unknown
    data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    rows = [{_TASK: [picture._asdict() for picture in task]} for task in tasks]
    coordinator: Any = ray.remote(num_cpus=0)(Coordinator)
    # One row, and so one block, for each task. from_items makes them in this process; from_arrow
    # starts a remote task for each.
    outcomes = data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        WorkerActor,
        fn_constructor_args=(coordinator.remote(job),),
        batch_size=None,
        batch_format="pyarrow",
        compute=data.ActorPoolStrategy(min_size=1, max_size=actors, initial_size=actors),
        num_cpus=options.cpus_per_actor,
        num_gpus=options.gpus_per_actor,
    )
    try:
        for batch in outcomes.iter_batches(
            batch_size=None, batch_format="pyarrow", prefetch_batches=0
        ):
            for row in batch.to_pylist():
                if fatal := row.pop(_FATAL):
                    raise ClusterError(fatal)
                yield Outcome(**row)
    except RayError as error:
        reason = next(iter(str(error).split("\n")), "")
        raise ClusterError(f"Ray ended the job: {reason}") from error


class Coordinator:
    """An actor that outlives the workers: it hands out the job and counts attempts.

    Ray restarts a worker with its first arguments, which must be small, so workers ask here for
    the job. The other methods implement `srgan.cluster.worker.Attempts`.
    """

    def __init__(self, job: BulkJob) -> None:
        self._job = job
        self._begun: dict[str, int] = {}
        self._ended: set[str] = set()

    def job(self) -> BulkJob:
        return self._job

    def begin(self, target: str) -> int:
        if target in self._ended:
            return 0
        self._begun[target] = self._begun.get(target, 0) + 1
        return self._begun[target]

    def end(self, target: str) -> None:
        self._begun.pop(target, None)
        self._ended.add(target)

    def forget(self, targets: Sequence[str]) -> None:
        self._ended.difference_update(targets)


class _RemoteAttempts:
    """Implements `srgan.cluster.worker.Attempts` by calls to the coordinator."""

    def __init__(self, coordinator: Any) -> None:
        self._coordinator = coordinator

    def begin(self, target: str) -> int:
        import ray

        return cast(int, ray.get(self._coordinator.begin.remote(target)))

    def end(self, target: str) -> None:
        self._coordinator.end.remote(target)

    def forget(self, targets: Sequence[str]) -> None:
        self._coordinator.forget.remote(targets)


class WorkerActor:
    """A `Worker` in a Ray actor: takes tables of tasks, returns tables of `Outcome`.

    An error that ends the job is returned as a row. If it were raised, Ray would print pages,
    and restart an actor that cannot start.
    """

    def __init__(self, coordinator: Any) -> None:
        """coordinator: the Ray actor handle of a `Coordinator`."""
        import ray

        self._worker: Worker | None = None
        self._fatal = ""
        try:
            job: Any = ray.get(coordinator.job.remote())
            self._worker = Worker(job, _RemoteAttempts(coordinator))
        except Exception as error:
            self._fatal = one_line(error)

    def __call__(self, table: Any) -> Any:
        pictures = [SourcePicture(**each) for row in table.to_pylist() for each in row[_TASK]]
        try:
            outcomes = self._worker.upscale(pictures) if self._worker else []
        except Exception as error:
            outcomes, self._fatal = [], one_line(error)
        return _table(outcomes, self._fatal)


def _table(outcomes: Sequence[Outcome], fatal: str) -> Any:
    """A table with a row for each outcome, or with one row that holds the fatal error."""
    import pyarrow as pa

    types = [pa.string(), pa.string(), pa.string(), pa.float64(), pa.string()]
    schema = pa.schema(list(zip((*Outcome._fields, _FATAL), types, strict=True)))
    rows: list[dict[str, Any]] = [{}] if fatal else [outcome._asdict() for outcome in outcomes]
    return pa.Table.from_pylist([row | {_FATAL: fatal} for row in rows], schema=schema)
