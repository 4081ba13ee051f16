"""The routes under /v1 that take pictures: while the client waits, or as a job."""

import asyncio
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, Query, Request, Response
from fastapi.responses import FileResponse

from srgan.serve.clients import client_of
from srgan.serve.http import schema
from srgan.serve.http.parameters import reading
from srgan.serve.http.results import add_results, delivery
from srgan.serve.http.uploads import (
    ReceivedFile,
    declared_size,
    disconnected,
    let_finish,
    receive_picture,
)
from srgan.serve.jobs import Cancelled, Job
from srgan.serve.kitchen import Kitchen
from srgan.serve.options import Limits
from srgan.serve.orders import Order, Result
from srgan.serve.problems import Problem, draining, expired, no_such_job, telling_full_disk
from srgan.serve.queue import JobQueue

CLIENT_CLOSED_REQUEST = 499  # nginx's status; the client is gone and does not see it
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        description="Makes a repeated request one job",
    ),
]


def add_routes(app: FastAPI, kitchen: Kitchen, queue: JobQueue, limits: Limits) -> None:
    """Add the routes under /v1."""
    intake = _Intake(kitchen, queue, limits)

    async def ordered(order: Annotated[Order, Query()]) -> Order:
        return kitchen.checked(order)

    parameters = Depends(ordered)
    _add_upscale(app, intake, queue, parameters)
    _add_jobs(app, intake, queue, parameters)
    add_results(app, queue)
    _add_about(app, kitchen, limits)


class _Intake:
    """Takes in pictures: receives an upload, checks it and puts its job into the queue."""

    def __init__(self, kitchen: Kitchen, queue: JobQueue, limits: Limits) -> None:
        self._kitchen = kitchen
        self._queue = queue
        self._limits = limits

    async def admit(self, request: Request, order: Order, *, kept: bool, key: str | None) -> Job:
        """Start a job for the request's picture; or find that of the same request before.

        Args:
            kept: see `JobQueue.admit`. With a key the job is always kept.

        Raises:
            Problem: no slot is free, or the picture cannot be upscaled.
        """
        client = client_of(request.scope)
        before = self._queue.repeated(client, key) if key else None
        if before is not None:
            return await self._again(request, order, before)
        try:
            size = declared_size(request, self._limits)
            job = self._queue.admit(order, client, kept=kept or bool(key), key=key, size=size)
        except Problem:
            await let_finish(request, request.stream())
            raise
        with _refusing(self._queue, job):
            with job.upload.open("wb") as file:
                reserve = partial(self._queue.reserve, job)
                received = ReceivedFile(file, self._limits.max_bytes, reserve)
                name = await receive_picture(request, received, self._limits)
            job.order = order.model_copy(update={"name": name})
            await self._plan(job, _fingerprint(job.order, received), received.size)
        request.state.job = job.id
        return job

    async def redo(self, request: Request, order: Order, before: Job) -> Job:
        """Start a job for the picture of a job that has one.

        Raises:
            Problem: no slot is free, or the picture cannot be upscaled so.
        """
        try:
            with before.being_read():
                size = before.upload.stat().st_size
                job = self._queue.admit(order, client_of(request.scope), kept=True, size=size)
                with _refusing(self._queue, job):
                    await asyncio.to_thread(shutil.copyfile, before.upload, job.upload)
                    job.order = order.model_copy(update={"name": before.order.name})
                    await self._plan(job, "", size)
        except FileNotFoundError:  # its client has removed it
            raise expired() from None
        request.state.job = job.id
        return job

    async def _plan(self, job: Job, fingerprint: str, size: int) -> None:
        loop, kitchen = asyncio.get_running_loop(), self._kitchen
        plan = await loop.run_in_executor(kitchen.inspector, kitchen.plan, job.order, job.upload)
        self._queue.start(job, fingerprint, size + plan.bytes)

    async def _again(self, request: Request, order: Order, job: Job) -> Job:
        with Path(os.devnull).open("wb") as file:
            received = ReceivedFile(file, self._limits.max_bytes, lambda _: None)
            name = await receive_picture(request, received, self._limits)
        if job.state == "receiving":
            raise Problem(409, "not-received", "the first request has not ended", 1)
        if job.fingerprint != _fingerprint(order.model_copy(update={"name": name}), received):
            detail = "another request had this Idempotency-Key"
            raise Problem(422, "idempotency-key-used", detail)
        request.state.job = job.id
        return job


@contextmanager
def _refusing(queue: JobQueue, job: Job) -> Generator[None]:
    """A context that ends a job whose admission fails."""
    try:
        with telling_full_disk():
            yield
    except Problem as problem:
        queue.remove(job, problem)
        raise
    except BaseException:  # the client has gone, or the server stops
        queue.remove(job)
        raise


def _fingerprint(order: Order, received: ReceivedFile) -> str:
    return f"{received.digest.hexdigest()} {order.model_dump_json()}"


