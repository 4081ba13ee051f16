"""The page in a real browser, and what a client that is no browser may try with it."""

import io
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

from tests.support.command import Command
from tests.support.server import TILE, Server, is_problem, running, wait_until

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 60_000  # ms
expect.set_options(timeout=PATIENCE)
DROP = """([target, name, bytes]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(bytes)], name));
  for (const kind of ["dragenter", "dragover", "drop"])
    document.querySelector(target).dispatchEvent(
      new DragEvent(kind, {dataTransfer: transfer, bubbles: true, cancelable: true}));
}"""
PASTE = """([name, bytes]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(bytes)], name, {type: "image/png"}));
  document.dispatchEvent(new ClipboardEvent("paste", {clipboardData: transfer, bubbles: true}));
}"""


@pytest.fixture(scope="module")
def server(small_model: Path) -> Iterator[Server]:
    with running("-m", small_model, "-m", "srresnet-x4", *TILE, "--max-bytes", 2_000_000) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"needs a browser: install one of {', '.join(BROWSERS)}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser, server: Server) -> Iterator[Callable[..., Page]]:
    """Open the page; afterwards nothing may have gone wrong in it, nor gone to another host."""
    pages: list[Page] = []
    wrong: list[str] = []

    def note_host(request: Request) -> None:
        if not request.url.startswith((server.url, "data:", "blob:")):
            wrong.append(request.url)

    def open_page(width: int = 1280, scheme: Any = "light") -> Page:
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", note_host)
        page.goto(server.url)
        page.locator("#pictures input[type=file]").wait_for(state="attached")
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert wrong == []


def upscale_button(page: Page) -> Any:
    return page.get_by_role("button", name="Upscale")


def test_drop_compare_download(
    open_page: Callable[..., Page], srgan: Command, small_model: Path, photo: Path, tmp_path: Path
) -> None:
    page = open_page()
    expect(upscale_button(page)).to_be_disabled()
    page.evaluate(DROP, ["#pictures button", "photo.jpg", [*photo.read_bytes()]])
    expect(page.locator("#facts")).to_contain_text("120x96")
    expect(page.locator("#facts")).to_contain_text("480x384")

    upscale_button(page).click()
    page.locator("#status progress").wait_for()
    page.locator("#download").wait_for()
    expect(page.locator("#caption")).to_contain_text("480x384 (0.18 MP)")

    images = page.locator("#slider img")
    expect(images).to_have_count(2)
    wait_until(lambda: images.evaluate_all("all => all.every(e => e.naturalWidth == 480)"))
    after = images.nth(1)
    start = after.evaluate("e => e.style.clipPath")
    handle = page.locator("#slider [data-testid=slider]")
    box = handle.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 150, box["y"] + box["height"] / 2, steps=3)
    page.mouse.up()
    dragged = after.evaluate("e => e.style.clipPath")
    assert dragged != start
    handle.focus()
    page.keyboard.press("ArrowLeft")
    wait_until(lambda: after.evaluate("e => e.style.clipPath") != dragged)

    with page.expect_download() as download:
        page.locator("#download").click()
    assert download.value.suggested_filename == "photo_x4.jpg"
    assert srgan("upscale", "photo.jpg", "-m", small_model, *TILE).returncode == 0
    assert download.value.path().read_bytes() == (tmp_path / "photo_x4.jpg").read_bytes()


def test_a_phone_several_pictures_and_a_bad_one(
    open_page: Callable[..., Page], photo: Path, tmp_path: Path
) -> None:
    page = open_page(width=390, scheme="dark")
    large = tmp_path / "large.png"
    Image.open(photo).resize((500, 400)).save(large)
    bad = tmp_path / "<b>bad.png"
    bad.write_bytes(b"no picture")
    page.locator("#pictures input[type=file]").set_input_files([photo, bad, large])
    expect(page.locator("#facts .problem")).to_contain_text("bad.png: not a picture")
    upscale_button(page).click()
    expect(page.locator("#status .problem")).to_contain_text("bad.png: not a picture")
    expect(page.locator("#choice label")).to_have_text(["photo_x4.jpg", "large_x4.png"])
    page.get_by_label("large_x4.png").check()
    expect(page.locator("#download")).to_contain_text("Download large_x4.png")
    images, shown = page.locator("#slider img"), page.locator("#slider img").nth(1)
    wait_until(lambda: images.evaluate_all("all => all.every(e => e.naturalWidth == 2000)"))
    page.get_by_role("button", name="100 %").click()
    # gradio zooms in steps of 5 %.
    width = "e => e.getBoundingClientRect().width"
    wait_until(lambda: 0.97 < shown.evaluate(width) / 2000 < 1.03)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(map(int, re.findall(r"\d+", background)[:3])) < 60


