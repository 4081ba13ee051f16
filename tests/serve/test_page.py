"""The page in a real browser, in all its states, also as installed from a wheel."""

import io
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    expect,
    sync_playwright,
)

from tests.support.animations import animated
from tests.support.command import Command
from tests.support.server import TILE, Server, running, wait_until

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 60_000  # ms
expect.set_options(timeout=PATIENCE)
ROOT = Path(__file__).parents[2]
SLOW = "srresnet-x4"
DROP = """([name, bytes]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(bytes)], name));
  for (const kind of ["dragenter", "dragover", "drop"])
    document.querySelector("h1").dispatchEvent(
      new DragEvent(kind, {dataTransfer: transfer, bubbles: true, cancelable: true}));
}"""
PASTE = """([name, bytes]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(bytes)], name, {type: "image/png"}));
  document.dispatchEvent(new ClipboardEvent("paste", {clipboardData: transfer, bubbles: true}));
}"""
SMALL_TARGETS = """() => [...document.querySelectorAll("button, a, select, summary, label, input")]
  .filter(e => e.checkVisibility() && !e.matches(".unseen, label input, .field > label"))
  .map(e => [e.outerHTML.slice(0, 80), e.getBoundingClientRect()])
  .filter(([_, box]) => box.width > 1 && (box.height < 43.5 || box.width < 43.5))
  .map(([html, box]) => `${html} ${box.width} x ${box.height}`)"""


@pytest.fixture(scope="module")
def server(small_model: Path) -> Iterator[Server]:
    options = ("-m", small_model, "-m", SLOW, "-m", "srgan-x4", *TILE)
    with running(*options, "--max-bytes", 2_000_000) as server:
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


def note_policy(line: ConsoleMessage, wrong: list[str]) -> None:
    """Note that the browser has refused something by the content security policy."""
    if "Policy" in line.text:
        wrong.append(line.text)


@contextmanager
def opened(browser: Browser, url: str, **options: Any) -> Iterator[Page]:
    """The page, ready. Nothing may go wrong in it, nor go to another host, nor break the CSP."""
    wrong: list[str] = []

    def note_host(request: Request) -> None:
        if not request.url.startswith((url, "data:", "blob:")):
            wrong.append(request.url)

    options = {"viewport": {"width": 1400, "height": 900}} | options
    page = browser.new_page(**options)
    page.set_default_timeout(PATIENCE)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda line: note_policy(line, wrong))
    page.on("request", note_host)
    page.goto(url)
    page.locator("body[data-ready]").wait_for()
    yield page
    page.close()
    assert wrong == []


@pytest.fixture
def open_page(browser: Browser, server: Server) -> Iterator[Callable[..., Page]]:
    pages: list[Any] = []

    def open_page(**options: Any) -> Page:
        pages.append(opened(browser, server.url, **options))
        return pages[-1].__enter__()

    yield open_page
    for page in pages:
        page.__exit__(None, None, None)


def is_accessible(page: Page) -> bool:
    """Whether axe finds nothing, contrast included."""
    found = Axe().run(page).response["violations"]
    for each in found:
        print(each["id"], each["help"], [node["html"] for node in each["nodes"]])
    return not found


def card(page: Page, name: str) -> Locator:
    return page.locator("#cards li", has_text=name)


def shown_percent(page: Page) -> int:
    return int(page.locator("#percent").inner_text().split()[0])


def test_drop_compare_download(
    open_page: Callable[..., Page], srgan: Command, small_model: Path, photo: Path, tmp_path: Path
) -> None:
    page = open_page()
    expect(page.locator("#here")).to_be_visible()  # the visitor is on this machine
    assert is_accessible(page)
    page.evaluate(DROP, ["photo.jpg", [*photo.read_bytes()]])
    expect(card(page, "photo.jpg")).to_contain_text(re.compile("480 . 384"))
    expect(page.locator("#caption")).to_contain_text(
        re.compile("photo_x4.jpg 120 . 96 → 480 . 384")
    )
    images = page.locator("#view img")
    wait_until(lambda: images.evaluate_all("all => all.every(e => e.naturalWidth == 480)"))
    assert is_accessible(page)

    handle, view = page.get_by_role("slider", name="Where the original ends"), page.locator("#view")
    box = view.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2, steps=3)
    page.mouse.up()
    assert handle.get_attribute("aria-valuenow") == "25"
    handle.focus()
    page.keyboard.press("ArrowRight")
    assert handle.get_attribute("aria-valuenow") == "27"
    assert "27" in (page.locator(".clipped").get_attribute("style") or "")

    zoom(page, view, images)
    page.get_by_role("radio", name="Original").check(force=True)
    wait_until(lambda: images.first.evaluate("e => e.naturalWidth == 120"))
    with page.expect_download() as download:
        page.locator("#download").click()
    assert download.value.suggested_filename == "photo_x4.jpg"
    assert srgan("upscale", "photo.jpg", "-m", small_model, *TILE).returncode == 0
    assert download.value.path().read_bytes() == (tmp_path / "photo_x4.jpg").read_bytes()


