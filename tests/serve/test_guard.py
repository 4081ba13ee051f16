"""Who may use the server: hosts, origins, tokens, proxies; and what its answers and log say."""

import io
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from skimage import data

from srgan.errors import OptionError
from srgan.serve.guard import Guesses
from srgan.serve.options import Access, Address
from srgan.serve.problems import Problem
from tests.support.server import TILE, Server, is_problem, running, wait_until

pytestmark = pytest.mark.xdist_group("serve")  # its fixtures are made once


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "log"


@pytest.fixture(scope="module")
def server(small_model: Path, log: Path) -> Iterator[Server]:
    options = ("-m", small_model, "-m", "srgan-x4", *TILE, "--allow-host", "pictures.example")
    behind = ("--root-path", "/sr", "--trusted-proxy", "127.0.0.1", "--log-format", "json")
    limits = ("--silent-seconds", 1)
    with (
        log.open("w") as file,
        running(*options, *behind, *limits, log=file) as server,
    ):
        yield server


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "10.9.8.7", ""])
def test_other_names_are_refused(server: Server, host: str) -> None:
    for path in ("/", "/v1/models", "/healthz"):
        assert is_problem(server.client.get(path, headers={"host": host}), 421, "wrong-host")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "[::1]:7860", "127.0.0.1", "pictures.example"]
)
def test_own_names_are_not(server: Server, host: str) -> None:
    assert server.client.get("/v1/models", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:1"},
        {"sec-fetch-site": "cross-site"},
    ],
)
def test_pages_of_other_sites_change_nothing(
    server: Server, photo: Path, headers: dict[str, str]
) -> None:
    job = server.post(photo.read_bytes(), "/v1/jobs").json()["id"]
    for method, path in (("POST", "/v1/upscale"), ("DELETE", f"/v1/jobs/{job}")):
        answer = server.client.request(method, path, headers=headers)
        assert is_problem(answer, 403, "foreign-origin")
    own = {"origin": str(server.client.base_url).rstrip("/"), "sec-fetch-site": "same-origin"}
    assert server.client.delete(f"/v1/jobs/{job}", headers=own).status_code == 204


def test_headers_of_all_answers(server: Server, photo: Path) -> None:
    for path in ("/", "/v1/models", "/v1/nothing", "/static/style.css", "/docs"):
        headers = server.client.get(path, headers={"x-request-id": "mine-1"}).headers
        assert headers["x-request-id"] == "mine-1"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "script-src 'unsafe" not in headers["content-security-policy"]
        assert "set-cookie" not in headers
    strange = server.client.get("/healthz", headers={"x-request-id": "a b\x7f"})
    assert len(strange.headers["x-request-id"]) == 16
    answer = server.post(photo.read_bytes())
    assert answer.headers["x-srgan-model"] == "small"
    assert answer.headers["content-disposition"].startswith("attachment")


def test_options_of_everything(server: Server) -> None:
    url = httpx.URL(server.url)
    with httpx.Client() as client:
        request = client.build_request("OPTIONS", url, extensions={"target": b"*"})
        assert client.send(request).status_code == 204


def test_behind_a_proxy(server: Server, photo: Path) -> None:
    """The proxy strips /sr. Links in answers have it, and clients are told apart."""
    forwarded = {"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https"}
    assert server.client.get("/v1/about").json()["here"] is True
    assert server.client.get("/v1/about", headers=forwarded).json()["here"] is False
    job = server.post(photo.read_bytes(), "/v1/jobs")
    assert job.headers["location"] == f"/sr/v1/jobs/{job.json()['id']}"
    assert server.client.get("/openapi.json").json()["servers"] == [{"url": "/sr"}]
    assert 'src="docs.js"' in server.client.get("/docs").text  # relative: the proxy's path stays


def test_the_log_has_a_line_for_each_request(server: Server, photo: Path, log: Path) -> None:
    path = "/v1/jobs"
    headers = {"x-request-id": "look-for-me", "x-forwarded-for": "203.0.113.7"}
    answer = server.client.post(path, content=photo.read_bytes(), headers=headers)
    server.client.get('/v1/nothing/%0A{"level":"x"}', headers={"x-request-id": "second"})
    wait_until(lambda: "second" in log.read_text())
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    (line,) = (line for line in lines if line.get("request") == "look-for-me")
    assert line["job"] == answer.json()["id"]
    assert (line["client"], line["status"], line["path"]) == ("203.0.113.7", 202, "/sr/v1/jobs")
    assert line["bytes"] == len(answer.content)
    assert line["seconds"] >= 0
    assert "look-for-me" not in json.dumps([each for each in lines if each is not line])


def test_a_silent_upload_is_dropped(server: Server) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"abc"
        time.sleep(3)

    try:
        answer: Any = server.client.post("/v1/upscale", content=chunks())
    except httpx.TransportError:  # the server closed the connection before the client read
        pass
    else:
        assert is_problem(answer, 408, "upload-too-slow")
    wait_until(lambda: server.figure("srgan_open_pictures") == 0)
    assert server.disk() == 0 or server.jobs()


@pytest.mark.parametrize("before", [b"", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"])
@pytest.mark.parametrize(
    "header", [b"", b"GET / HTTP/1.1\r\nX-A: b", b"GET / HTTP/1.1\r\nX-A: " * 9]
)
def test_headers_that_do_not_come_are_not_awaited(
    server: Server, before: bytes, header: bytes
) -> None:
    """Neither on a new connection, nor on one that has had an answer, nor where bytes drip."""
    address = httpx.URL(server.url)
    with socket.create_connection((address.host, address.port or 0), timeout=20) as connection:
        if before:
            connection.sendall(before)
            answer = b""
            while not answer.endswith(b'{"status":"ok"}'):
                answer += connection.recv(4096)
        connection.sendall(header[:30])
        connection.settimeout(0.3)
        for place in range(30, 100):
            try:
                assert connection.recv(1) == b""
            except TimeoutError:
                connection.sendall(header[place : place + 1])
            except ConnectionError:  # closed before the last byte came
                return
            else:
                return
    raise AssertionError("the server still waits")


def test_an_answer_may_take_longer(server: Server) -> None:
    """Than --silent-seconds: the request is there."""
    file = io.BytesIO()
    Image.fromarray(data.astronaut()[:64, :64]).save(file, "png")
    answer = server.post(file.getvalue(), model="srgan-x4", tta="true")
    assert answer.status_code == 200


def test_beyond_this_machine_without_a_token_is_refused() -> None:
    network = Address(host="0.0.0.0")
    with pytest.raises(OptionError, match="--open"):
        Access().check(network)
    Access(open=True).check(network)
    Access(token=("secret",)).check(network)
    Access().check(Address(host="::1"))


def test_guesses_are_slowed_down() -> None:
    guesses = Guesses()
    for _ in range(5):
        guesses.check("10.0.0.1")
        guesses.count("10.0.0.1")
    guesses.check("10.0.0.1")
    pauses: list[int] = []
    for _ in range(4):
        guesses.count("10.0.0.1")
        with pytest.raises(Problem, match="too many wrong tokens") as caught:
            guesses.check("10.0.0.1")
        pauses.append(int(caught.value.headers["Retry-After"]))
    assert pauses == [2, 4, 8, 16]
    guesses.check("10.0.0.2")
