"""Errors of the service as problem details (RFC 9457), with their HTTP status."""

import errno
import logging
from collections.abc import Generator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse

from srgan.pictures.images import (
    PictureError,
    SizeError,
    StorageError,
    TooManyPixelsError,
    UnknownFormatError,
)

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:srgan:problem:"

log = logging.getLogger("srgan")


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

    @property
    def response(self) -> JSONResponse:
        """The HTTP response."""
        return JSONResponse(self.document, self.status, headers=self.headers, media_type=MEDIA_TYPE)


def queue_full(retry_after: int) -> Problem:
    return Problem(
        429, "queue-full", f"the server is busy: try again in {retry_after} s", retry_after
    )


def share_used(what: str, retry_after: int) -> Problem:
    detail = f"you use your share of the server's {what}: try again in {retry_after} s"
    return Problem(429, "share-used", detail, retry_after)


def storage_full(retry_after: int | None = None) -> Problem:
    when = "later" if retry_after is None else f"in {retry_after} s"
    detail = f"the server has no room for more results: fetch and delete yours, or try again {when}"
    return Problem(507, "storage-full", detail, retry_after)


@contextmanager
def telling_full_disk() -> Generator[None]:
    """A context in which a full disk, or a quota that is used up, raises `storage_full`."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        log.error("the disk is full: %s", error)
        raise storage_full() from error


def draining() -> Problem:
    return Problem(503, "draining", "the server is shutting down: try again soon", 10)


def too_many_bytes(limit: int) -> Problem:
    return Problem(413, "too-many-bytes", f"the upload has more than {limit:,} bytes")


def upload_too_slow(reason: str) -> Problem:
    problem = Problem(408, "upload-too-slow", f"the upload {reason}")
    problem.headers["Connection"] = "close"  # otherwise the client holds the connection
    return problem


def too_much_time(seconds: float) -> Problem:
    return Problem(
        413,
        "too-much-time",
        f"the picture takes longer than the {seconds:g} s that this server allows: "
        "send a smaller one",
    )


def too_large_result(size: int, limit: int) -> Problem:
    return Problem(
        413,
        "result-too-large",
        f"the result may take {size:,} bytes, and this server keeps {limit:,} for all: "
        "choose jpeg or webp, or a smaller scale",
    )


def internal_error() -> Problem:
    return Problem(500, "internal-error", "the server failed: see its log")


def no_such_job() -> Problem:
    return Problem(404, "no-such-job", "there is no such job")


def expired() -> Problem:
    return Problem(410, "expired", "the job's result is no longer kept")


def wrong_parameter(detail: str) -> Problem:
    return Problem(422, "wrong-parameter", detail)


def from_picture_error(error: PictureError) -> Problem:
    """The problem for a picture error: StorageError is the server's fault, others the client's."""
    if isinstance(error, StorageError):
        return storage_full()
    if isinstance(error, TooManyPixelsError):
        return Problem(413, "too-many-pixels", error.reason)
    if isinstance(error, UnknownFormatError):
        return Problem(415, "unknown-format", str(error))
    if isinstance(error, SizeError):
        return wrong_parameter(str(error))
    return Problem(422, "damaged-picture", str(error))
