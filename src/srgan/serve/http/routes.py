"""The routes under /v1: upscale a picture while the client waits, or as a job."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from functools import partial
from typing import Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import FileResponse
from starlette.types import Receive, Scope, Send

from srgan.pictures.images import FORMATS
from srgan.pictures.options import MAX_SCALE
from srgan.serve.http import schema
from srgan.serve.http.uploads import disconnected, receive_picture
from srgan.serve.jobs import Cancelled, Job, JobQueue, Result
from srgan.serve.kitchen import Kitchen, Order
from srgan.serve.options import Limits
from srgan.serve.problems import Problem, draining

CLIENT_CLOSED_REQUEST = 499  # nginx's status; the client is gone and does not see it


def make_router(kitchen: Kitchen, queue: JobQueue, limits: Limits) -> APIRouter:
    """Make the routes under /v1."""
    router = APIRouter(prefix="/v1")
    intake = _Intake(kitchen, queue, limits)
    parameters = Depends(_order_parameters(kitchen))
    _add_upscale(router, intake, queue, parameters)
    _add_jobs(router, intake, queue, parameters)
    _add_results(router, queue)
    _add_models(router, kitchen)
    return router


class _Intake:
    """Takes in pictures: receives an upload, checks it and puts its job into the queue."""

    def __init__(self, kitchen: Kitchen, queue: JobQueue, limits: Limits) -> None:
        self._kitchen = kitchen
        self._queue = queue
        self._limits = limits

    async def admit(self, request: Request, order: Order, *, kept: bool) -> Job:
        """Start a job for the request's picture.

        Args:
            order: the client's order, still without its picture.
            kept: see `JobQueue.admit`.

        Raises:
            Problem: no slot is free, or the picture cannot be upscaled.
        """
        job = self._queue.admit(kept=kept)
        try:
            data, name = await receive_picture(request, self._limits)
            order = replace(order, data=data, name=name)
            check = self._kitchen.inspector.submit(self._kitchen.plan, order)
            await asyncio.wrap_future(check)
            self._queue.start(job, partial(self._kitchen.upscale, order, job.id))
        except Problem as problem:
            self._queue.refuse(job, problem)
            raise
        except BaseException:
            self._queue.remove(job)
            raise
        return job


def _add_upscale(router: APIRouter, intake: _Intake, queue: JobQueue, parameters: Any) -> None:
    @router.post(
        "/upscale",
        summary="Upscale a picture and wait for it",
        response_class=FileResponse,
        responses={200: schema.PICTURE_RESPONSE}
        | schema.problem_responses(*schema.UPLOAD_PROBLEMS, 500, 507),
        openapi_extra=schema.PICTURE_BODY,
    )
    async def upscale(request: Request, order: Order = parameters) -> Response:
        job = await intake.admit(request, order, kept=False)
        try:
            result = await _wait(job, request)
        except BaseException:  # also when the server's shutdown cancels this coroutine
            queue.remove(job)
            raise
        if result is None:
            queue.remove(job)
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        return _Delivery(job, result, lambda: queue.remove(job))


def _add_jobs(router: APIRouter, intake: _Intake, queue: JobQueue, parameters: Any) -> None:
    @router.post(
        "/jobs",
        status_code=202,
        summary="Upscale a picture and fetch it later",
        responses={202: {"headers": {"Location": {"schema": {"type": "string"}}}}}
        | schema.problem_responses(*schema.UPLOAD_PROBLEMS),
        openapi_extra=schema.PICTURE_BODY,
    )
    async def create_job(
        request: Request, response: Response, order: Order = parameters
    ) -> schema.JobStatus:
        job = await intake.admit(request, order, kept=True)
        response.headers["Location"] = f"/v1/jobs/{job.id}"
        return _status(job, queue)

    @router.get(
        "/jobs/{id}",
        summary="The status of a job",
        responses=schema.problem_responses(401, 404, 422),
    )
    async def job_status(id: str) -> schema.JobStatus:
        job = queue.get(id)
        job.delivered |= job.state == "failed"
        return _status(job, queue)


def _add_results(router: APIRouter, queue: JobQueue) -> None:
    @router.get(
        "/jobs/{id}/result",
        summary="The result of a finished job",
        response_class=FileResponse,
        responses={200: schema.PICTURE_RESPONSE}
        | schema.problem_responses(*schema.RESULT_PROBLEMS),
    )
    async def job_result(id: str) -> Response:
        job = queue.get(id)
        if job.is_open:
            raise Problem(409, "not-finished", "the job is not finished", 1)
        return _Delivery(job, job.outcome.result())

    @router.delete(
        "/jobs/{id}",
        status_code=204,
        summary="Cancel a job, or discard its result",
        responses=schema.problem_responses(401, 404, 422),
    )
    async def delete_job(id: str) -> None:
        queue.remove(queue.get(id))


def _add_models(router: APIRouter, kitchen: Kitchen) -> None:
    @router.get("/models", summary="The models", responses=schema.problem_responses(401))
    async def models() -> list[schema.ModelInfo]:
        return [
            schema.ModelInfo(
                name=name,
                default=name == kitchen.models.default,
                scale=kitchen.models[name].scale,
                description=kitchen.models[name].description,
            )
            for name in kitchen.models.names
        ]


def _order_parameters(kitchen: Kitchen) -> Callable[..., Order]:
    """A FastAPI dependency that makes an Order, without a picture, from the query's parameters."""
    models: Any = Enum("Model", {name: name for name in kitchen.models.names})
    formats: Any = Enum("Format", {name: name for name in FORMATS})
    default = models[kitchen.models.default]
    model_query: Any = Query(default, description="One of GET /v1/models")
    scale_query: Any = Query(
        None,
        ge=1,
        le=MAX_SCALE,
        description="Result pixels per pixel; by default the model's",
        examples=[4],
    )
    format_query: Any = Query(None, description="Of the result; by default the picture's own")

    def order(
        model: Any = model_query, scale: float | None = scale_query, format: Any = format_query
    ) -> Order:
        return Order(b"", "", model.value, scale, format.value if format else None)

    # FastAPI reads types from here. This server's models are types that no annotation can name.
    order.__annotations__ |= {"model": models, "format": formats | None}
    return order


