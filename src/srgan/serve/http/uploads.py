"""Receives uploads, as body or multipart, into memory, with limits on bytes and time."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from srgan.serve.kitchen import client_name
from srgan.serve.options import Limits
from srgan.serve.problems import Problem, too_many_bytes, upload_too_slow

OVERHEAD = 10_000  # bytes of a multipart body beyond its picture
POLITE_SECONDS = 5  # for a client to finish sending a refused upload, so that it reads the reason


class _InMemory(MultiPartParser):
    """Starlette's parser without its temporary files: the stream has a limit already."""

    spool_max_size = 1 << 62


async def receive_picture(request: Request, limits: Limits) -> tuple[bytes, str]:
    """Receive an uploaded picture: its bytes, and the client's name for it.

    Raises:
        Problem: the upload is too large or too slow, or holds no picture.
        ClientDisconnect: the client disconnected.
    """
    kind = parse_options_header(request.headers.get("content-type", ""))[0]
    multipart = kind == b"multipart/form-data"
    most = limits.max_bytes + (OVERHEAD if multipart else 0)
    try:
        if int(request.headers.get("content-length", 0)) > most:
            await _let_finish(request)
            raise too_many_bytes(limits.max_bytes)
        async with asyncio.timeout(limits.upload_seconds):
            if multipart:
                return await _from_multipart(request, most, limits.max_bytes)
            chunks = [chunk async for chunk in _bounded(request, most, limits.max_bytes)]
            return b"".join(chunks), client_name(None)
    except TimeoutError:
        raise upload_too_slow(limits.upload_seconds) from None


async def _bounded(request: Request, most: int, limit: int) -> AsyncGenerator[bytes, None]:
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > most:
            await _let_finish(request)
            raise too_many_bytes(limit)
        yield chunk


async def _let_finish(request: Request) -> None:
    """Discard the rest of a body: many clients read no answer before they have sent everything.

    A client that asked before sending (curl) waits for the answer instead.
    """
    if request.headers.get("expect", "").lower() == "100-continue":
        return
    try:
        async with asyncio.timeout(POLITE_SECONDS):
            while (await request.receive()).get("more_body"):
                pass
    except TimeoutError:
        pass


async def _from_multipart(request: Request, most: int, limit: int) -> tuple[bytes, str]:
    stream: Any = _bounded(request, most, limit)
    parser = _InMemory(request.headers, stream, max_files=1, max_fields=10)
    try:
        form = await parser.parse()
    except (MultiPartException, LookupError, ValueError) as error:
        reason = getattr(error, "message", "it cannot be parsed")
        raise Problem(400, "bad-multipart", f"the multipart body is wrong: {reason}") from error
    for value in form.values():
        if isinstance(value, UploadFile):
            return await value.read(), client_name(value.filename)
    raise Problem(400, "bad-multipart", "the multipart body holds no file: add one, named image")


async def disconnected(request: Request) -> None:
    """Return when the client disconnects. Call it after the whole body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
