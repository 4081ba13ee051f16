"""Files appear whole or not at all; links and what killed processes left."""

import os
import time
from pathlib import Path

import pytest

from srgan.pictures.files import PictureError, new_file, replace_file
from srgan.pictures.parts import create

DAY = 24 * 60 * 60


def write(path: Path, text: str, overwrite: bool = True) -> None:
    with new_file(path, overwrite) as part:
        part.write_text(text)


@pytest.mark.parametrize("target", ["below/real.png", "below/new.png"])
def test_a_link_is_written_through(tmp_path: Path, target: str) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below/real.png").write_text("old")
    link = tmp_path / "link.png"
    link.symlink_to(target)
    write(link, "new")
    assert link.is_symlink()
    assert (tmp_path / target).read_text() == "new"
    replace_file(link, b"newer")
    assert link.is_symlink()
    assert (tmp_path / target).read_text() == "newer"
    assert not list(tmp_path.rglob("*.part"))


def test_a_link_is_not_replaced_without_overwrite(tmp_path: Path) -> None:
    (tmp_path / "link.png").symlink_to("nowhere.png")
    with pytest.raises(PictureError, match="it already exists"):
        write(tmp_path / "link.png", "new", overwrite=False)
    assert not (tmp_path / "nowhere.png").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
@pytest.mark.parametrize("linked", [False, True])
def test_other_things_are_refused(tmp_path: Path, linked: bool) -> None:
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "link.png").symlink_to("fifo.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    with pytest.raises(PictureError, match="not an ordinary file"):
        write(tmp_path / ("link.png" if linked else "fifo.png"), "new")
    with pytest.raises(PictureError, match="links"):
        write(tmp_path / "loop.png", "new")
    assert (tmp_path / "fifo.png").is_fifo()


def test_what_killed_processes_left_goes_after_a_day(tmp_path: Path) -> None:
    old, young, used, other = (
        tmp_path / name
        for name in (".srgan-00.part", ".srgan-01.part", ".srgan-02.part", ".other.part")
    )
    with create(used):  # by a process that was suspended for two days
        for path in (old, young, other):
            path.touch()
        two_days_ago = time.time() - 2 * DAY
        for path in (old, used, other):
            os.utime(path, (two_days_ago, two_days_ago))
        write(tmp_path / "a.png", "new")
        assert {path.name for path in tmp_path.iterdir()} == {
            "a.png",
            young.name,
            used.name,
            other.name,
        }
