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
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from srgan.cluster.connection import ClusterError, connected
from srgan.cluster.display import BulkDisplay
from srgan.cluster.options import ClusterOptions
from srgan.cluster.plan import ERRORS, BulkPlan, SourcePicture, is_parquet, plan, tasks
from srgan.cluster.worker import BulkJob, Outcome, Worker
from srgan.errors import one_line

TASK_PICTURES = 8
PARQUET_PICTURES = 32  # of a task, and so of a result file
TASKS_PER_ACTOR = 16  # at least, so that all actors end at about the same time
_FATAL = "fatal"  # column of what ends the job
WAVE = 20_000  # tasks that Ray knows at a time: it holds some KB for each


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


def bulk_upscale(job: BulkJob, options: ClusterOptions) -> BulkReport:
    """Upscale what is in the job's source and not yet in its destination.

    Raises:
        OptionError, StoreError: source or destination cannot be.
        ClusterError: results cannot be written, the engine cannot run, or the cluster is gone.
    """
    todo = plan(job.source, job.destination, job.result, job.column)
    failed = []
    done = 0
    outcomes = _outcomes(job, todo, options)
    with contextlib.closing(outcomes), BulkDisplay(len(todo.todo) + len(todo.refused)) as display:
        try:
            for outcome in outcomes:
                display.add(outcome.reason, outcome.megapixels)
                if outcome.reason is None:
                    done += 1
                else:
                    failed.append(outcome)
        except BaseException:  # Ctrl-C too: what is known by then counts
            if failed:
                _write_errors(job, failed)
            raise
    return BulkReport(done, todo.kept, len(failed), _write_errors(job, failed))


def _outcomes(
    job: BulkJob, todo: BulkPlan, options: ClusterOptions
) -> Generator[Outcome, None, None]:
    """The outcome of each picture, in the order they finish."""
    for name, reason in todo.refused:
        yield Outcome(name, "", f"{job.source.full_name(name)}: {reason}", 0.0)
    if not todo.todo:
        return
    if job.source.in_this_process or job.destination.in_this_process:
        worker = Worker(job)  # no actor could see them
        for task in _tasks(job, todo, actors=1):
            yield from worker.upscale(task)
        return
    with connected(options) as actors:
        waves = _tasks(job, todo, actors)
        while wave := list(itertools.islice(waves, WAVE)):
            yield from _on_ray(job, wave, min(actors, len(wave)), options)


def _tasks(job: BulkJob, todo: BulkPlan, actors: int) -> Iterator[list[SourcePicture]]:
    most = PARQUET_PICTURES if is_parquet(job.destination) else TASK_PICTURES
    return tasks(todo.todo, min(most, max(len(todo.todo) // (actors * TASKS_PER_ACTOR), 1)))


def _on_ray(
    job: BulkJob, wave: Sequence[list[SourcePicture]], actors: int, options: ClusterOptions
) -> Iterator[Outcome]:
    import pyarrow as pa
    import ray
    from ray.data import ActorPoolStrategy, DataContext
    from ray.exceptions import RayError

    context = DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    blocks = [pa.Table.from_pylist([each._asdict() for each in task]) for task in wave]
    desk = ray.remote(num_cpus=0)(_Desk).remote(job)
    outcomes = ray.data.from_arrow(blocks).map_batches(
        _Actor,
        fn_constructor_args=(desk,),
        batch_size=None,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(min_size=1, max_size=actors, initial_size=actors),
        num_cpus=options.cpus_per_actor,
        num_gpus=options.gpus_per_actor,
    )
    try:
        for batch in outcomes.iter_batches(
            batch_size=None, batch_format="pyarrow", prefetch_batches=0
        ):
            for row in cast(Any, batch).to_pylist():
                if fatal := row.pop(_FATAL):
                    raise ClusterError(fatal)
                yield Outcome(**row)
    except RayError as error:
        reason = next(iter(str(error).split("\n")), "")
        raise ClusterError(f"Ray ended the job: {reason}") from error


class _Desk:
    """An actor that outlives the workers: it hands out the job, and knows what they had begun.

    Ray makes a worker anew with its first arguments, which must not be large.
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


class _Attempts:
    """What the desk knows, for a worker; see `srgan.cluster.worker.Attempts`."""

    def __init__(self, desk: Any) -> None:
        self._desk = desk

    def begin(self, target: str) -> int:
        import ray

        return ray.get(self._desk.begin.remote(target))

    def end(self, target: str) -> None:
        self._desk.end.remote(target)

    def forget(self, targets: Sequence[str]) -> None:
        self._desk.forget.remote(targets)


class _Actor:
    """A worker in an actor of Ray's, called with tables of `SourcePicture`s.

    What ends the job is handed over as a row: of exceptions Ray prints pages, and starts again
    an actor that cannot start.
    """

    def __init__(self, desk: Any) -> None:
        import ray

        self._worker: Worker | None = None
        self._fatal = ""
        try:
            self._worker = Worker(ray.get(desk.job.remote()), _Attempts(desk))
        except Exception as error:
            self._fatal = one_line(error)

    def __call__(self, table: Any) -> Any:
        import pyarrow as pa

        pictures = [SourcePicture(**row) for row in table.to_pylist()]
        types = [pa.string(), pa.string(), pa.string(), pa.float64(), pa.string()]
        schema = pa.schema(list(zip((*Outcome._fields, _FATAL), types, strict=True)))
        try:
            outcomes = self._worker.upscale(pictures) if self._worker else []
        except Exception as error:
            outcomes, self._fatal = [], one_line(error)
        rows = [outcome._asdict() for outcome in outcomes] if not self._fatal else [{}]
        return pa.Table.from_pylist([row | {_FATAL: self._fatal} for row in rows], schema=schema)


def _write_errors(job: BulkJob, failed: Sequence[Outcome]) -> str | None:
    """Write the manifest of pictures that failed, a JSON object a line; returns its name.

    One that an earlier run left is replaced, and removed where nothing failed.
    """
    if not failed:
        job.destination.remove(ERRORS)
        return None
    lines = [
        json.dumps(
            {
                "input": job.source.full_name(each.name),
                "output": job.destination.full_name(each.target),
                "status": "failed",
                "reason": each.reason,
            }
        )
        for each in failed
    ]
    job.destination.write(ERRORS, "".join(f"{line}\n" for line in lines).encode())
    return job.destination.full_name(ERRORS)