def _add_upscale(app: FastAPI, intake: _Intake, queue: JobQueue, parameters: Any) -> None:
    @app.post(
        "/v1/upscale",
        summary="Upscale a picture and wait for it",
        response_class=FileResponse,
        responses={200: schema.PICTURE_RESPONSE}
        | schema.problem_responses(404, *schema.UPLOAD_PROBLEMS, 500),
        openapi_extra=schema.PICTURE_BODY,
    )
    async def upscale(request: Request, order: Order = parameters, key: Key = None) -> Response:
        job = await intake.admit(request, order, kept=False, key=key)
        job.clients += 1
        try:
            result = await _wait(job, request, queue)
        except BaseException:  # also when the server's shutdown cancels this coroutine
            _leave(job, queue)
            raise
        if result is None:
            _leave(job, queue)
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        return delivery(queue, job, result, lambda: _leave(job, queue))


def _leave(job: Job, queue: JobQueue) -> None:
    """Note that a client no longer waits. Nobody can ask for a job that is not kept again."""
    job.clients -= 1
    if not job.kept:
        queue.remove(job)


def _add_jobs(app: FastAPI, intake: _Intake, queue: JobQueue, parameters: Any) -> None:
    location: Any = {202: {"headers": {"Location": {"schema": {"type": "string"}}}}}

    def accepted(job: Job, request: Request, response: Response) -> schema.JobStatus:
        response.headers["Location"] = f"{request.scope.get('root_path', '')}/v1/jobs/{job.id}"
        return schema.status_of(job, queue)

    @app.post(
        "/v1/jobs",
        status_code=202,
        summary="Upscale a picture and fetch it later",
        responses=location | schema.problem_responses(*schema.UPLOAD_PROBLEMS),
        openapi_extra=schema.PICTURE_BODY,
    )
    async def create_job(
        request: Request, response: Response, order: Order = parameters, key: Key = None
    ) -> schema.JobStatus:
        job = await intake.admit(request, order, kept=True, key=key)
        return accepted(job, request, response)

    @app.post(
        "/v1/jobs/{id}/again",
        status_code=202,
        summary="Upscale a job's picture again, with other parameters",
        responses=location | schema.problem_responses(*schema.AGAIN_PROBLEMS),
    )
    async def redo_job(
        id: str, request: Request, response: Response, order: Order = parameters
    ) -> schema.JobStatus:
        job = await intake.redo(request, order, queue.get(id))
        return accepted(job, request, response)

    @reading(
        app,
        "/v1/jobs",
        summary="The status of several jobs",
        responses=schema.problem_responses(401, 422),
    )
    async def job_statuses(
        id: Annotated[list[str], Query(max_length=schema.MOST_IDS, description="Of the jobs")],
    ) -> list[schema.JobStatus]:
        found = (queue.find(each) for each in id)
        return [schema.status_of(job, queue) for job in found if job is not None]

    of_one = schema.problem_responses(401, 404, 410, 422)

    @reading(app, "/v1/jobs/{id}", summary="The status of a job", responses=of_one)
    async def job_status(id: str) -> schema.JobStatus:
        return schema.status_of(queue.get(id), queue)

    @app.delete(
        "/v1/jobs/{id}",
        status_code=204,
        summary="Cancel a job, or discard its result",
        responses=of_one,
    )
    async def delete_job(id: str) -> None:
        queue.remove(queue.get(id))


def _add_about(app: FastAPI, kitchen: Kitchen, limits: Limits) -> None:
    @reading(app, "/v1/models", summary="The models", responses=schema.problem_responses(401, 422))
    async def models() -> list[schema.ModelInfo]:
        return [
            schema.ModelInfo(
                name=name,
                default=name == kitchen.models.default,
                scale=kitchen.models[name].scale,
                detail=kitchen.models[name].detail,
                description=kitchen.models[name].description,
            )
            for name in kitchen.models.names
        ]

    @reading(
        app,
        "/v1/about",
        summary="The server's limits",
        responses=schema.problem_responses(401, 422),
    )
    async def about(request: Request) -> schema.About:
        return schema.about(request, limits)


async def _wait(job: Job, request: Request, queue: JobQueue) -> Result | None:
    """Wait for the job's result; None if the client disconnects before.

    Raises:
        Problem: the job failed or was deleted, or the server is shutting down.
    """
    outcome = asyncio.wrap_future(job.outcome)
    # Ask for the exception, or asyncio logs that nobody did.
    outcome.add_done_callback(lambda done: done.cancelled() or done.exception())
    gone = asyncio.ensure_future(disconnected(request))
    try:
        await asyncio.wait({outcome, gone}, return_when=asyncio.FIRST_COMPLETED)
        return None if gone.done() else outcome.result()
    except Cancelled:
        raise (draining() if queue.draining else no_such_job()) from None
    finally:
        gone.cancel()
        outcome.cancel()
