"""The service under /v1 as its clients meet it: a real server, real pictures, hostile ones too."""

import asyncio
import io
import signal
import socket
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from skimage import data

from srgan.serve.options import Address
from srgan.serve.run import listen
from srgan.upscaling.options import DEFAULT_MODEL
from tests.support.command import Command
from tests.support.server import START, TILE, Server, is_problem, running, wait_until

pytestmark = pytest.mark.xdist_group("serve")  # its fixtures are made once

HOST = "Host: localhost\r\n"
SLOW = "srresnet-x4"  # the small model of most tests is done before anybody could cancel it


@pytest.fixture(scope="module")
def server(small_model: Path) -> Iterator[Server]:
    limits = {
        "max-bytes": 4_000_000,
        "max-pixels": 1_100_000,
        "upload-seconds": 2,
        "queue": 3,
    }
    models = ("--no-page", "-m", small_model, "-m", SLOW, "-m", "srgan-x4")
    options = [part for name, value in limits.items() for part in (f"--{name}", value)]
    with running(*models, *TILE, *options) as server:
        yield server


def encoded(pixels: np.ndarray, format: str = "png", **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def big() -> bytes:
    """Many seconds of work."""
    return encoded(data.astronaut().repeat(2, 0).repeat(2, 1))


# -- What it makes --------------------------------------------------------------------------------


def cases() -> dict[str, tuple[bytes, str, list[str]]]:
    photo = data.astronaut()[40:136, 150:270]
    deep = data.astronaut()[40:136, 150:270, 0].astype(np.uint16) * 257
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"  # turned by 90 degrees
    alpha = np.dstack([photo, photo[..., 0]])
    return {
        "photo.jpg": (encoded(photo, "jpeg", quality=95, exif=exif, dpi=(300, 300)), "", []),
        "deep.png": (encoded(deep), "", []),
        "alpha.webp": (encoded(alpha, "webp", lossless=True), "", []),
        "frames.gif": (encoded(photo[..., 0], "gif"), "", []),
        "small.bmp": (
            encoded(photo, "bmp"),
            "?scale=2.5&format=tif",
            ["--scale", "2.5", "--format", "tiff"],
        ),
        "fixed.webp": (
            encoded(photo[:20, :30], "webp"),
            "?width=90&height=900&quality=60&tta=true",
            ["--width", "90", "--height", "900", "--quality", "60", "--tta"],
        ),
        "mixed.png": (
            encoded(photo[:20, :30]),
            "?model=srgan-x4&detail=0.3",
            ["--detail", "0.3"],
        ),
    }


@pytest.mark.parametrize("name", cases())
def test_the_result_is_that_of_the_command_byte_for_byte(
    server: Server, srgan: Command, small_model: Path, tmp_path: Path, name: str
) -> None:
    picture, query, options = cases()[name]
    (tmp_path / name).write_bytes(picture)
    model = "srgan-x4" if "srgan-x4" in query else str(small_model)
    options += ["-o", "out/", "-m", model, *map(str, TILE)]
    assert srgan("upscale", name, *options).returncode == 0
    (expected,) = (tmp_path / "out").iterdir()

    answer = server.client.post(f"/v1/upscale{query}", content=picture)
    assert answer.status_code == 200
    assert answer.content == expected.read_bytes()
    kind = {".jpg": "jpeg", ".tif": "tiff"}.get(expected.suffix, expected.suffix[1:])
    assert answer.headers["content-type"] == f"image/{kind}"
    assert answer.headers["server-timing"].startswith("queue;dur=")

    form = server.client.post(f"/v1/upscale{query}", files={"image": (name, picture)})
    assert form.content == answer.content
    tag = {"small": "x2.5", "fixed": "w90h900"}.get(Path(name).stem, "x4")
    stem = Path(name).stem
    disposition = f'attachment; filename="{stem}_{tag}{expected.suffix}"'
    assert form.headers["content-disposition"] == disposition
    wait_until(lambda: server.results() == [])


def test_a_job_from_its_beginning_to_its_end(server: Server, photo: Path) -> None:
    answer = server.post(photo.read_bytes(), "/v1/jobs", format="webp")
    assert answer.status_code == 202
    assert answer.json()["status"] in ("queued", "running")
    location = answer.headers["location"]
    wait_until(lambda: server.client.get(location).json()["status"] == "done")
    status = server.client.get(location).json()
    assert status["progress"] == 1
    assert status["size"] == {"width": 480, "height": 384}
    result = server.client.get(f"{location}/result")
    assert result.headers["content-type"] == "image/webp"
    assert len(result.content) == status["bytes"]
    assert server.post(photo.read_bytes(), format="webp").content == result.content
    assert server.client.delete(location).status_code == 204
    assert is_problem(server.client.get(location), 404, "no-such-job")
    wait_until(lambda: server.results() == [])


def test_the_same_request_twice_is_one_job(server: Server, photo: Path) -> None:
    def post(key: str, path: str = "/v1/jobs", **parameters: str) -> httpx.Response:
        headers = {"idempotency-key": key}
        data = photo.read_bytes()
        return server.client.post(path, content=data, params=parameters, headers=headers)

    first, second, third = post("a"), post("a"), post("b")
    assert first.json()["id"] == second.json()["id"] != third.json()["id"]
    assert is_problem(post("a", scale="2"), 422, "idempotency-key-used")
    result = post("c", "/v1/upscale")
    again = post("c", "/v1/upscale")
    assert again.content == result.content
    assert server.figure('srgan_pictures_total{outcome="done"}') >= 1
    for answer in (first, third, post("c")):
        server.client.delete(answer.headers["location"])


def test_results_in_parts_as_previews_and_in_a_zip(server: Server, photo: Path) -> None:
    job = server.post(photo.read_bytes(), "/v1/jobs", format="tif", name="a/photo.jpg")
    path = job.headers["location"]
    (status,) = server.wait_for(path)
    assert (status["picture"], status["name"]) == ("photo.jpg", "photo_x4.tif")
    whole = server.client.get(f"{path}/result")
    head = server.client.head(f"{path}/result")
    assert head.status_code == 200
    assert head.headers["content-length"] == str(len(whole.content))
    assert not head.content
    part = server.client.get(f"{path}/result", headers={"range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole.content[100:200])

    sizes = {"thumbnail": (120, 96), "original": (120, 96), "bicubic": (480, 384)}
    for kind, size in (sizes | {"result": (480, 384)}).items():
        preview = server.client.get(f"{path}/preview?of={kind}")
        assert preview.headers["content-type"] == "image/jpeg"
        assert Image.open(io.BytesIO(preview.content)).size == size

    again = server.client.post(f"{path}/again", params={"scale": 2})
    (smaller,) = server.wait_for(again.headers["location"])
    assert smaller["size"] == {"width": 240, "height": 192}
    assert smaller["name"] == "photo_x2.jpg"
    third = server.client.post(f"{path}/again", params={"format": "tiff"}).json()["id"]
    server.wait_for(f"/v1/jobs/{third}")
    ids = [status["id"], smaller["id"], third]
    both = server.client.get("/v1/jobs", params={"id": [*ids, "unknown"]}).json()
    assert [each["id"] for each in both] == ids
    archive = server.client.get("/v1/results.zip", params={"id": ids})
    with zipfile.ZipFile(io.BytesIO(archive.content)) as file:
        assert file.namelist() == ["photo_x4.tif", "photo_x2.jpg", "photo_x4 (2).tif"]
        assert file.read("photo_x4.tif") == whole.content
    assert is_problem(server.client.get("/v1/results.zip?id=unknown"), 404, "no-such-job")
    for each in ids:
        server.client.delete(f"/v1/jobs/{each}")


def test_a_long_job_tells_its_progress_and_is_cancelled(server: Server, big: bytes) -> None:
    cancelled = 'srgan_pictures_total{outcome="cancelled"}'
    before = server.figure(cancelled)
    location = server.post(big, "/v1/jobs", model=SLOW).headers["location"]
    waiting = server.post(big, "/v1/jobs", model=SLOW)
    assert waiting.json()["position"] == 1
    fractions: list[float] = []

    def is_moving() -> bool:
        status = server.client.get(location).json()
        fractions.append(status["progress"])
        return 0 < status["progress"] < 1 and status["seconds_left"] > 0

    wait_until(is_moving)
    assert fractions == sorted(fractions)
    assert is_problem(server.client.get(f"{location}/result"), 409, "not-finished")
    for path in (location, waiting.headers["location"]):
        assert server.client.delete(path).status_code == 204
    assert server.figure("srgan_open_pictures") == 0
    assert server.figure(cancelled) == before + 2
    wait_until(lambda: server.results() == [])


def test_a_client_that_goes_away_frees_its_slot(server: Server, big: bytes) -> None:
    before = server.figure('srgan_pictures_total{outcome="cancelled"}')
    address = httpx.URL(server.url)
    with socket.create_connection((address.host, address.port or 0)) as connection:
        head = f"POST /v1/upscale?model={SLOW} HTTP/1.1\r\n{HOST}Content-Length: {len(big)}"
        connection.sendall(head.encode() + b"\r\n\r\n" + big)
        wait_until(lambda: server.figure("srgan_open_pictures") == 1)
    wait_until(lambda: server.figure("srgan_open_pictures") == 0)
    assert server.figure('srgan_pictures_total{outcome="cancelled"}') == before + 1


def test_beyond_the_queue_requests_are_refused(server: Server, big: bytes, photo: Path) -> None:
    answers = [server.post(big, "/v1/jobs", model=SLOW) for _ in range(3)]
    refused = server.post(photo.read_bytes())
    assert is_problem(refused, 429, "queue-full")
    assert int(refused.headers["retry-after"]) >= 1
    for answer in answers:
        server.client.delete(answer.headers["location"])
    assert server.post(photo.read_bytes()).status_code == 200


# -- Hostile uploads ------------------------------------------------------------------------------


def png(width: int, height: int, pixels: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (chunk(b"IHDR", header), chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    )


def svg(_: bytes) -> bytes:
    return (
        b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
        b'<svg xmlns="http://www.w3.org/2000/svg"><image href="http://127.0.0.1/x.png"/>&x;</svg>'
    )


HOSTILE: dict[str, tuple[Callable[[bytes], bytes], int, str]] = {
    "bomb": (
        lambda _: png(15_000, 15_000, zlib.compress(bytes(225_015_000), 9)),
        413,
        "too-many-pixels",
    ),
    "header only": (lambda _: png(2**31 - 1, 2**31 - 1, b""), 422, "damaged-picture"),
    "more pixels than said": (lambda _: png(100, 100, zlib.compress(bytes(10**8))), 200, ""),
    "polyglot of PDF and JPEG": (lambda jpeg: b"%PDF-1.4\n" + jpeg, 415, "unknown-format"),
    "polyglot of HTML and GIF": (
        lambda _: b"GIF89a=1;<script>alert(1)</script>",
        422,
        "damaged-picture",
    ),
    "SVG": (svg, 415, "unknown-format"),
    "100 MB of zeros": (lambda _: bytes(100_000_000), 413, "too-many-bytes"),
    "zeros": (lambda _: bytes(1_000_000), 415, "unknown-format"),
    "nothing": (lambda _: b"", 415, "unknown-format"),
    "truncated": (lambda jpeg: jpeg[: len(jpeg) // 2], 422, "damaged-picture"),
    "text": (lambda _: b"no picture at all", 415, "unknown-format"),
    "heic": (lambda _: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100), 415, "unknown-format"),
    "vips script": (lambda _: b"/etc/passwd[page=1]", 415, "unknown-format"),
}


AS_FORM = ("bomb", "SVG", "100 MB of zeros", "nothing", "truncated")


@pytest.mark.parametrize(
    ("name", "multipart"),
    [*((name, False) for name in HOSTILE), *((name, True) for name in AS_FORM)],
)
def test_hostile_uploads(server: Server, photo: Path, name: str, multipart: bool) -> None:
    make, status, kind = HOSTILE[name]
    upload = make(photo.read_bytes())
    server.post(photo.read_bytes())
    memory = server.memory()
    if multipart:
        answer = server.client.post("/v1/upscale", files={"image": ("photo.jpg", upload)})
    else:
        answer = server.client.post(
            "/v1/upscale", content=upload, headers={"content-type": "image/jpeg"}
        )
    if status == 200:  # what is more than the header says is left alone
        assert answer.status_code == 200
    else:
        assert is_problem(answer, status, kind)
        assert "max-pixels" not in answer.text  # a hint for those who run the server
    assert server.memory() - memory < 100_000_000
    wait_until(lambda: server.disk() == 0)
    assert server.post(photo.read_bytes()).status_code == 200


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "..\\..\\x.jpg",
        "/etc/cron.d/x.jpg",
        "a\0b.jpg",
        "x\r\nSet-Cookie: a=b.jpg",
        "." * 500,
        "",
        "ä/ö漢.jpg",
    ],
)
def test_names_are_no_paths(server: Server, photo: Path, name: str) -> None:
    outside = set(server.folder.parent.iterdir()), set(Path.cwd().iterdir())
    body = (
        b'--b\r\nContent-Disposition: form-data; name="image"; filename="'
        + name.encode()
        + b'"\r\n\r\n'
        + photo.read_bytes()
        + b"\r\n--b--\r\n"
    )
    answer = server.client.post(
        "/v1/upscale", content=body, headers={"content-type": "multipart/form-data; boundary=b"}
    )
    assert answer.status_code in (200, 400)
    assert "set-cookie" not in answer.headers
    if answer.status_code == 200:
        shown = answer.headers["content-disposition"]
        assert ".." not in shown
        assert "/" not in shown
        assert "%2F" not in shown
    wait_until(lambda: server.results() == [])
    assert (set(server.folder.parent.iterdir()), set(Path.cwd().iterdir())) == outside


def test_a_body_that_never_ends_is_given_up(server: Server) -> None:
    address = httpx.URL(server.url)
    with socket.create_connection((address.host, address.port or 0)) as connection:
        connection.sendall(
            b"POST /v1/upscale HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc"
        )
        wait_until(lambda: server.figure("srgan_open_pictures") == 1)
        assert connection.recv(1000).startswith(b"HTTP/1.1 408 ")
    wait_until(lambda: server.figure("srgan_open_pictures") == 0)


def test_a_body_of_unknown_length_is_bounded(server: Server) -> None:
    answer = server.client.post("/v1/upscale", content=(bytes(100_000) for _ in range(100)))
    assert is_problem(answer, 413, "too-many-bytes")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"no boundary"),
        ("multipart/form-data; boundary=b", b"--b\r\n"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n--b--\r\n',
        ),
        (
            "multipart/form-data; boundary=b",
            2 * b'--b\r\nContent-Disposition: form-data; name="x"; filename="x"\r\n\r\n1\r\n'
            + b"--b--\r\n",
        ),
        (
            "multipart/form-data; boundary=b; charset=hex",
            b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n--b--\r\n',
        ),
    ],
)
def test_wrong_multipart(server: Server, content_type: str, body: bytes) -> None:
    answer = server.client.post("/v1/upscale", content=body, headers={"content-type": content_type})
    assert is_problem(answer, 400, "bad-multipart")


