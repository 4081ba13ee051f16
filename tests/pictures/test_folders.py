"""Folders: links to them are followed, and no picture is found twice."""

import errno
import os
from pathlib import Path

import pytest

from srgan.pictures.folders import picture_names
from srgan.pictures.stores import StoreError, open_store
from srgan.training.data.sources import Shards, shards
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


def test_a_store_follows_links_too(album: Path) -> None:
    (album / "notes.txt").touch()
    (album / "link").symlink_to("../other")
    stored = open_store(str(album)).names()
    assert stored == ["b.png", "link/c.png", "link/deep/d.png", "notes.txt", "sub/a.png"]
    assert open_store(f"file://{album}").names() == stored
    assert open_store(str(album / "missing")).names() == []


def test_a_store_names_a_folder_that_cannot_be_read(
    album: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def refusing(path: str) -> object:
        if str(path).endswith("sub"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(StoreError, match=r"album: cannot be listed \(.*Permission denied.*sub"):
        open_store(str(album)).names()


def test_shards_in_linked_folders_are_found(album: Path) -> None:
    for picture in album.rglob("*.png"):
        picture.unlink()
    (album / "link").symlink_to("../other")
    (album / "link/part.PARQUET").touch()
    (album / ".hidden.parquet").touch()
    (album / "link/c.png").unlink()
    (album / "link/deep/d.png").unlink()
    found = shards(str(album))
    assert isinstance(found, Shards)
    assert found.files == (str(album / "link/part.PARQUET"),)
