"""The web page and the page of the service's description: static files, which talk to /v1."""

from pathlib import Path
from typing import Any

import fastapi_swagger
from fastapi import FastAPI, Response
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

STATIC = Path(__file__).parent / "static"
SWAGGER = Path(fastapi_swagger.__file__).parent / "resources"
OWN_FILES = "script-src 'self'; img-src 'self' blob: data:; connect-src 'self'"
BASE = f"default-src 'none'; {OWN_FILES}; base-uri 'none'; form-action 'none'; "
PAGE_POLICY = f"{BASE}style-src 'self'; frame-ancestors 'none'"
DOCS_POLICY = f"{BASE}style-src 'self' 'unsafe-inline'; frame-ancestors 'none'"  # Swagger's styles


def add_page(app: FastAPI) -> None:
    """Add the page at /, with its files at /static."""

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def page() -> Response:
        return _page("index.html", PAGE_POLICY)

    app.mount("/static", _FreshFiles(directory=STATIC), "static")


def add_docs(app: FastAPI) -> None:
    """Add the description at /docs. Swagger's files come from a package, not from a CDN."""

    @app.api_route("/docs", methods=["GET", "HEAD"], include_in_schema=False)
    async def docs() -> Response:
        return _page("docs.html", DOCS_POLICY)

    @app.api_route("/docs.js", methods=["GET", "HEAD"], include_in_schema=False)
    async def script() -> Response:
        return FileResponse(STATIC / "docs.js", headers={"Cache-Control": "no-cache"})

    app.mount("/swagger", _FreshFiles(directory=SWAGGER), "swagger")


def _page(name: str, policy: str) -> Response:
    headers = {"Content-Security-Policy": policy, "Cache-Control": "no-cache"}
    return FileResponse(STATIC / name, headers=headers)


class _FreshFiles(StaticFiles):
    """Files that the browser may keep, but asks about each time: they change with srgan."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        """The response with a file."""
        response = super().file_response(*args, **options)
        response.headers["Cache-Control"] = "no-cache"
        return response
