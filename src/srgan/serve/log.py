"""One line for each request, a request id in each answer, and the requests' metrics."""

import json
import logging
import re
import secrets
import sys
import time
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from srgan.serve.clients import client_of, route_path
from srgan.serve.http.metrics import Metrics

REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")

log = logging.getLogger("srgan.serve")


class LogRequests:
    """ASGI middleware around everything: it sees the answers as clients do."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        given = Headers(scope=scope).get("x-request-id", "")
        name = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        seen: dict[str, Any] = {"status": 499, "bytes": 0}

        async def note(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen["status"] = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = name
            seen["bytes"] += len(message.get("body", b""))
            await send(message)

        try:
            if route_path(scope) == "*":  # OPTIONS *
                await Response(status_code=204)(scope, receive, note)
            else:
                await self._app(scope, receive, note)
        finally:
            self._end(scope, name, seen, time.perf_counter() - started)

    def _end(self, scope: Scope, name: str, seen: dict[str, Any], seconds: float) -> None:
        # The route, not the path: clients can request endlessly many paths.
        route = getattr(scope.get("route"), "path", "other")
        self._metrics.requests.labels(route, seen["status"]).inc()
        state: dict[str, Any] = scope.get("state") or {}
        parameters: dict[str, Any] = scope.get("path_params") or {}
        facts: dict[str, Any] = {
            "request": name,
            "client": client_of(scope),
            "method": scope["method"],
            "path": scope["path"],
            **seen,
            "seconds": round(seconds, 3),
            "job": state.get("job") or parameters.get("id"),
        }
        log.info("request", extra={"facts": facts})


class LogFormat(logging.Formatter):
    """The log's lines, as text or JSON. `facts` of a record become its columns or members."""

    def __init__(self, style: str) -> None:
        super().__init__("%(asctime)s %(message)s", "%H:%M:%S")
        self._json = style == "json"

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        facts: dict[str, Any] = getattr(record, "facts", {})
        facts = {key: value for key, value in facts.items() if value is not None}
        if self._json:
            moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
            about = {"time": moment, "level": record.levelname.lower()}
            about["event"] = record.getMessage()
            if record.exc_info:
                about["error"] = self.formatException(record.exc_info)
            return json.dumps(about | facts)
        line = super().format(record)
        # Paths come from clients: nothing in them may look like another line.
        shown = (f"{key}={json.dumps(v) if isinstance(v, str) else v}" for key, v in facts.items())
        return " ".join([line, *shown])


def start_log(style: str) -> None:
    """Write srgan's log to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogFormat(style))
    logging.basicConfig(handlers=[handler])
    logging.getLogger("srgan").setLevel(logging.INFO)
