"""Limits how much a client of the page may upload, and which files it may name.

gradio leaves both open. A page mounted in another application never counts as launched, and before
the launch gradio checks no paths. It would fetch files named by a URL. Its upload route limits the
size of a file, but not the number or the sum of files.
"""

import contextlib
import json
from pathlib import Path
from typing import Any, cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from srgan.serve.front import problem_response
from srgan.serve.options import Limits
from srgan.serve.problems import Problem, queue_full

FILES_AT_ONCE = 20
MESSAGE_BYTES = 1_000_000
UPLOAD_OVERHEAD = 100_000  # bytes of a multipart body beyond its files


class PageGuard:
    """ASGI middleware around the page."""

    def __init__(self, app: ASGIApp, folder: Path, limits: Limits) -> None:
        """folder: where gradio keeps uploads; a client may name only files in it."""
        self._app = app
        self._folder = folder
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["type"] == "http":
                receive = await self._checked(scope, receive)
        except Problem as problem:
            await problem_response(problem)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _checked(self, scope: Scope, receive: Receive) -> Receive:
        path = scope["path"]
        if "/file=http" in path or "/proxy=" in path:
            raise Problem(404, "http", "this server fetches nothing from others")
        if scope["method"] in ("GET", "HEAD", "OPTIONS"):
            return receive
        length = _content_length(scope)
        if path.rstrip("/").endswith("/upload"):
            if length > FILES_AT_ONCE * self._limits.max_bytes + UPLOAD_OVERHEAD:
                raise Problem(413, "too-many-bytes", "these are too many bytes at once")
            if _stored(self._folder) + length > self._limits.keep_bytes:
                raise queue_full(60)
            return receive
        if length > MESSAGE_BYTES:
            raise Problem(413, "too-many-bytes", "the message is too long")
        body = await _read(receive)
        self._check_paths(body)
        return _Replay(body, receive)

    def _check_paths(self, body: bytes) -> None:
        try:
            message = json.loads(body or b"null")
        except (ValueError, RecursionError):
            raise Problem(400, "bad-message", "the message is not JSON") from None
        for path in _paths_in(message):
            if "\0" in path or not Path(path).resolve().is_relative_to(self._folder.resolve()):
                raise Problem(400, "bad-path", "files have to be uploaded first")


class _Replay:
    """An ASGI receive function that gives a body that was read already, then continues."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


def _content_length(scope: Scope) -> int:
    length = dict(scope["headers"]).get(b"content-length", b"")
    if not length.isdigit():
        raise Problem(411, "length-required", "the header Content-Length is missing")
    return int(length)


async def _read(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


def _paths_in(message: Any) -> list[str]:
    """All values of a JSON message that gradio may take for a file's path, at any depth."""
    found: list[str] = []
    waiting: list[Any] = [message]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            members = cast(dict[str, Any], value)
            found += [str(members["path"])] if members.get("path") is not None else []
            waiting += members.values()
        elif isinstance(value, list):
            waiting += cast(list[Any], value)
    return found


def _stored(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(OSError):  # gone in the meantime
            total += file.stat().st_size
    return total
