"""Results of jobs of the service, without upscaling."""

from collections.abc import Sequence

from srgan.serve.jobs import Job
from srgan.serve.orders import Result, Size
from srgan.serve.problems import Problem
from srgan.serve.queue import JobQueue


def result_of(
    job: Job, size: int, *, signs: Sequence[str] = (), notes: Sequence[str] = ()
) -> Result:
    """Write a result of `size` bytes."""
    (job.folder / "result.png").write_bytes(bytes(size))
    sides = Size(width=4, height=4)
    return Result(
        name="a_x4.png",
        type="image/png",
        bytes=size,
        source_size=sides,
        size=sides,
        model="m",
        why="asked",
        signs=list(signs),
        notes=list(notes),
    )


def start(queue: JobQueue, job: Job, size: int = 10_000) -> Job:
    """Put an admitted job into the queue; one that is refused is removed, as the service does."""
    try:
        queue.start(job, "print", size)
    except Problem as problem:
        queue.remove(job, problem)
        raise
    return job
