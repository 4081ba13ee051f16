"""Folders: links to them are followed, and no picture is found twice."""

from pathlib import Path

import pytest

from srgan.pictures.folders import picture_names
from srgan.training.data.stored import find_pictures


def names(folder: Path, *without: Path) -> list[str]:
    problems: list[OSError] = []
    found = list(picture_names(folder, unreadable=problems.append, without=without))
    assert not problems
    return [str(Path(name).relative_to(folder)) for name in found]


@pytest.fixture
def album(tmp_path: Path) -> Path:
    for name in ("album/b.png", "album/sub/a.png", "other/c.png", "other/deep/d.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path / "album"


def test_linked_folders_are_searched(album: Path) -> None:
    (album / "a-link").symlink_to("../other")
    assert names(album) == ["b.png", "sub/a.png", "a-link/c.png", "a-link/deep/d.png"]
    assert len(find_pictures(album)) == 4


def test_the_folder_itself_may_be_a_link(album: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("album")
    assert names(tmp_path / "link") == ["b.png", "sub/a.png"]


def test_cycles_end_and_no_picture_is_found_twice(album: Path, tmp_path: Path) -> None:
    (album / "up").symlink_to("..")
    (album / "self").symlink_to(".")
    (album / "sub/loop").symlink_to("loop")
    (album / "twin").symlink_to("sub")
    (album / "one").symlink_to("../other/deep")
    (album / "two").symlink_to("../other")
    (tmp_path / "other/back").symlink_to("../album")
    assert names(album) == ["b.png", "sub/a.png", "one/d.png", "two/c.png"]


def test_a_linked_results_folder_is_left_out(album: Path, tmp_path: Path) -> None:
    (album / "link").symlink_to("../other")
    assert names(album, tmp_path / "other") == ["b.png", "sub/a.png"]


def test_hidden_links_are_left_out(album: Path) -> None:
    (album / ".link").symlink_to("../other")
    assert names(album) == ["b.png", "sub/a.png"]
