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
    _add_file(app, "/", "index.html", PAGE_POLICY)
    app.mount("/static", _FreshFiles(directory=STATIC), "static")


def add_docs(app: FastAPI) -> None:
    """Add the description at /docs. Swagger's files come from a package, not from a CDN."""
    _add_file(app, "/docs", "docs.html", DOCS_POLICY)
    _add_file(app, "/docs.js", "docs.js", DOCS_POLICY)
    app.mount("/swagger", _FreshFiles(directory=SWAGGER), "swagger")


def _add_file(app: FastAPI, path: str, name: str, policy: str) -> None:
    headers = {"Content-Security-Policy": policy, "Cache-Control": "no-cache"}

    @app.api_route(path, methods=["GET", "HEAD"], include_in_schema=False)
    async def file() -> Response:
        return FileResponse(STATIC / name, headers=headers)


class _FreshFiles(StaticFiles):
    """Files that the browser may keep, but asks about each time: they change with srgan."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        """The response with a file."""
        response = super().file_response(*args, **options)
        response.headers["Cache-Control"] = "no-cache"
        return response
