"""Stores: one folder by many paths, and which failures concern one file alone."""

import errno
import os
import threading
from pathlib import Path

import pytest

from srgan.pictures.images import PictureError
from srgan.pictures.stores import StoreError, open_store


@pytest.fixture
def album(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("album/a.png", "album/longname.png", "album/sub/b.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "link").symlink_to("album")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "album"


ALIASES = ("album/.", "./album", "album//", "album/sub/..", "album/./sub/../", "link", "link/.")


@pytest.mark.parametrize("alias", ALIASES)
def test_a_folder_has_the_same_names_by_all_its_paths(album: Path, alias: str) -> None:
    for url in (alias, f"file://{album.parent}/{alias}"):
        store = open_store(url)
        assert store.names() == ["a.png", "longname.png", "sub/b.png"]
        assert store.read("longname.png") == b"album/longname.png"
        assert store.name_in(open_store("album")) == ""
        assert open_store("album").name_in(store) == ""
        assert open_store("album/sub").name_in(store) == "sub"
        assert store.place("a.png") == open_store("album").place("a.png")
    assert open_store("album").name_in(open_store("album/sub")) is None
    assert open_store("album").name_in(open_store("alb")) is None


def test_a_link_is_followed_before_two_dots(album: Path) -> None:
    """As the system does: elsewhere/.. is not this folder."""
    (album.parent / "far/away").mkdir(parents=True)
    (album.parent / "far/c.png").touch()
    (album.parent / "elsewhere").symlink_to("far/away")
    assert open_store("elsewhere/..").names() == ["c.png"]


def test_the_root_of_the_disk_is_a_store() -> None:
    assert open_store("/").root == "/"
    assert open_store("/tmp").name_in(open_store("/")) == open_store("/tmp").place()[8:]


@pytest.mark.parametrize("scheme", ["", "memory:/"])
def test_a_folder_in_it_can_be_left_out(tmp_path: Path, scheme: str) -> None:
    store = open_store(f"{scheme}{tmp_path}/in")
    for name in ("a.png", "large/b.png", "larger/c.png"):
        store.write(name, b"")
    inner = open_store(f"{store.url}/large")
    assert store.names(without=inner) == ["a.png", "larger/c.png"]
    assert store.names(without=store) == store.names() == ["a.png", "large/b.png", "larger/c.png"]
    assert inner.names(without=store) == ["b.png"]
    assert store.names(without=open_store("memory://other")) == store.names()
    if scheme:
        store._fs.rm(str(tmp_path), recursive=True)
        return
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/old.png").touch()
    (tmp_path / "in/link").symlink_to("../elsewhere")
    assert "link/old.png" in store.names()
    assert "link/old.png" not in store.names(without=open_store(str(tmp_path / "in/link")))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_a_pipe_is_not_waited_for(album: Path) -> None:
    os.mkfifo(album / "pipe.png")
    store = open_store(str(album))
    caught: list[Exception] = []

    def attempt() -> None:
        for read in (store.read, store.open):
            try:
                read("pipe.png")
            except PictureError as error:
                caught.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    wanted = f"{album}/pipe.png: it is not an ordinary file: give a picture file"
    assert list(map(str, caught)) == [wanted] * 2


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (f"{'n' * 300}.png", "the name is too long"),
        ("a.png/b.png", "a file has the folder's name"),
        ("a.png/deep/b.png", "its folder is a file"),
        ("sub", "that is a folder"),
        ("null\0.png", "cannot be written"),
        ("loop.png", "links"),
    ],
)
def test_a_name_that_cannot_be_is_the_fault_of_one_picture(
    album: Path, name: str, reason: str
) -> None:
    (album / "loop.png").symlink_to("loop.png")
    with pytest.raises(PictureError, match=reason):
        open_store(str(album)).write(name, b"x")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT])
def test_a_folder_that_cannot_be_written_is_not(
    album: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("srgan.pictures.files.create", refuse)
    with pytest.raises(StoreError, match=r"a\.png: "):
        open_store(str(album)).write("a.png", b"x")


def test_a_store_below_a_file_cannot_be_written(album: Path) -> None:
    for root in ("a.png/out", "a.png/deep/out", f"{'n' * 300}/out"):
        with pytest.raises(StoreError):
            open_store(str(album / root)).write("b.png", b"x")


def test_a_file_that_cannot_be_opened_is_named(album: Path) -> None:
    with pytest.raises(StoreError, match=rf"{album}/none\.parquet: cannot be opened"):
        open_store(str(album)).open("none.parquet")
