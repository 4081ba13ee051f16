"""The service under /v1: a picture in, a larger one out; at once, or as a job."""

import asyncio
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Annotated, Any, cast

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
from srgan.serve.problems import Problem

CLIENT_CLOSED_REQUEST = 499  # nginx's word for it; nobody is there to read it


def make_router(kitchen: Kitchen, queue: JobQueue, limits: Limits) -> APIRouter:
    """The routes under /v1."""
    router = APIRouter(prefix="/v1")
    wishes = Depends(_wishes_of(kitchen))

    async def admit(request: Request, wishes: Order, *, kept: bool) -> Job:
        job = queue.admit(kept=kept)
        try:
            data, name = await receive_picture(request, limits)
            order = Order(data, name, wishes.model, wishes.scale, wishes.format)
            await asyncio.wrap_future(kitchen.inspector.submit(kitchen.plan, order))
            queue.start(job, partial(kitchen.upscale, order, job.id))
        except Problem as problem:
            queue.refuse(job, problem)
            raise
        except BaseException:
            queue.remove(job)
            raise
        return job

    @router.post(
        "/upscale",
        summary="Upscale a picture and wait for it",
        response_class=FileResponse,
        responses={200: schema.PICTURE_RESPONSE}
        | schema.problem_responses(*schema.UPLOAD_PROBLEMS, 500, 507),
        openapi_extra=schema.PICTURE_BODY,
    )
    async def upscale(request: Request, wishes: Order = wishes) -> Response:
        job = await admit(request, wishes, kept=False)
        try:
            result = await _wait(job, request)
        except BaseException:  # cancelled by the server's end, too
            queue.remove(job)
            raise
        if result is None:
            queue.remove(job)
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        return _Delivery(job, result, lambda: queue.remove(job))

    @router.post(
        "/jobs",
        status_code=202,
        summary="Upscale a picture and fetch it later",
        responses={202: {"headers": {"Location": {"schema": {"type": "string"}}}}}
        | schema.problem_responses(*schema.UPLOAD_PROBLEMS),
        openapi_extra=schema.PICTURE_BODY,
    )
    async def create_job(
        request: Request, response: Response, wishes: Order = wishes
    ) -> schema.JobStatus:
        job = await admit(request, wishes, kept=True)
        response.headers["Location"] = f"/v1/jobs/{job.id}"
        return _status(job, queue)

    @router.get(
        "/jobs/{id}", summary="How far a job is", responses=schema.problem_responses(401, 404, 422)
    )
    async def job_status(id: str) -> schema.JobStatus:
        job = queue.get(id)
        job.delivered |= job.state == "failed"
        return _status(job, queue)

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
        summary="Cancel a job, or forget its result",
        responses=schema.problem_responses(401, 404, 422),
    )
    async def delete_job(id: str) -> None:
        queue.remove(queue.get(id))

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

    return router


def _wishes_of(kitchen: Kitchen) -> Any:
    """The query's parameters, as a dependency whose choices are this server's models."""
    names = cast(Any, Enum("Model", {name: name for name in kitchen.models.names}))
    formats = cast(Any, Enum("Format", {name: name for name in FORMATS}))
    default = names[kitchen.models.default]

    def wishes(
        model: Annotated[names, Query(description="One of GET /v1/models")] = default,  # pyright: ignore[reportInvalidTypeForm]
        scale: Annotated[
            float | None,
            Query(
                ge=1,
                le=MAX_SCALE,
                description="Result pixels per pixel; by default the model's",
                examples=[4],
            ),
        ] = None,
        format: Annotated[
            formats | None, Query(description="Of the result; by default the picture's own")  # pyright: ignore[reportInvalidTypeForm]
        ] = None,
    ) -> Order:
        return Order(b"", "", model.value, scale, format.value if format else None)

    return wishes


async def _wait(job: Job, request: Request) -> Result | None:
    """The job's result, or None where its client has gone."""
    outcome = asyncio.wrap_future(job.outcome)
    outcome.add_done_callback(lambda done: done.cancelled() or done.exception())  # asked for once
    gone = asyncio.ensure_future(disconnected(request))
    try:
        await asyncio.wait({outcome, gone}, return_when=asyncio.FIRST_COMPLETED)
        return None if gone.done() else outcome.result()
    except Cancelled:
        raise Problem(503, "draining", "the server is going down: try again soon", 10) from None
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
    """A result on its way to its client."""

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
        finally:  # the client may have gone halfway
            self._job.delivered = True
            self._afterwards()
