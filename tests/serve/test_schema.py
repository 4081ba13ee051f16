"""Requests made up from the OpenAPI description, with true pictures among them."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from schemathesis import openapi
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.support.server import Server, running

pytestmark = pytest.mark.xdist_group("serve")  # its fixtures are made once


def _picture(size: tuple[int, int], format: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, "orange").save(file, format)
    return file.getvalue()


sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))
pictures = st.builds(_picture, sizes, st.sampled_from(["jpeg", "png", "webp", "gif", "bmp"]))
damaged = st.builds(lambda data, cut: data[:cut], pictures, st.integers(0, 400))
bodies = pictures | damaged | st.binary(max_size=200)
for media_type in ("application/octet-stream", "image/*"):
    openapi.media_type(media_type, bodies)


@pytest.fixture(scope="module")
def server(small_model: Path) -> Iterator[Server]:
    with running("--no-page", "-m", small_model) as server:
        yield server


@pytest.fixture(scope="module")
def description(server: Server) -> Any:
    return openapi.from_url(f"{server.url}/openapi.json")


OPERATIONS = (
    "POST /v1/upscale",
    "POST /v1/jobs",
    "POST /v1/jobs/{id}/again",
    "GET /v1/jobs",
    "GET /v1/jobs/{id}",
    "GET /v1/jobs/{id}/preview",
    "GET /v1/results.zip",
    "GET /v1/about",
    "GET /v1/jobs/{id}/result",
    "DELETE /v1/jobs/{id}",
    "GET /v1/models",
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
)


def test_no_operation_is_left_out(description: Any) -> None:
    described = {each.ok().label for each in description.get_all_operations()}
    assert described == set(OPERATIONS)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_answer_is_as_described(server: Server, description: Any, operation: str) -> None:
    """No 500, and status, type, headers and content are those of the description.

    That a body which fits the description is taken cannot be asked: it may be no picture.
    """
    method, path = operation.split()
    picture = _picture((20, 20), "png")

    @given(case=description[path][method].as_strategy(), is_there=st.booleans())
    @settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def check(case: Any, is_there: bool) -> None:
        if "{id}" in path and is_there:
            case.path_parameters["id"] = server.post(picture, "/v1/jobs").json()["id"]
        case.call_and_validate(excluded_checks=[positive_data_acceptance])

    check()
