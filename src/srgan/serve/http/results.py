"""The routes under /v1 that give results: whole, smaller for a screen, or many in one zip."""

import asyncio
import json
import re
from collections.abc import Callable
from contextlib import ExitStack
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query, Response
from fastapi.responses import FileResponse, StreamingResponse
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from srgan.pictures.images import PictureError
from srgan.serve.http import schema
from srgan.serve.http.parameters import reading
from srgan.serve.jobs import Job
from srgan.serve.orders import Result
from srgan.serve.preview import make_preview
from srgan.serve.problems import Problem, expired, from_picture_error
from srgan.serve.queue import JobQueue
from srgan.serve.zip import zipped

PREVIEWS_AT_ONCE = 4  # that wait or are drawn
KEEP_IN_BROWSER = "private, max-age=3600, immutable"


def add_results(app: FastAPI, queue: JobQueue) -> None:
    """Add the routes."""

    @reading(
        app,
        "/v1/jobs/{id}/result",
        summary="The result of a finished job",
        response_class=FileResponse,
        responses={200: schema.PICTURE_RESPONSE}
        | schema.problem_responses(*schema.RESULT_PROBLEMS),
    )
    async def job_result(id: str) -> Response:
        job = queue.get(id)
        return delivery(queue, job, _result(job))

    _add_preview(app, queue)

    @app.get(
        "/v1/results.zip",
        summary="The results of several jobs in one file",
        response_class=StreamingResponse,
        responses={
            200: {"content": {"application/zip": {"schema": schema.BINARY}}},
            **schema.problem_responses(*schema.RESULT_PROBLEMS),
        },
    )
    async def zip_of_results(
        id: Annotated[
            list[str], Query(min_length=1, max_length=schema.MOST_IDS, description="Of the jobs")
        ],
    ) -> Response:
        jobs = [queue.get(each) for each in dict.fromkeys(id)]
        files = [(job.folder / _result(job).file, _result(job).name) for job in jobs]
        return _Reading(
            StreamingResponse(
                zipped(files),
                media_type="application/zip",
                headers={"Content-Disposition": 'attachment; filename="srgan.zip"'},
            ),
            jobs,
            lambda: [queue.fetched(job) for job in jobs],
        )


def _add_preview(app: FastAPI, queue: JobQueue) -> None:
    slots = asyncio.Semaphore(PREVIEWS_AT_ONCE)
    turn = asyncio.Lock()  # each may hold a large picture in memory

    @reading(
        app,
        "/v1/jobs/{id}/preview",
        summary="A picture of the job for the screen, JPEG or PNG",
        response_class=FileResponse,
        responses={200: schema.PREVIEW_RESPONSE}
        | schema.problem_responses(*schema.RESULT_PROBLEMS, 429),
    )
    async def job_preview(
        id: str,
        of: Annotated[
            Literal["thumbnail", "original", "bicubic", "result"],
            Query(description="bicubic is the original in the size of the result"),
        ],
    ) -> Response:
        job = queue.get(id)
        result = _result(job) if of in ("bicubic", "result") else job.result
        if job.state == "receiving":
            raise Problem(409, "not-finished", "the picture is not received", 1)
        if slots.locked():
            raise Problem(429, "queue-full", "many previews are drawn: try again in 1 s", 1)
        try:
            with job.being_read():
                async with slots, turn:
                    path = await asyncio.to_thread(
                        make_preview, job, of, result, lambda size: queue.reserve(job, size)
                    )
        except PictureError as error:
            raise from_picture_error(error) from error
        except OSError as error:  # removed meanwhile
            raise expired() from error
        return _Reading(FileResponse(path, headers={"Cache-Control": KEEP_IN_BROWSER}), [job])


def _result(job: Job) -> Result:
    """The job's result; raises Problem if it has none."""
    if job.is_open:
        raise Problem(409, "not-finished", "the job is not finished", 1)
    return job.outcome.result()


def delivery(
    queue: JobQueue, job: Job, result: Result, afterwards: Callable[[], None] = lambda: None
) -> Response:
    """The response with a result.

    Args:
        afterwards: called in any case, also if the client disconnects halfway.
    """
    queued, computed = job.seconds_queued * 1000, job.seconds_computed * 1000
    headers = {
        "Server-Timing": f"queue;dur={queued:.0f}, compute;dur={computed:.0f}",
        "X-Srgan-Model": result.model,
        "Cache-Control": KEEP_IN_BROWSER,
    }
    if result.notes:
        headers["X-Srgan-Notes"] = json.dumps(result.notes)  # ASCII
    response = _File(
        job.folder / result.file,
        filename=result.name,
        media_type=result.type,
        headers=headers,
    )
    return _Reading(response, [job], lambda: queue.fetched(job), afterwards)


class _File(FileResponse):
    chunk_size = 1 << 18  # each is read in a thread: fewer hops than with starlette's 64 KiB


class _Reading(Response):
    """A response that reads files of jobs, which must not end meanwhile."""

    def __init__(
        self,
        response: Response,
        jobs: list[Job],
        sent: Callable[[], Any] = lambda: None,
        afterwards: Callable[[], Any] = lambda: None,
    ) -> None:
        """Wrap a response.

        Args:
            sent: called when the client has all of it: also after a part with the last byte.
            afterwards: called in any case.
        """
        super().__init__()
        self._response = response
        self._jobs = jobs
        self._sent = sent
        self._afterwards = afterwards

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reaches_end = is_gone = is_sent = False

        async def listen() -> Message:
            nonlocal is_gone
            message = await receive()
            is_gone |= message["type"] == "http.disconnect"
            return message

        async def note(message: Message) -> None:
            nonlocal reaches_end, is_sent
            await send(message)  # does nothing if the client has gone
            if message["type"] == "http.response.start":
                reaches_end = _reaches_end(message)
            else:
                is_sent = not message.get("more_body") and not is_gone

        try:
            with ExitStack() as reading:
                for job in self._jobs:
                    reading.enter_context(job.being_read())
                await self._response(scope, listen, note)  # ends early if the client goes away
                if is_sent and reaches_end and scope["method"] != "HEAD":
                    self._sent()
        finally:
            self._afterwards()


def _reaches_end(start: Message) -> bool:
    """Whether the response that begins so has the last byte. Several parts in one do not count."""
    if start["status"] != 206:
        return start["status"] == 200
    content_range = Headers(raw=start["headers"]).get("content-range", "")
    part = re.fullmatch(r"bytes \d+-(\d+)/(\d+)", content_range)
    return part is not None and int(part[1]) + 1 == int(part[2])