async def _wait(job: Job, request: Request) -> Result | None:
    """Wait for the job's result; None if the client disconnects before.

    Raises:
        Problem: the job failed, or the server is shutting down.
    """
    outcome = asyncio.wrap_future(job.outcome)
    # Ask for the exception, or asyncio logs that nobody did.
    outcome.add_done_callback(lambda done: done.cancelled() or done.exception())
    gone = asyncio.ensure_future(disconnected(request))
    try:
        await asyncio.wait({outcome, gone}, return_when=asyncio.FIRST_COMPLETED)
        return None if gone.done() else outcome.result()
    except Cancelled:
        raise draining() from None
    finally:
        gone.cancel()
        outcome.cancel()


def _status(job: Job, queue: JobQueue) -> schema.JobStatus:
    error = None if job.is_open else job.outcome.exception()
    result = job.outcome.result() if job.state == "done" else None
    status: Any = "queued" if job.state == "receiving" else job.state
    return schema.JobStatus(
        id=job.id,
        status=status,
        progress=job.fraction,
        position=queue.position(job) if job.state == "queued" else None,
        seconds_left=job.seconds_left,
        name=result.name if result else None,
        bytes=result.bytes if result else None,
        size=schema.Size(width=result.size[0], height=result.size[1]) if result else None,
        model=result.choice.model if result else None,
        notes=list(result.notes) if result else [],
        problem=schema.ProblemDetails(**error.document) if isinstance(error, Problem) else None,
    )


class _Delivery(FileResponse):
    """The response with a result; afterwards the job counts as delivered."""

    def __init__(
        self, job: Job, result: Result, afterwards: Callable[[], None] = lambda: None
    ) -> None:
        queued, computed = job.seconds_queued * 1000, job.seconds_computed * 1000
        super().__init__(
            result.path,
            filename=result.name,
            media_type=result.media_type,
            headers={"Server-Timing": f"queue;dur={queued:.0f}, compute;dur={computed:.0f}"},
        )
        self._job = job
        self._afterwards = afterwards

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:  # even if the client disconnects halfway
            self._job.delivered = True
            self._afterwards()