@pytest.mark.parametrize(
    "query",
    [
        *("model=/etc/passwd", "model=../small", "scale=9", "scale=0.5", "scale=nan", "format=svg"),
        *("detail=0.5", "detail=2&model=srgan-x4", "quality=0", "width=0", "tta=perhaps"),
        *("scale=2&width=100", "qualty=3", "Scale=2", "scale=2&scale=3", "tta=1&tta=1"),
    ],
)
def test_wrong_parameters(server: Server, photo: Path, query: str) -> None:
    answer = server.client.post(f"/v1/upscale?{query}", content=photo.read_bytes())
    assert is_problem(answer, 422, "wrong-parameter")
    assert query.partition("=")[0] in answer.json()["detail"]
    if query == "qualty=3":
        assert "did you mean quality?" in answer.json()["detail"]


def test_a_size_out_of_reach(server: Server, photo: Path) -> None:
    for path in ("/v1/upscale", "/v1/jobs"):
        answer = server.client.post(f"{path}?width=30000", content=photo.read_bytes())
        assert is_problem(answer, 422, "wrong-parameter")
        assert answer.json()["detail"].endswith("at most 8: ask for a smaller width or height")


def test_a_format_that_cannot_hold_the_result(server: Server) -> None:
    strip = encoded(np.zeros((8, 5000, 3), np.uint8))
    answer = server.post(strip, format="webp")
    assert is_problem(answer, 422, "format-too-small")