def zoom(page: Page, view: Locator, images: Locator) -> None:
    """All ways to zoom, from fit to 400 %, and panning."""
    percent = page.locator("#percent")
    fitted = shown_percent(page)
    page.get_by_role("button", name="100 %").click()
    expect(percent).to_have_text("100 %")
    assert images.first.evaluate("e => e.getBoundingClientRect().width") == 480
    view.dblclick(position={"x": 50, "y": 50})
    view.hover()
    page.mouse.wheel(0, -5000)
    expect(percent).to_have_text("400 %")
    place = images.last.evaluate("e => e.style.transform")
    view.focus()
    page.keyboard.press("ArrowRight")
    assert images.last.evaluate("e => e.style.transform") != place
    page.get_by_role("button", name="Zoom out").click()
    expect(percent).to_have_text("320 %")
    page.get_by_role("button", name="Fit").click()
    assert shown_percent(page) == fitted


def test_a_phone_several_pictures_and_a_bad_one(
    open_page: Callable[..., Page], photo: Path, tmp_path: Path
) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    page = open_page(**phone, color_scheme="dark")
    expect(page.get_by_role("button", name="Choose photos")).to_be_in_viewport()
    assert is_accessible(page)
    tiff = tmp_path / "large.tif"  # which the browser cannot show
    Image.open(photo).resize((500, 400)).save(tiff)
    bad = tmp_path / "<b>bad.png"
    bad.write_bytes(b"no picture")
    huge = tmp_path / "huge.png"
    huge.write_bytes(bytes(2_000_001))
    page.locator("#files").set_input_files([photo, bad, tiff, huge])
    expect(card(page, "bad.png")).to_contain_text("Not a picture")
    expect(card(page, "huge.png")).to_contain_text("2 MB")
    for name in ("photo.jpg", "large.tif"):
        expect(card(page, name)).to_have_class("done")
    thumbnail = card(page, "large.tif").locator("img")
    wait_until(lambda: "preview" in (thumbnail.get_attribute("src") or ""))
    wait_until(lambda: thumbnail.evaluate("e => e.complete && e.naturalWidth == 320"))
    wait_until(lambda: page.evaluate("scrollY") > 100)  # to the result
    expect(page.locator("#download")).to_be_in_viewport()
    page.locator("#settings summary").first.click()
    assert is_accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate(SMALL_TARGETS) == []
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(map(int, re.findall(r"\d+", background)[:3])) < 60

    with page.expect_download() as download:
        page.get_by_role("link", name="Download all").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.namelist() == ["photo_x4.jpg", "large_x4.tif"]
        assert archive.testzip() is None


