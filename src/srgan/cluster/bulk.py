"""Upscales many pictures: plans a bulk job, runs its tasks, writes the manifest of errors.

Each worker reads, decodes, upscales, encodes and writes with the code of `srgan upscale`, so the
results have the same bytes (only an animated GIF becomes an animated PNG), and memory is that of a
few pictures for each worker. A picture that cannot be read fails alone. Results appear whole or
not at all, and existing ones are kept, so a job can be resumed after any crash.
"""

import contextlib
import itertools
import json
from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from uuid import uuid4

from srgan.cluster.actors import upscale_on_ray
from srgan.cluster.connection import connected
from srgan.cluster.display import BulkDisplay
from srgan.cluster.options import ClusterOptions
from srgan.cluster.plan import (
    ERRORS,
    BulkPlan,
    SourcePicture,
    is_parquet,
    is_shard,
    plan,
    tasks,
    without_results,
)
from srgan.cluster.worker import BulkJob, Outcome, Worker
from srgan.pictures.stores import Store

TASK_PICTURES = 8  # most pictures of a task
PARQUET_PICTURES = 32  # the same for results in parquet; a task writes one file
TASKS_PER_ACTOR = 16  # at least, so that all actors end at about the same time
WAVE = 20_000  # tasks given to Ray at once; it holds some KB for each


@dataclass(frozen=True)
class BulkReport:
    """The result of a job.

    Attributes:
        done: pictures upscaled by this run.
        kept: results that existed before.
        failed: pictures that failed.
        errors: full name of the manifest of failed pictures; None if nothing failed.
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
    """Upscale the pictures of the job's source that have no result in its destination.

    Raises:
        OptionError: the options contradict each other.
        StoreError: the source cannot be listed, or holds no pictures.
        ClusterError: results cannot be written, the engine cannot run, or the cluster is lost.
    """
    todo = plan(job.source, job.destination, job.result, job.column)
    old: list[str] = []
    if job.result.overwrite and is_parquet(job.destination):
        # The files of this run get names of their own, and replace the others at its end.
        old = list(filter(is_shard, job.destination.names(without=job.source)))
        job = replace(job, run=uuid4().hex)
    failed: list[Outcome] = []
    done: set[str] = set()
    outcomes = _outcomes(job, todo, options)
    with contextlib.closing(outcomes), BulkDisplay(len(todo.todo) + len(todo.refused)) as display:
        try:
            for outcome in outcomes:
                display.add(outcome.reason, outcome.megapixels)
                if outcome.reason is None:
                    done.add(outcome.target)
                else:
                    failed.append(outcome)
        except BaseException:  # Ctrl-C, too: save the failures that are known by then
            if failed:
                _write_errors(job, failed)
            raise
    errors = _write_errors(job, failed)
    _remove_old_results(job.destination, old, done)
    return BulkReport(len(done), todo.kept, len(failed), errors)


def _outcomes(
    job: BulkJob, todo: BulkPlan, options: ClusterOptions
) -> Generator[Outcome, None, None]:
    """Yield the outcome of each picture, in the order they finish."""
    for refused in todo.refused:
        yield Outcome(*refused, 0.0)
    if not todo.todo:
        return
    if job.source.in_this_process or job.destination.in_this_process:  # no actor can see them
        worker = Worker(job)
        for task in _tasks(job, todo, actors=1):
            yield from worker.upscale(task)
        return
    with connected(options) as actors:
        remaining = _tasks(job, todo, actors)
        while wave := list(itertools.islice(remaining, WAVE)):
            yield from upscale_on_ray(job, wave, min(actors, len(wave)), options)


def _tasks(job: BulkJob, todo: BulkPlan, actors: int) -> Iterator[list[SourcePicture]]:
    most = PARQUET_PICTURES if is_parquet(job.destination) else TASK_PICTURES
    return tasks(todo.todo, min(most, max(len(todo.todo) // (actors * TASKS_PER_ACTOR), 1)))


def _remove_old_results(destination: Store, files: Sequence[str], done: Collection[str]) -> None:
    """Remove results that are done anew from parquet files; those of failed pictures stay."""
    for file in files:
        rest = without_results(destination, file, done)
        if rest == b"":
            destination.remove(file)
        elif rest is not None:
            destination.write(file, rest)


def _write_errors(job: BulkJob, failed: Sequence[Outcome]) -> str | None:
    """Write the manifest of failed pictures, one JSON object per line, and return its full name.

    Replaces the manifest of an earlier run; removes it if nothing failed.
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