def start_long_work(page: Page, server: Server) -> None:
    file = io.BytesIO()
    Image.new("RGB", (1200, 1000), "orange").save(file, "png")
    page.evaluate(PASTE, ["large.png", [*file.getvalue()]])
    expect(page.locator("#facts")).to_contain_text("1200x1000")
    page.get_by_label("Model").click()
    page.get_by_role("option", name="srresnet-x4").click()
    upscale_button(page).click()
    expect(page.locator("#status")).to_contain_text(re.compile(r"\d+%, \d+ (s|min) left"))
    assert server.figure("srgan_open_pictures") == 1


def test_cancel(open_page: Callable[..., Page], server: Server) -> None:
    page = open_page()
    start_long_work(page, server)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#status")).to_have_text("Cancelled.")
    upscale_button(page).wait_for()
    wait_until(lambda: server.figure("srgan_open_pictures") == 0)


def test_closing_the_page_cancels(open_page: Callable[..., Page], server: Server) -> None:
    page = open_page()
    start_long_work(page, server)
    page.close()
    wait_until(lambda: server.figure("srgan_open_pictures") == 0)


def test_an_example_with_the_keyboard(open_page: Callable[..., Page]) -> None:
    page = open_page()
    example = page.locator("#examples button").first
    example.focus()
    page.keyboard.press("Enter")
    expect(upscale_button(page)).to_be_enabled()
    upscale_button(page).focus()
    page.keyboard.press("Enter")
    page.locator("#download").wait_for()


# -- Clients that are no browser ------------------------------------------------------------------


def join(server: Server, path: str) -> Any:
    config = server.client.get("/config").json()
    number = next(
        each["id"]
        for each in config["dependencies"]
        if len(each["inputs"]) == 3 and each["outputs"]
    )
    file = {"path": path, "meta": {"_type": "gradio.FileData"}, "orig_name": "x.png"}
    body = {"data": [[file], "small", 4], "fn_index": number, "session_hash": "abc"}
    return server.client.post("/gradio_api/queue/join", json=body)


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../../etc/passwd", "http://127.0.0.1/x.png", "a\0b", "~/x.png"]
)
def test_the_page_takes_only_uploads(server: Server, path: str) -> None:
    assert is_problem(join(server, path), 400, "bad-path")


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/gradio_api/file=http://127.0.0.1:1/x",
        "/gradio_api/proxy=https://example.org/",
        "/static/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    ],
)
def test_the_page_serves_nothing_else(server: Server, path: str) -> None:
    answer = server.client.get(path)
    assert answer.status_code in (403, 404)
    assert "root:" not in answer.text


def test_uploads_to_the_page_are_bounded(server: Server) -> None:
    def upload(size: int) -> Any:
        return server.client.post("/gradio_api/upload", files={"files": ("x.png", bytes(size))})

    before = server.disk()
    assert upload(3_000_000).status_code == 413  # a file
    assert is_problem(upload(50_000_000), 413, "too-many-bytes")  # altogether
    endless = server.client.post("/gradio_api/upload", content=iter([b"x"]))
    assert is_problem(endless, 411, "length-required")
    message = server.client.post("/gradio_api/queue/join", content=bytes(2_000_000))
    assert is_problem(message, 413, "too-many-bytes")
    nonsense = server.client.post("/gradio_api/queue/join", content=b"{")
    assert is_problem(nonsense, 400, "bad-message")
    wait_until(lambda: server.disk() - before < 1000)


@pytest.mark.parametrize("use", ["name", "module"])
def test_pandas_waits_for_its_first_use(use: str, tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from srgan.serve.page.gradio_import import import_gradio
import_gradio(Path(sys.argv[1]))
assert "pandas.core" not in sys.modules
if sys.argv[2] == "module":
    from pandas.api.types import is_bool_dtype
import pandas
assert len(pandas.DataFrame({"a": [1, 2]})) == 2
assert sys.modules["pandas"].DataFrame is pandas.DataFrame
"""
    subprocess.run([sys.executable, "-c", program, tmp_path, use], check=True)