def test_an_animation_plays(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.evaluate(DROP, ["clip.gif", [*animated("GIF", loop=0)]])
    expect(page.locator("#caption")).to_contain_text("clip_x4.gif")
    result = page.locator("#view img").last
    wait_until(lambda: result.evaluate("e => e.naturalWidth == 256"))
    shown = page.evaluate(
        "async url => (await fetch(url)).headers.get('content-type')", result.get_attribute("src")
    )
    assert shown == "image/gif"
    slider = page.get_by_role("slider", name="Where the original ends")
    assert slider.get_attribute("aria-valuenow") == "0"  # the original does not move
    page.locator("#caption summary").click()
    expect(page.locator("#caption dl")).to_contain_text("Frames4")
    assert is_accessible(page)


def test_settings_for_all_and_for_one(open_page: Callable[..., Page], photo: Path) -> None:
    page = open_page()
    other = photo.with_name("other.jpg")
    shutil.copy(photo, other)
    page.locator("#files").set_input_files([photo, other])
    for name in ("photo.jpg", "other.jpg"):
        expect(card(page, name)).to_have_class("done")
    page.locator("#size").select_option("2")
    expect(page.locator("#stale")).to_contain_text("2 photos were made with other settings")
    assert is_accessible(page)
    page.locator("#stale button").click()
    expect(card(page, "photo.jpg")).to_contain_text(re.compile("240 . 192"))
    expect(card(page, "other.jpg")).to_contain_text(re.compile("240 . 192"))
    expect(page.locator("#stale")).to_be_hidden()

    card(page, "other.jpg").locator(".pick").click()
    page.get_by_label("Only this one").check(force=True)
    page.get_by_label("Natural").check(force=True)
    page.get_by_role("slider", name="Detail").fill("50")
    page.locator("#format").select_option("webp")
    expect(page.locator("#stale")).to_contain_text("1 photo was made")
    page.get_by_role("button", name="Redo other.jpg").click()
    expect(page.locator("#caption")).to_contain_text("other_x2.webp")
    expect(page.locator("#caption")).to_contain_text("Made with Natural")
    expect(card(page, "photo.jpg")).to_have_class("done")


def test_a_reload_a_stop_of_the_server_and_cancelling(
    browser: Browser, small_model: Path, tmp_path: Path
) -> None:
    """Nothing is lost: neither by a reload of the page, nor by the server's death."""
    file = io.BytesIO()
    Image.new("RGB", (600, 500), "orange").save(file, "png")
    data = ("--data", tmp_path / "data", "-m", SLOW, *TILE)
    with running(*data, folder=tmp_path) as server:
        port = server.url.rpartition(":")[2]
        with opened(browser, server.url) as page:
            page.evaluate(PASTE, ["large.png", [*file.getvalue()]])
            state = card(page, "large.png").locator(".state")
            expect(state).to_contain_text(re.compile(r"\d+ %, \d+ (s|min) left"))
            assert is_accessible(page)
            page.reload()
            expect(state).to_contain_text("%")
            wait_until(
                lambda: card(page, "large.png").locator("img").evaluate("e => e.naturalWidth > 0")
            )
            server.process.send_signal(signal.SIGKILL)
            expect(page.locator("#offline")).to_contain_text("does not answer")
            assert is_accessible(page)
            with running(*data, "--port", port, folder=tmp_path) as again:
                expect(page.locator("#offline")).to_be_hidden()
                expect(state).to_contain_text("%")
                page.get_by_role("button", name="Cancel large.png").click()
                expect(page.get_by_role("button", name="Choose photos")).to_be_visible()
                wait_until(lambda: again.figure("srgan_open_pictures") == 0)
                wait_until(lambda: again.jobs() == [])


def test_an_example_with_the_keyboard(open_page: Callable[..., Page]) -> None:
    page = open_page(reduced_motion="reduce")
    page.get_by_role("button", name="Astronaut").focus()
    page.keyboard.press("Enter")
    page.locator("#download").wait_for()
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "download":
            break
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == "astronaut_x4.jpg"


def test_the_description_of_the_service(browser: Browser, server: Server) -> None:
    page = browser.new_page()
    wrong: list[str] = []
    page.on("console", lambda line: note_policy(line, wrong))
    page.goto(f"{server.url}/docs")
    page.get_by_role("link", name="/v1/upscale").wait_for()
    page.close()
    assert wrong == []


def test_from_a_wheel_in_an_empty_folder(browser: Browser, tmp_path: Path) -> None:
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*wheel, "--wheel-dir", tmp_path, ROOT], check=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as archive:
        archive.extractall(tmp_path / "site")
    empty = tmp_path / "empty"
    empty.mkdir()
    with (
        running(folder=empty, path=tmp_path / "site") as server,
        opened(browser, server.url) as page,
    ):
        for name in ("Astronaut", "Chelsea the cat", "Cup of coffee"):
            image = page.get_by_role("button", name=name).locator("img")
            assert image.evaluate("e => e.naturalWidth") > 0
        page.get_by_role("button", name="Cup of coffee").click()
        page.locator("#download").wait_for()
        expect(page.locator("#caption")).to_contain_text("Looks")
