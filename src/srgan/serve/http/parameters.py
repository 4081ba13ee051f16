"""The parameters of an order in a request's query, and the refusal of unknown ones."""

import difflib
from collections.abc import Callable
from enum import Enum
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request

from srgan.pictures.images import FORMATS, output_format
from srgan.pictures.options import MAX_SCALE
from srgan.serve.kitchen import Kitchen, client_name
from srgan.serve.orders import Order
from srgan.serve.problems import wrong_parameter

LONGEST_SIDE = 1_000_000  # pixels, beyond any format's
SHORT_FORMATS = ("jpg", "tif")  # other names of formats, as in `srgan upscale --format`


def refuse_unknown_parameters(request: Request) -> None:
    """A dependency of all routes: a misspelt parameter shall not be ignored in silence.

    Raises:
        Problem: the query has a parameter that the route's description lacks.
    """
    if not request.query_params:
        return
    method = request.method.lower().replace("head", "get")
    operation = request.app.openapi()["paths"][request.scope["route"].path][method]
    known = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"}
    for name in request.query_params:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else _known(known)
            raise wrong_parameter(f"{name[:50]}: there is no such parameter: {hint}")


def _known(names: set[str]) -> str:
    return f"use {', '.join(sorted(names))}" if names else "this request has none"


def order_parameters(kitchen: Kitchen) -> Callable[..., Order]:
    """A FastAPI dependency that makes an Order of the query's parameters."""
    models: Any = Enum("Model", {name: name for name in kitchen.models.names})
    formats: Any = Enum("Format", {name: name for name in (*FORMATS, *SHORT_FORMATS)})

    def order(
        model: Any = models[kitchen.models.default],
        detail: Annotated[
            float | None,
            Query(ge=0, le=1, description="Faithful to vivid, for models that have `detail`"),
        ] = None,
        scale: Annotated[
            float | None,
            Query(
                ge=1,
                le=MAX_SCALE,
                description="Result pixels per pixel; by default the model's",
                examples=[4],
            ),
        ] = None,
        width: Annotated[
            int | None, Query(ge=1, le=LONGEST_SIDE, description="Of the result")
        ] = None,
        height: Annotated[
            int | None,
            Query(ge=1, le=LONGEST_SIDE, description="Of the result, which fits both sides"),
        ] = None,
        format: Any = None,
        quality: Annotated[int | None, Query(ge=1, le=100, description="For lossy formats")] = None,
        tta: Annotated[
            bool, Query(description="Average over 8 flips and rotations: 8 times slower")
        ] = False,
        name: Annotated[
            str | None, Query(max_length=500, description="Of the picture; a form brings its own")
        ] = None,
    ) -> Order:
        order = Order(
            model.value,
            detail,
            scale,
            width,
            height,
            output_format(format.value) if format else None,
            quality,
            tta,
            client_name(name),
        )
        kitchen.check(order)
        return order

    # FastAPI reads types from here. This server's models are types that no annotation can name.
    order.__annotations__ |= {
        "model": Annotated[models, Query(description="One of GET /v1/models")],
        "format": Annotated[
            formats | None, Query(description="Of the result; by default the picture's own")
        ],
    }
    return order


def reading(app: FastAPI, path: str, **options: Any) -> Callable[..., Any]:
    """A decorator for a route that answers GET and HEAD; the description has it once."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        app.head(path, include_in_schema=False)(function)
        return app.get(path, **options)(function)

    return add
