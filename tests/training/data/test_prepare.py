import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from srgan.errors import OptionError
from srgan.pictures.images import PictureError
from srgan.pictures.shards import shard_names
from srgan.training.data.prepare import PrepareReport, prepare
from srgan.training.data.stored import DataError
from srgan.training.options import PreparedFormat
from tests.support.processes import wait_until_gone


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tree of photographs and of what is left out."""
    folder = tmp_path / "photographs"
    (folder / "inner").mkdir(parents=True)
    Image.fromarray(data.rocket()).save(folder / "rocket.jpg", quality=95)  # 640 x 427
    Image.fromarray(data.astronaut()).save(folder / "inner" / "astronaut.png")  # 512 x 512
    shutil.copy(folder / "inner" / "astronaut.png", folder / "inner" / "copy.png")
    Image.fromarray(data.cat()[:95]).save(folder / "flat.png")
    jpeg = (folder / "rocket.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (folder / "text.png").write_text("no picture")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def run(folder: Path, out: Path) -> PrepareReport:
    return prepare(folder, out, size=256, step=200, workers=1)


def test_sub_images_and_what_is_left_out(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    seen: list[tuple[int, int]] = []
    report = prepare(
        folder, out, size=256, step=200, workers=1, progress=lambda *each: seen.append(each)
    )
    # 512: 0, 200, 256; 427: 0, 171; 640: 0, 200, 384
    assert sorted(contents(out)) == [
        *(f"inner/astronaut_s00{number}.png" for number in range(1, 10)),
        *(f"rocket_s00{number}.png" for number in range(1, 7)),
    ]
    astronaut, rocket = data.astronaut(), pixels(folder / "rocket.jpg")
    for number, (top, left) in enumerate([(a, b) for a in (0, 200, 256) for b in (0, 200, 256)]):
        expected = astronaut[top : top + 256, left : left + 256]
        assert (pixels(out / f"inner/astronaut_s00{number + 1}.png") == expected).all()
    assert (pixels(out / "rocket_s006.png") == rocket[171:, 384:]).all()
    assert (report.pictures, report.written, report.kept) == (6, 15, 0)
    reasons = {path.name: reason for path, reason in report.skipped}
    assert reasons["copy.png"] == f"the same as {folder / 'inner' / 'astronaut.png'}"
    assert reasons["flat.png"] == "451 x 95 pixels, smaller than 96"
    assert reasons["cut.jpg"].startswith("the file is cut short")
    assert reasons["text.png"].startswith("not a picture")
    assert len(reasons) == 4
    assert seen == [(2, 6), (3, 6), (4, 6), (5, 6), (6, 6)]


def test_pictures_that_keep_their_size(tmp_path: Path) -> None:
    """A side below 480 means whole; gray and 16 bits stay; equal stems do not collide."""
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    wide = np.tile(data.camera()[:300], (1, 2))
    Image.fromarray(wide).save(folder / "a.png")
    deep = data.camera()[100:200].astype(np.uint16) * 257
    Image.fromarray(deep).save(folder / "a.tif")
    prepare(folder, out, workers=1)
    assert sorted(contents(out)) == ["a.tif_s001.png", "a_s001.png"]
    assert (pixels(out / "a_s001.png") == wide).all()
    assert (pixels(out / "a.tif_s001.png") == deep).all()


SCRIPT = """
import sys
from pathlib import Path
import srgan.training.data.prepare as prepare
if __name__ == "__main__":
    say = lambda *each: print(*each, flush=True)
    prepare.prepare(Path(sys.argv[1]), Path(sys.argv[2]), size=96, step=60, workers=1,
                          progress=say)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_resumed_after_kill(folder: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    expected = prepare(folder, whole, size=96, step=60, workers=1)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    process = subprocess.Popen([sys.executable, script, folder, out], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(out.rglob("*_s01?.png")) and time.monotonic() < deadline:
        time.sleep(0.005)
    children = child_processes(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 10 <= len(contents(out)) < len(contents(whole))
    assert children
    wait_until_gone(children)
    (out / ".srgan-0123.part").write_bytes(b"left by the writer")
    report = prepare(folder, out, size=96, step=60, workers=1)
    assert contents(out) == contents(whole)
    assert report.kept >= 10
    assert report.kept + report.written == expected.written
    assert report.skipped == expected.skipped
    again = prepare(folder, out, size=96, step=60, workers=1)
    assert (again.written, again.kept) == (0, expected.written)


def child_processes(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    if not children.exists():
        pytest.skip("needs Linux's /proc")
    return [int(child) for child in children.read_text().split()]


@pytest.mark.parametrize("format", ["parquet", "webdataset"])
def test_names_in_a_shard_differ(folder: Path, tmp_path: Path, format: PreparedFormat) -> None:
    """A dot becomes "_" there."""
    for number, name in enumerate(("a.b.png", "a_b.png", "x.y/a.png", "x_y/a.png")):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(data.astronaut()[number : number + 100]).save(folder / name)
    out = tmp_path / "out"
    prepare(folder, out, size=512, format=format, workers=1)
    names = [name for shard in out.iterdir() for name in shard_names(shard)]
    assert len(names) == len({name.lower() for name in names}) == 6
    assert {name.count(".") for name in names} == {1}
    assert prepare(folder, out, size=512, format=format, workers=1).kept == 6


def test_shards_of_ordinary_names_are_kept_by_later_versions(tmp_path: Path) -> None:
    """The name of a shard has a digest of the pictures' names and sizes."""
    for name in ("a.png", "a.tif", "v1.2/b.c.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(name.encode())
    prepare(tmp_path / "in", tmp_path / "out", format="webdataset", workers=1)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["shard-00000-de0e23e7.tar"]


@pytest.mark.parametrize("format", ["png", "parquet", "webdataset"])
def test_a_picture_that_cannot_be_opened_fails_alone(
    folder: Path, tmp_path: Path, format: PreparedFormat
) -> None:
    (folder / "link.png").symlink_to("nowhere.png")
    if hasattr(os, "mkfifo"):  # of 0 bytes, as an empty file is
        os.mkfifo(folder / "pipe.png")
        (folder / "void.png").touch()
    report = prepare(folder, tmp_path / "out", size=256, step=200, format=format, workers=1)
    assert report.written == 15
    reasons = {path.name: reason for path, reason in report.skipped}
    assert "it is a broken link" in reasons["link.png"]
    assert "not an ordinary file" in reasons.get("pipe.png", "not an ordinary file")


def test_out_inside_is_refused(folder: Path) -> None:
    for out in (folder, folder / "out", folder / "inner" / ".." / "out"):
        with pytest.raises(DataError, match="write to a folder outside"):
            run(folder, out)
    assert not (folder / "out").exists()


def test_no_pictures(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no pictures"):
        run(tmp_path, tmp_path.parent / "out")
    with pytest.raises(DataError, match="No such file"):
        run(tmp_path / "missing", tmp_path / "out")


def test_options(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--size"):
        prepare(folder, tmp_path / "out", size=95)
    with pytest.raises(OptionError, match="--step"):
        prepare(folder, tmp_path / "out", step=0)


def test_out_that_cannot_be_written(folder: Path, tmp_path: Path) -> None:
    """This ends the run: it is not a fault of one picture."""
    (tmp_path / "out").write_text("a file")
    with pytest.raises(PictureError, match="out"):
        run(folder, tmp_path / "out")


def test_sub_images_of_another_size_are_not_taken_for_these(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(folder, out, size=200, step=100, workers=1)
    before = {path: path.read_bytes() for path in out.rglob("*.png")}
    report = prepare(folder, out, size=160, step=100, workers=1)
    assert report.written == 0
    assert "has another size: write to a new folder" in " ".join(map(str, report.skipped))
    assert {path: path.read_bytes() for path in out.rglob("*.png")} == before
