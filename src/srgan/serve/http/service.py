"""The HTTP service as an application: /v1, its description, health and metrics."""

from importlib.metadata import version

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from srgan.serve.http.metrics import Metrics
from srgan.serve.http.parameters import reading, refuse_doubtful_parameters
from srgan.serve.http.routes import CLIENT_CLOSED_REQUEST, add_routes
from srgan.serve.http.schema import problem_responses
from srgan.serve.kitchen import Kitchen
from srgan.serve.options import Limits
from srgan.serve.problems import Problem, draining, internal_error, wrong_parameter
from srgan.serve.queue import JobQueue

DESCRIPTION = """\
Upscales photographs. Send one, get it back larger:

    curl --data-binary @photo.jpg -o photo_x4.jpg http://127.0.0.1:7860/v1/upscale

Errors are problem details (RFC 9457). A busy server answers 429; the header Retry-After says when
to try again.
"""


def make_service(
    kitchen: Kitchen, queue: JobQueue, limits: Limits, metrics: Metrics, *, secured: bool
) -> FastAPI:
    """Make the application.

    Args:
        secured: requests need a token, which `Guard` checks before they arrive here.
    """
    token = [Depends(HTTPBearer(auto_error=False))] if secured else []
    app = FastAPI(
        title="srgan",
        version=version("srgan"),
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        dependencies=[Depends(refuse_doubtful_parameters), *token],
    )
    _answer_with_problems(app)
    add_routes(app, kitchen, queue, limits)
    _add_health(app, queue, metrics)
    return app


def _add_health(app: FastAPI, queue: JobQueue, metrics: Metrics) -> None:
    @reading(app, "/healthz", summary="Whether the server is running")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @reading(
        app, "/readyz", summary="Whether it accepts pictures", responses=problem_responses(503)
    )
    async def readyz() -> dict[str, str]:
        if queue.draining:
            raise draining()
        return {"status": "ready"}

    @reading(
        app,
        "/metrics",
        summary="Metrics for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
        | problem_responses(401),
    )
    async def render_metrics() -> Response:
        return Response(metrics.render(), media_type=CONTENT_TYPE_LATEST)


def _answer_with_problems(app: FastAPI) -> None:
    @app.exception_handler(Problem)
    async def problem(_: Request, error: Problem) -> JSONResponse:
        return error.response

    @app.exception_handler(RequestValidationError)
    async def wrong_parameters(_: Request, error: RequestValidationError) -> JSONResponse:
        reasons = (
            f"{'.'.join(map(str, each['loc'][1:]))}: {each['msg']}" for each in error.errors()
        )
        return wrong_parameter("; ".join(reasons)).response

    @app.exception_handler(HTTPException)
    async def no_such_route(_: Request, error: HTTPException) -> JSONResponse:
        problem = Problem(error.status_code, "http", str(error.detail))
        problem.headers |= error.headers or {}
        return problem.response

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> Response:
        return Response(status_code=CLIENT_CLOSED_REQUEST)

    @app.exception_handler(Exception)
    async def failed(_: Request, __: Exception) -> JSONResponse:  # the server logs it
        return internal_error().response
