import base64
import io
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srgan.evaluation import scatter
from srgan.evaluation.report import write_report
from srgan.evaluation.results import Evaluation, Example, MissingResult, PictureResult
from srgan.pictures.images import PictureError

VOID = {"meta", "img", "br", "link"}
HOSTILE = "<script>alert(1)</script>\"'&amp;\x1b\udcff"


class Page(HTMLParser):
    """A page's elements with their attributes, and its text; fails where tags do not nest."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"] and data.strip():
            self.texts.append(data.strip())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def evaluation(astronaut: np.ndarray) -> Evaluation:
    result = Evaluation(["bicubic", "mine", "theirs"], ["psnr_y", "ssim_y", "lpips_alex"])
    for number, method in enumerate(result.methods):
        values = {"psnr_y": 27.125 + number, "ssim_y": 0.811 + number / 100, "lpips_alex": 0.4}
        result.results.append(PictureResult("Set1", "astronaut.png", method, values))
    values = {"psnr_y": 20.0, "ssim_y": 0.5, "lpips_alex": 0.5}
    result.results += [PictureResult("Set1", "x.png", m, dict(values)) for m in ("bicubic", "mine")]
    result.problems = [MissingResult("Set1", "x.png", "theirs", "no such picture")]
    result.unavailable = {"lpips_vgg": "pip install 'srgan[train]'"}
    crops = {"HR": astronaut, "bicubic": astronaut[::-1], "mine": astronaut // 2}
    result.examples = [Example("Set1", "astronaut.png", crops)]
    return result


def write(evaluation: Evaluation, folder: Path, title: str = "Evaluation of mine") -> Page:
    write_report(evaluation, folder / "out.html", title, {"python": "3.12", "command": "a <b>"})
    return Page((folder / "out.html").read_text(encoding="utf-8"))


def test_every_figure_method_and_fact_is_there(evaluation: Evaluation, tmp_path: Path) -> None:
    page = write(evaluation, tmp_path)
    for text in ["27.12", "28.12", "29.12", "0.8110", "0.8210", "0.8310", "0.4000"]:
        assert text in page.texts
    assert "23.56" in page.texts and "0.6555" in page.texts  # means of bicubic
    for text in [*evaluation.methods, "astronaut.png", "x.png", "1 of 2", "3.12", "a <b>"]:
        assert text in page.texts
    joined = " ".join(page.texts)
    for text in ["BT.601", "AlexNet", "Wang et al. 2004", "pip install 'srgan[train]'"]:
        assert text in joined
    assert "Set1/x.png by theirs: no such picture" in page.texts
    assert page.texts.count("Evaluation of mine") == 2  # title, h1


def test_images_are_the_crops_enlarged(evaluation: Evaluation, tmp_path: Path) -> None:
    images = write(evaluation, tmp_path).all("img")
    crops = evaluation.examples[0].crops
    assert len(images) == len(crops)
    for image, (method, crop) in zip(images, crops.items(), strict=True):
        head, _, content = (image["src"] or "").partition(",")
        assert head == "data:image/png;base64"
        decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))
        assert np.array_equal(decoded, crop)
        assert (image["width"], image["height"]) == (str(120 * 3), str(96 * 3))
        assert method in (image["alt"] or "") and "astronaut.png" in (image["alt"] or "")


def test_many_methods_are_enlarged_less(evaluation: Evaluation, tmp_path: Path) -> None:
    crops = evaluation.examples[0].crops
    crops |= dict.fromkeys(("a", "b"), crops["HR"])
    assert write(evaluation, tmp_path).all("img")[0]["width"] == "240"


def test_nothing_is_loaded(evaluation: Evaluation, tmp_path: Path) -> None:
    page = write(evaluation, tmp_path)
    for _, attributes in page.elements:
        for name in ("src", "href", "srcset", "data", "action"):
            assert (attributes.get(name) or "data:").startswith("data:")
    source = (tmp_path / "out.html").read_text()
    assert not re.search(r"url\(|@import", source)
    assert set(re.findall(r"https?://[^\"<\s]*", source)) <= {"http://www.w3.org/2000/svg"}
    assert not page.all("script")


def test_tables_say_what_their_headings_head(evaluation: Evaluation, tmp_path: Path) -> None:
    page = write(evaluation, tmp_path)
    tables = len(page.all("table"))
    assert tables == 2 and len(page.all("caption")) == tables
    assert {heading["scope"] for heading in page.all("th")} == {"col", "row"}
    assert [p["lang"] for p in page.all("html")] == ["en"]


def test_hostile_names_are_text(astronaut: np.ndarray, tmp_path: Path) -> None:
    evaluation = Evaluation(["bicubic", HOSTILE], ["psnr_y", "lpips_alex", f"pyiqa:{HOSTILE}"])
    values = dict.fromkeys(evaluation.metrics, 1.0)
    evaluation.results = [PictureResult(HOSTILE, HOSTILE, m, values) for m in evaluation.methods]
    evaluation.problems = [MissingResult(HOSTILE, HOSTILE, HOSTILE, HOSTILE)]
    evaluation.unavailable = {f"pyiqa:{HOSTILE}": HOSTILE}
    evaluation.examples = [Example(HOSTILE, HOSTILE, {"HR": astronaut, HOSTILE: astronaut})]
    write_report(evaluation, tmp_path / "out.html", HOSTILE, {HOSTILE: HOSTILE})
    page = Page((tmp_path / "out.html").read_text(encoding="utf-8"))
    assert not page.all("script")
    assert "<script>alert(1)</script>\"'&amp;??" in page.texts
    known = {"class", "style", "id", "role", "tabindex", "scope", "alt", "src", "width", "height"}
    known |= {"aria-label", "viewbox", "xmlns", "d", "x", "y", "cx", "cy", "r", "fill"}
    known |= {"text-anchor", "transform", "lang", "charset", "name", "content", "http-equiv"}
    assert {name for _, attributes in page.elements for name in attributes} <= known


def test_scatter_has_a_labelled_point_a_method(evaluation: Evaluation, tmp_path: Path) -> None:
    page = write(evaluation, tmp_path)
    assert len(page.all("svg")) == 1
    points = page.all("circle")
    assert len(points) == 3
    x = [float(point["cx"] or "") for point in points]
    assert x[0] < x[1] < x[2]  # PSNR-Y to the right
    y = [float(point["cy"] or "") for point in points]
    assert y[0] == y[1] < y[2]  # LPIPS upwards: theirs is 0.40, the others 0.45
    assert "theirs (1 of 2)" in page.texts
    assert "PSNR-Y (dB), higher better" in page.texts
    assert "LPIPS-Alex, lower better" in page.texts


@pytest.mark.parametrize("missing", ["lpips_alex", "psnr_y"])
def test_no_scatter_without_both(evaluation: Evaluation, tmp_path: Path, missing: str) -> None:
    evaluation.metrics.remove(missing)
    for score in evaluation.results:
        del score.values[missing]
    page = write(evaluation, tmp_path)
    assert not page.all("svg")
    assert "Perception against distortion" not in page.texts
    assert "0.6555" in page.texts


def test_results_that_equal_hr(evaluation: Evaluation, tmp_path: Path) -> None:
    evaluation.results[2].values.update(psnr_y=math.inf, lpips_alex=0.0)
    page = write(evaluation, tmp_path)
    assert "inf" in page.texts
    assert len(page.all("circle")) == 2


def test_one_method(tmp_path: Path) -> None:
    evaluation = Evaluation(["bicubic"], ["psnr_y", "lpips_alex"])
    evaluation.results = [PictureResult("a", "b", "bicubic", {"psnr_y": 0.0, "lpips_alex": 0.0})]
    page = write(evaluation, tmp_path)
    assert len(page.all("circle")) == 1
    assert "None: every picture counts." in page.texts


def test_no_scores(tmp_path: Path) -> None:
    evaluation = Evaluation(["bicubic"], ["psnr_y", "lpips_alex"])
    assert "No picture was evaluated; see the problems." in write(evaluation, tmp_path).texts
    evaluation.problems = [MissingResult("Set5", "a.png", None, "cut short")]
    (tmp_path / "out.html").unlink()
    page = write(evaluation, tmp_path)
    assert "Set5/a.png: cut short" in page.texts
    assert not page.all("svg")


def test_labels_of_close_points_do_not_overlap() -> None:
    places = [(200.0, 100.0), (210.0, 104.0), (205.0, 112.0), (440.0, 20.0)]
    dots = [scatter.Dot(x, y, False) for x, y in places]
    labels = scatter.place_labels(["srresnet-x4", "srgan-x4", "bicubic", "edge"], dots)
    boxes = [scatter.box_of(label) for label in labels]
    for i, box in enumerate(boxes):
        assert scatter.is_inside(box)
        assert not scatter.overlaps(box, boxes[:i])


@pytest.mark.parametrize("values", [[0.1, 0.5], [26.0, 32.2], [28.42], [0.0], [1e-4, 2e-4]])
def test_ticks_are_round_and_around_the_values(values: list[float]) -> None:
    ticks = scatter.ticks(values)
    assert ticks[0] <= min(values) and max(values) <= ticks[-1]
    assert 3 <= len(ticks) <= 7
    labels = [float(label) for label in scatter.tick_labels(ticks)]
    assert labels == pytest.approx(ticks, abs=1e-12)


def test_existing_report_stays_without_overwrite(evaluation: Evaluation, tmp_path: Path) -> None:
    path = tmp_path / "out.html"
    path.write_text("mine")
    with pytest.raises(PictureError, match=r"out\.html: it already exists"):
        write_report(evaluation, path, "title", {})
    assert path.read_text() == "mine"
    write_report(evaluation, path, "title", {}, overwrite=True)
    assert path.read_text().startswith("<!DOCTYPE html>")
    assert list(tmp_path.iterdir()) == [path]