def test_it_chooses_the_model_as_the_command_does(srgan: Command, tmp_path: Path) -> None:
    photo = data.astronaut()[40:136, 150:270]
    pictures = {
        DEFAULT_MODEL: encoded(photo),
        "srgan-blurry-x4": encoded(photo, "jpeg", quality=40),
    }
    with running("--no-page", *TILE) as server:
        for model, picture in pictures.items():
            name = f"photo.{'png' if model == DEFAULT_MODEL else 'jpg'}"
            (tmp_path / name).write_bytes(picture)
            assert srgan("upscale", name, "-o", "out/", *map(str, TILE)).returncode == 0
            job = server.post(picture, "/v1/jobs").headers["location"]
            wait_until(lambda job=job: server.client.get(job).json()["status"] == "done")
            assert server.client.get(job).json()["model"] == model
            result = server.client.get(f"{job}/result").content
            assert result == (tmp_path / "out" / name).read_bytes()
            assert server.post(picture, model=model).content == result


# -- The server itself ----------------------------------------------------------------------------


def test_answers_are_not_held_back_by_nagle() -> None:
    async def nodelay() -> int:
        def note(_: object, writer: asyncio.StreamWriter) -> None:
            connection = writer.get_extra_info("socket")
            seen.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        seen = asyncio.get_running_loop().create_future()
        with listen(Address(port=0)) as listener:
            async with await asyncio.start_server(note, sock=listener):
                _, writer = await asyncio.open_connection(*listener.getsockname())
                try:
                    return await seen
                finally:
                    writer.close()

    assert asyncio.run(nodelay())


