"""The answers of /v1, and the parts of its OpenAPI description that signatures cannot express."""

from typing import Any, Literal

from fastapi import Request
from pydantic import BaseModel, Field

from srgan.pictures.images import FORMATS, INPUT_FORMATS, WRITTEN_FORMATS
from srgan.serve import problems
from srgan.serve.clients import is_here
from srgan.serve.jobs import Job
from srgan.serve.options import Limits
from srgan.serve.orders import Size
from srgan.serve.queue import JobQueue

MOST_IDS = 500  # jobs in one request


class ProblemDetails(BaseModel):
    """RFC 9457."""

    type: str = Field(examples=["urn:srgan:problem:queue-full"])
    title: str = Field(examples=["Too Many Requests"])
    status: int = Field(examples=[429])
    detail: str = Field(examples=["the server is busy: try again in 3 s"])


class JobStatus(BaseModel):
    """The status of a job."""

    id: str = Field(examples=["Qm9vIQ7yL0bq1x3kVw2pZA"])
    status: Literal["queued", "running", "done", "failed", "expired"]
    progress: float = Field(description="From 0 to 1", examples=[0.42])
    position: int | None = Field(default=None, description="Pictures before this one, while queued")
    seconds_left: float | None = Field(default=None, description="Of computing, while running")
    picture: str = Field(description="Name of the client's picture", examples=["photo.jpg"])
    name: str | None = Field(default=None, description="Of the result", examples=["photo_x4.jpg"])
    bytes: int | None = Field(default=None, description="Of the result")
    type: str | None = Field(default=None, description="Of the result", examples=["image/jpeg"])
    source_size: Size | None = Field(default=None, description="Of the picture")
    size: Size | None = Field(default=None, description="Of the result")
    frames: int | None = Field(default=None, description="Of an animation; 1 for a still picture")
    model: str | None = Field(
        default=None, description="That made the result; for auto, the chosen one"
    )
    why: str | None = Field(
        default=None, description="That model was chosen", examples=["as requested"]
    )
    signs: list[str] = Field(default=[], description="What the choice saw", examples=[["blurred"]])
    notes: list[str] = Field(
        default=[], description="Notes for people on what the result could not keep"
    )
    problem: ProblemDetails | None = Field(default=None, description="Why it failed")


def status_of(job: Job, queue: JobQueue) -> JobStatus:
    """The status of a job, for its client."""
    status: Any = {"receiving": "queued", "cancelled": "expired"}.get(job.state, job.state)
    return JobStatus(
        id=job.id,
        status=status,
        progress=job.fraction,
        position=queue.position(job) if job.state == "queued" else None,
        seconds_left=job.seconds_left,
        picture=job.order.name,
        problem=ProblemDetails(**job.problem.document) if job.problem else None,
        **(dict(job.result) if job.result else {}),
    )


class ModelInfo(BaseModel):
    """A model that clients choose with ?model="""

    name: str = Field(examples=["srresnet-x4"])
    default: bool
    scale: int = Field(description="Default result pixels per pixel")
    detail: float | None = Field(
        default=None, description="Default of ?detail=; null: it takes none"
    )
    description: str | None = None


class About(BaseModel):
    """What the server takes, and where it is."""

    here: bool = Field(description="The client is on the server's machine")
    max_bytes: int = Field(description="Of an upload")
    max_pixels: int = Field(description="Of an uploaded picture")
    keep_seconds: float = Field(description="How long results are kept")
    inputs: list[str] = Field(description="Formats of uploads")
    formats: list[str] = Field(description="Formats of results")


def about(request: Request, limits: Limits) -> About:
    """What the server tells the client that sends this request."""
    return About(
        here=is_here(request.scope),
        max_bytes=limits.max_bytes,
        max_pixels=limits.max_pixels,
        keep_seconds=limits.keep_seconds,
        inputs=list(INPUT_FORMATS),
        formats=list(FORMATS),
    )


BINARY = {"schema": {"type": "string", "format": "binary"}}
PICTURE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": f"The picture: {', '.join(INPUT_FORMATS)}. The declared type is ignored.",
        "content": {
            "application/octet-stream": BINARY,
            "image/*": BINARY,
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"image": {"type": "string", "format": "binary"}},
                    "required": ["image"],
                }
            },
        },
    }
}
PICTURE_RESPONSE: dict[str, Any] = {
    "description": "The upscaled picture",
    "content": {f"image/{format}": BINARY for format in WRITTEN_FORMATS},
    "headers": {
        "Content-Disposition": {
            "description": "The result's name",
            "schema": {"type": "string", "example": 'attachment; filename="photo_x4.jpg"'},
        },
        "Server-Timing": {
            "description": "Milliseconds in the queue and of computing",
            "schema": {"type": "string", "example": "queue;dur=12, compute;dur=1734"},
        },
        "X-Srgan-Model": {
            "description": "The model that made it",
            "schema": {"type": "string", "example": "srgan-x4"},
        },
        "X-Srgan-Notes": {
            "description": "A JSON array of notes for people, if there are any",
            "schema": {"type": "string"},
        },
    },
}
PREVIEW_RESPONSE: dict[str, Any] = {
    "description": "The preview",
    "content": {f"image/{format}": BINARY for format in WRITTEN_FORMATS},
}
_REASONS = {
    400: "The multipart body is wrong",
    401: "The token is missing or wrong",
    404: "There is no such job",
    408: "The upload took too long",
    409: "The job is not finished",
    410: "The job's result is no longer kept",
    413: "Too many bytes or pixels, or it would take too long",
    415: "Not a picture of a format that srgan reads",
    422: "The picture is damaged, or a parameter is wrong",
    429: "The queue is full, or you use your share of it",
    500: "The server failed",
    503: "The server is shutting down",
    507: "The server has no room for more results",
}
UPLOAD_PROBLEMS = (400, 401, 408, 409, 413, 415, 422, 429, 503, 507)
AGAIN_PROBLEMS = (401, 404, 410, 413, 415, 422, 429, 503, 507)
RESULT_PROBLEMS = (401, 404, 409, 410, 413, 422, 500, 507)


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI description of problem documents with these statuses."""
    schema = {"$ref": "#/components/schemas/ProblemDetails"}
    retry = {
        "Retry-After": {
            "description": "Seconds after which to try again",
            "schema": {"type": "integer", "minimum": 1},
        }
    }
    return {
        status: {
            "description": _REASONS[status],
            "content": {problems.MEDIA_TYPE: {"schema": schema}},
            **({"headers": retry} if status in (409, 429, 503, 507) else {}),
        }
        for status in statuses
    }
