"""What all routes share: doubtful parameters are refused, and HEAD is answered like GET."""

import difflib
from collections.abc import Callable, Collection
from typing import Any

from fastapi import FastAPI, Request

from srgan.serve.problems import wrong_parameter


async def refuse_doubtful_parameters(request: Request) -> None:
    """A dependency of all routes: no misspelt or second value shall be ignored in silence.

    It is async because FastAPI runs others in a thread.

    Raises:
        Problem: the query has a parameter that the route's description lacks, or repeats one that
            is no list. Routes without a description, such as the page, ignore parameters: links
            bring their own.
    """
    if not request.query_params:
        return
    method = request.method.lower().replace("head", "get")
    paths = request.app.openapi()["paths"]
    operation = paths.get(request.scope["route"].path, {}).get(method)
    if operation is None:
        return
    parameters = [each for each in operation.get("parameters", ()) if each["in"] == "query"]
    known = {each["name"]: each["schema"].get("type") == "array" for each in parameters}
    for name in request.query_params:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else _known(known)
            raise wrong_parameter(f"{name[:50]}: there is no such parameter: {hint}")
        if not known[name] and len(request.query_params.getlist(name)) > 1:
            raise wrong_parameter(f"{name}: it has several values: send one")


def _known(names: Collection[str]) -> str:
    return f"use {', '.join(sorted(names))}" if names else "this request has none"


def reading(app: FastAPI, path: str, **options: Any) -> Callable[..., Any]:
    """A decorator for a route that answers GET and HEAD; the description has it once."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        app.head(path, include_in_schema=False)(function)
        return app.get(path, **options)(function)

    return add