def test_what_else_it_answers(server: Server) -> None:
    models = server.client.get("/v1/models").json()
    assert [(m["name"], m["default"], m["scale"], m["detail"]) for m in models] == [
        ("small", True, 4, None),
        (SLOW, False, 4, None),
        ("srgan-x4", False, 4, 0.95),
    ]
    assert server.client.get("/healthz").json() == {"status": "ok"}
    assert server.client.get("/readyz").status_code == 200
    assert is_problem(server.client.get("/v1/nothing"), 404, "http")
    wrong_method = server.client.get("/v1/upscale")
    assert is_problem(wrong_method, 405, "http")
    assert wrong_method.headers["allow"] == "POST"
    assert server.client.get("/").status_code == 404  # --no-page
    assert server.client.get("/docs?utm_source=mail").status_code == 200
    docs = server.client.get("/docs").text
    assert "swagger" in docs
    assert "https://" not in docs  # nothing is loaded from elsewhere


def test_sigterm_finishes_what_clients_wait_for(small_model: Path) -> None:
    picture = encoded(data.astronaut())
    with running("--no-page", "-m", small_model, *TILE, "--drain-seconds", 100) as server:
        address = httpx.URL(server.url)
        with socket.create_connection((address.host, address.port or 0)) as waiting:
            head = f"POST /v1/upscale HTTP/1.1\r\n{HOST}Content-Length: {len(picture)}\r\n\r\n"
            waiting.sendall(head.encode() + picture)
            wait_until(lambda: server.figure("srgan_open_pictures") == 1)
            server.post(picture, "/v1/jobs")  # nobody waits for it: it is kept for the next start
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: server.client.get("/readyz").status_code == 503)
            assert is_problem(server.post(picture), 503, "draining")
            assert waiting.recv(12) == b"HTTP/1.1 200"
        assert server.process.wait(60) == 128 + signal.SIGTERM
        assert list(server.folder.iterdir()) == []


