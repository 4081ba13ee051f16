"""The front of the server: checks tokens, and sends each request to the service or the page."""

import base64
import binascii
import secrets

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from srgan.serve.problems import MEDIA_TYPE, Problem

SERVICE = ("v1", "docs", "swagger", "openapi.json", "healthz", "readyz", "metrics")
OPEN = ("/healthz", "/readyz")  # load balancers send no token


def problem_response(problem: Problem) -> JSONResponse:
    """The HTTP response for a problem."""
    return JSONResponse(
        problem.document, problem.status, headers=problem.headers, media_type=MEDIA_TYPE
    )


class Front:
    """ASGI application that sends a request to the service or, if there is one, to the page.

    A mount in one application would answer unknown paths under /v1 with the page. The service
    answers them with a problem document.
    """

    def __init__(self, service: ASGIApp, page: ASGIApp | None) -> None:
        self._service = service
        self._page = page or service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":  # only the page has something to start
            await self._page(scope, receive, send)
            return
        first = scope["path"].split("/")[1]
        await (self._service if first in SERVICE else self._page)(scope, receive, send)


class RequireToken:
    """ASGI middleware: requests must bring the token, as bearer token or as browser password."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"] in OPEN or self._allows(scope):
            await self._app(scope, receive, send)
            return
        problem = Problem(401, "unauthorized", "the token is missing or wrong")
        # Basic makes browsers ask for a password; /v1 is not for browsers.
        is_service = scope["path"].startswith("/v1/")
        scheme = "Bearer" if is_service else 'Basic realm="srgan: the token is the password"'
        problem.headers["WWW-Authenticate"] = scheme
        await problem_response(problem)(scope, receive, send)

    def _allows(self, scope: Scope) -> bool:
        given = dict(scope["headers"]).get(b"authorization", b"")
        scheme, _, secret = given.partition(b" ")
        if scheme.lower() == b"basic":
            try:
                secret = base64.b64decode(secret, validate=True).partition(b":")[2]
            except binascii.Error:
                return False
        elif scheme.lower() != b"bearer":
            return False
        return secrets.compare_digest(secret, self._token)
