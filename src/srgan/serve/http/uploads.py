"""Receives uploads, as body or multipart, into files, with limits on bytes, time and silence."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from srgan.errors import reason_of
from srgan.serve.kitchen import client_name
from srgan.serve.options import Limits
from srgan.serve.problems import (
    Problem,
    telling_full_disk,
    too_many_bytes,
    upload_too_slow,
)

OVERHEAD = 10_000  # bytes of a multipart body beyond its picture
POLITE_SECONDS = 5  # for a client to finish sending a refused upload, so that it reads the reason
STEP = 1_000_000  # disk space is reserved in such steps, if the length is not known


@dataclass
class ReceivedFile:
    """A file that an upload fills, and its digest.

    Attributes:
        most: bytes that it takes.
        reserve: called with the disk space that the file needs, before it grows.
    """

    file: BinaryIO
    most: int
    reserve: Callable[[int], None]
    size: int = 0
    reserved: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    def write(self, chunk: bytes) -> None:
        """Add bytes. Raises Problem if there are too many, or no disk space is left."""
        self.size += len(chunk)
        if self.size > self.most:
            raise too_many_bytes(self.most)
        self.digest.update(chunk)
        if self.size > self.reserved:
            self.reserved = min(self.size + STEP, self.most)
            self.reserve(self.reserved)
        with telling_full_disk():
            self.file.write(chunk)


def declared_size(request: Request, limits: Limits) -> int:
    """The bytes that the request says it brings; 0 if it does not say."""
    length = request.headers.get("content-length", "")
    return min(int(length), limits.max_bytes) if length.isdecimal() else 0


async def receive_picture(request: Request, received: ReceivedFile, limits: Limits) -> str:
    """Receive an uploaded picture into a file.

    Returns:
        The client's name for it.

    Raises:
        Problem: the upload is too large or too slow, or holds no picture.
        ClientDisconnect: the client disconnected.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    multipart = kind == b"multipart/form-data"
    most = limits.max_bytes + (OVERHEAD if multipart else 0)
    stream = request.stream()
    try:
        if int(request.headers.get("content-length", 0)) > most:
            raise too_many_bytes(limits.max_bytes)
        chunks = _chunks(stream, most, limits)
        async with asyncio.timeout(limits.upload_seconds):
            if multipart:
                return await _from_multipart(chunks, received, options.get(b"boundary"))
            async for chunk in chunks:
                received.write(chunk)
            return client_name(request.query_params.get("name"))
    except TimeoutError:
        raise upload_too_slow(f"took longer than {limits.upload_seconds:g} s") from None
    except Problem as problem:
        if problem.status != 408:
            await let_finish(request, stream)
        raise


async def _chunks(
    stream: AsyncGenerator[bytes, None], most: int, limits: Limits
) -> AsyncGenerator[bytes, None]:
    """The body, up to `most` bytes, as long as it keeps coming."""
    received = 0
    while True:
        try:
            chunk = await asyncio.wait_for(anext(stream), limits.silent_seconds)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise upload_too_slow(f"brought nothing for {limits.silent_seconds:g} s") from None
        received += len(chunk)
        if received > most:
            raise too_many_bytes(limits.max_bytes)
        yield chunk


async def let_finish(request: Request, stream: AsyncGenerator[bytes, None]) -> None:
    """Discard the rest of a body: many clients read no answer before they have sent everything.

    A client that asked before sending (curl) waits for the answer instead.
    """
    if request.headers.get("expect", "").lower() == "100-continue":
        return
    try:
        async with asyncio.timeout(POLITE_SECONDS):
            async for _ in stream:
                pass
    except TimeoutError:
        pass


class _Form:
    """Reads the only file of a multipart form into a file, and refuses fields."""

    def __init__(self, received: ReceivedFile, boundary: bytes) -> None:
        self.name: str | None = None
        self._received = received
        self._header, self._value, self._disposition = b"", b"", b""
        self.is_whole = False
        callbacks: Any = {
            "on_header_field": self._field,
            "on_header_value": self._add_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._data,
            "on_end": self._end,
        }
        self.parser = MultipartParser(boundary, callbacks)

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header, self._value = b"", b""

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._disposition = b""
        if b"filename" not in options:
            field = options.get(b"name", b"").decode("utf-8", "replace")
            raise _bad(f"the field {field!r} is no file: give parameters in the query")
        if self.name is not None:
            raise _bad("it has more than one file: send one image at a time")
        self.name = options[b"filename"].decode("utf-8", "replace")

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._received.write(data[start:end])

    def _end(self) -> None:
        self.is_whole = True


async def _from_multipart(
    chunks: AsyncGenerator[bytes, None], received: ReceivedFile, boundary: bytes | None
) -> str:
    if not boundary:
        raise _bad("it has no boundary")
    form = _Form(received, boundary)
    try:
        async for chunk in chunks:
            form.parser.write(chunk)
    except ValueError as error:  # python_multipart's errors
        raise _bad(reason_of(error)[:200]) from error
    if form.name is None:
        raise Problem(400, "bad-multipart", "the multipart body holds no file: name one image")
    if not form.is_whole:
        raise _bad("it is cut short")
    return client_name(form.name)


def _bad(reason: str) -> Problem:
    return Problem(400, "bad-multipart", f"the multipart body is wrong: {reason}")


async def disconnected(request: Request) -> None:
    """Return when the client disconnects. Call it after the whole body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
