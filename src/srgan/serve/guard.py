"""Guards the service from other sites' pages, from strangers, and from guesses at its token.

A page of another site could send requests to a server on its visitor's machine: by its address
(Origin tells), or by a name of its own that leads there (the Host header tells).
"""

import base64
import secrets
import time
from collections import OrderedDict

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from srgan.serve.clients import address_of, host_name, route_path
from srgan.serve.options import LOOPBACK_NAMES, Access
from srgan.serve.problems import Problem

OPEN = ("/healthz", "/readyz")  # load balancers send no token
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
FREE_GUESSES = 5
LONGEST_PAUSE = 300  # seconds
MOST_ADDRESSES = 10_000  # whose guesses are remembered
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Guard:
    """ASGI middleware before everything else of the service and the page."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._names = {*LOOPBACK_NAMES, *(host_name(name) for name in access.allow_host)}
        self._tokens = [token.encode() for token in access.token]
        self._guesses = Guesses()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._check_host(scope)
            self._check_origin(scope)
            if self._tokens and route_path(scope) not in OPEN:
                self._check_token(scope)
        except Problem as problem:
            await problem.response(scope, receive, with_headers)
        else:
            await self._app(scope, receive, with_headers)

    def _check_host(self, scope: Scope) -> None:
        name = host_name(Headers(scope=scope).get("host", ""))
        if name not in self._names and name != (scope.get("server") or ("",))[0]:
            detail = f"this server is not {name[:100]!r}: start it with --allow-host NAME"
            raise Problem(421, "wrong-host", detail)

    def _check_origin(self, scope: Scope) -> None:
        if scope["method"] in SAFE_METHODS:
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        foreign = origin and origin.rpartition("//")[2].lower() != headers.get("host", "").lower()
        if foreign or headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            raise Problem(403, "foreign-origin", "pages of other sites may not use this server")

    def _check_token(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        given = _secret(headers.get("authorization", ""))
        address = address_of(scope)
        if given is not None:
            self._guesses.check(address)
            # All are compared, so that the time tells nothing.
            found = [secrets.compare_digest(given, token) for token in self._tokens]
            if any(found):
                self._guesses.forget(address)
                if len(found) > 1:
                    scope["srgan_client"] = f"token {found.index(True) + 1}"
                return
            self._guesses.count(address)
        problem = Problem(401, "unauthorized", "the token is missing or wrong")
        # Basic makes browsers ask for a password; programs use /v1.
        is_page = headers.get("sec-fetch-mode") == "navigate"
        is_page |= not route_path(scope).startswith("/v1/")
        scheme = 'Basic realm="srgan: the token is the password"' if is_page else "Bearer"
        problem.headers["WWW-Authenticate"] = scheme
        raise problem


class Guesses:
    """Counts wrong tokens by address: from the sixth on, each doubles the pause before the next."""

    def __init__(self) -> None:
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()  # number, end of pause

    def check(self, address: str) -> None:
        """Raise Problem if the address is in a pause."""
        _, end = self._wrong.get(address, (0, 0.0))
        left = end - time.monotonic()
        if left > 0:
            detail = "too many wrong tokens came from your address"
            raise Problem(429, "too-many-guesses", detail, int(left) + 1)

    def count(self, address: str) -> None:
        """Count a wrong token."""
        number = self._wrong.pop(address, (0, 0.0))[0] + 1
        pause = min(2.0 ** (number - FREE_GUESSES), LONGEST_PAUSE) if number > FREE_GUESSES else 0
        self._wrong[address] = number, time.monotonic() + pause
        if len(self._wrong) > MOST_ADDRESSES:
            self._wrong.popitem(last=False)

    def forget(self, address: str) -> None:
        """The right token has come from the address."""
        self._wrong.pop(address, None)


def _secret(authorization: str) -> bytes | None:
    """The token of an Authorization header; None without one."""
    scheme, _, secret = authorization.partition(" ")
    if not scheme:
        return None
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(secret, validate=True).partition(b":")[2]
        except ValueError:
            return b""
    return secret.encode() if scheme.lower() == "bearer" else b""
