"""The answers of /v1, and the parts of its OpenAPI description that signatures cannot express."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from srgan.pictures.images import FORMATS, INPUT_FORMATS
from srgan.serve import problems


class ProblemDetails(BaseModel):
    """RFC 9457."""

    type: str = Field(examples=["urn:srgan:problem:queue-full"])
    title: str = Field(examples=["Too Many Requests"])
    status: int = Field(examples=[429])
    detail: str = Field(examples=["the server is busy: try again in 3 s"])


class Size(BaseModel):
    """Width and height in pixels."""

    width: int = Field(examples=[2560])
    height: int = Field(examples=[1920])


class JobStatus(BaseModel):
    """The status of a job."""

    id: str = Field(examples=["Qm9vIQ7yL0bq1x3kVw2pZA"])
    status: Literal["queued", "running", "done", "failed"]
    progress: float = Field(description="From 0 to 1", examples=[0.42])
    position: int | None = Field(None, description="Pictures before this one, while queued")
    seconds_left: float | None = Field(None, description="Of computing, while running")
    name: str | None = Field(None, description="Of the result", examples=["photo_x4.jpg"])
    bytes: int | None = Field(None, description="Of the result")
    size: Size | None = Field(None, description="Of the result")
    model: str | None = Field(None, description="That made the result; for auto, the chosen one")
    notes: list[str] = Field([], description="Notes for people on what the result could not keep")
    problem: ProblemDetails | None = Field(None, description="Why it failed")


class ModelInfo(BaseModel):
    """A model that clients choose with ?model="""

    name: str = Field(examples=["srresnet-x4"])
    default: bool
    scale: int = Field(description="Default result pixels per pixel")
    description: str | None = None


_BINARY = {"schema": {"type": "string", "format": "binary"}}
PICTURE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": f"The picture: {', '.join(INPUT_FORMATS)}. The declared type is ignored.",
        "content": {
            "application/octet-stream": _BINARY,
            "image/*": _BINARY,
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
    "content": {f"image/{format}": _BINARY for format in FORMATS},
    "headers": {
        "Content-Disposition": {
            "description": "The result's name",
            "schema": {"type": "string", "example": 'attachment; filename="photo_x4.jpg"'},
        },
        "Server-Timing": {
            "description": "Milliseconds in the queue and of computing",
            "schema": {"type": "string", "example": "queue;dur=12, compute;dur=1734"},
        },
    },
}
_REASONS = {
    400: "The multipart body is wrong",
    401: "The token is missing or wrong",
    404: "There is no such job, or its result is no longer kept",
    408: "The upload took too long",
    409: "The job is not finished",
    413: "Too many bytes or pixels, or it would take too long",
    415: "Not a picture of a format that srgan reads",
    422: "The picture is damaged, or a parameter is wrong",
    429: "The queue is full",
    500: "The server failed",
    503: "The server is shutting down",
    507: "The server's disk is full",
}
UPLOAD_PROBLEMS = (400, 401, 408, 413, 415, 422, 429, 503)
RESULT_PROBLEMS = (401, 404, 409, 413, 422, 500, 507)


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
            **({"headers": retry} if status in (409, 429, 503) else {}),
        }
        for status in statuses
    }