def test_ctrl_c_stops_at_once(big: bytes) -> None:
    with running("--no-page", "-m", SLOW, *TILE) as server:
        server.post(big, "/v1/jobs")
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(30) == 130
        assert list(server.folder.iterdir()) == []


def test_a_token_is_asked_for(small_model: Path, photo: Path) -> None:
    with running("--no-page", "-m", small_model, token="s3cret") as server:
        refused = server.post(photo.read_bytes())
        assert is_problem(refused, 401, "unauthorized")
        assert refused.headers["www-authenticate"] == "Bearer"
        for wrong in ("Bearer s3cre", "Bearer", "s3cret", "Basic czNjcmV0", "Basic %%%"):
            answer = server.client.get("/v1/models", headers={"authorization": wrong})
            assert answer.status_code == 401
        assert server.client.get("/docs").status_code == 401
        assert server.client.get("/metrics").status_code == 401
        assert server.client.get("/healthz").status_code == 200
        server.client.headers["authorization"] = "Bearer s3cret"
        assert server.post(photo.read_bytes()).status_code == 200
        browser = httpx.get(f"{server.url}/docs", auth=("anybody", "s3cret"))
        assert browser.status_code == 200


def test_a_port_that_is_taken(server: Server) -> None:
    port = str(httpx.URL(server.url).port)
    again = subprocess.run([*START, "--port", port], capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert again.stderr.count("\n") == 1
    assert f"port {port}" in again.stderr


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    script = """
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "uvicorn" else find(name, *rest)
from srgan.cli.app import main
sys.argv = ["srgan", "serve"]
main()
"""
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert "uvicorn" in result.stderr
    assert "pip install 'srgan[serve]'" in result.stderr


def test_help_imports_nothing_heavy() -> None:
    script = """
import sys
from srgan.cli.app import main
sys.argv = ["srgan", "serve", "--help"]
try:
    main()
except SystemExit:
    pass
assert not {"fastapi", "uvicorn", "numpy", "torch"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)
