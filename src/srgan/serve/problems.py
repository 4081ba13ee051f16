"""Errors of the service as problem details (RFC 9457), with their HTTP status."""

from http import HTTPStatus
from typing import Any

from srgan.pictures.images import (
    PictureError,
    StorageError,
    TooManyPixelsError,
    UnknownFormatError,
)

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:srgan:problem:"


class Problem(Exception):  # noqa: N818 - RFC 9457's word
    """An error that the client sees as a problem document."""

    def __init__(self, status: int, kind: str, detail: str, retry_after: int | None = None) -> None:
        """Make a problem.

        Args:
            status: of HTTP.
            kind: stable name for programs, the end of the document's type.
            detail: the reason in a sentence, for people.
            retry_after: seconds after which the client should try again.
        """
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.headers = {} if retry_after is None else {"Retry-After": str(retry_after)}

    @property
    def document(self) -> dict[str, Any]:
        """The members of the problem details object."""
        return {
            "type": TYPE_PREFIX + self.kind,
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }


def queue_full(retry_after: int) -> Problem:
    return Problem(
        429, "queue-full", f"the server is busy: try again in {retry_after} s", retry_after
    )


def draining() -> Problem:
    return Problem(503, "draining", "the server is shutting down: try again soon", 10)


def too_many_bytes(limit: int) -> Problem:
    return Problem(413, "too-many-bytes", f"the upload has more than {limit:,} bytes")


def upload_too_slow(seconds: float) -> Problem:
    return Problem(408, "upload-too-slow", f"the upload took longer than {seconds:g} s")


def too_much_time(seconds: float) -> Problem:
    return Problem(
        413,
        "too-much-time",
        f"the picture takes longer than the {seconds:g} s that this server allows: "
        "send a smaller one",
    )


def no_such_job() -> Problem:
    return Problem(404, "no-such-job", "there is no such job, or its result is no longer kept")


def from_picture_error(error: PictureError) -> Problem:
    """The problem for a picture error: StorageError is the server's fault, others the client's."""
    if isinstance(error, StorageError):
        return Problem(507, "storage-full", "the server cannot store the result: try again later")
    if isinstance(error, TooManyPixelsError):
        return Problem(413, "too-many-pixels", error.reason)
    if isinstance(error, UnknownFormatError):
        return Problem(415, "unknown-format", str(error))
    return Problem(422, "damaged-picture", str(error))
