"""Which pictures are found, and where their results go."""

import os
from pathlib import Path

import pytest

from srgan.errors import OptionError
from srgan.pictures.jobs import plan
from srgan.pictures.options import ResultOptions


@pytest.mark.parametrize(
    ("inputs", "output", "suffix", "target"),
    [
        ("sub", ".", None, "a.jpg"),  # results above the input
        ("sub", "sub", "_up", "sub/a_up.jpg"),  # results in the input itself
        (".", "sub/large", None, "sub/large/sub/a.jpg"),  # results strictly inside
    ],
)
def test_a_results_folder_hides_no_picture(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    inputs: str,
    output: str,
    suffix: str | None,
    target: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a.jpg").touch()
    (job,) = plan([inputs], output, ResultOptions(suffix=suffix), 4)
    assert (job.problem, job.target) == (None, Path(target))


def test_earlier_results_inside_the_input_are_not_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "a.jpg").touch()
    (tmp_path / "out/a.jpg").touch()
    (job,) = plan(["."], "out", ResultOptions(overwrite=True), 4)
    assert job.source == Path("a.jpg")


def test_broken_links_stop_no_other_picture(tmp_path: Path) -> None:
    """Also where their results exist."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/broken.png").symlink_to("nowhere.png")
    (tmp_path / "in/loop.png").symlink_to("loop.png")
    (tmp_path / "in/whole.png").touch()
    (tmp_path / "out").mkdir()
    for name in ("broken.png", "loop.png"):
        (tmp_path / "out" / name).touch()
    inputs, output = [str(tmp_path / "in")], str(tmp_path / "out")
    jobs = plan(inputs, output, ResultOptions(overwrite=True), 4)
    assert [job.source.name for job in jobs] == ["broken.png", "loop.png", "whole.png"]
    assert [job.problem for job in jobs] == [None, None, None]
    problems = [job.problem or "" for job in plan(inputs, output, ResultOptions(), 4)]
    assert ["exists" in problem for problem in problems] == [True, True, False]


@pytest.mark.parametrize("output", ["out/2024.06.01", "d2.v2", "d2.v2/"])
def test_a_new_folder_may_have_a_dot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "in" / name).touch()
    for inputs in (["in"], ["in/a.png", "in/b.png"], ["in/*.png"]):
        jobs = plan(inputs, output, ResultOptions(), 4)
        assert [job.target for job in jobs] == [Path(output, "a.png"), Path(output, "b.png")]


def test_a_folder_with_a_dot_for_one_picture_needs_a_slash(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(OptionError, match=r"cannot write this format.*write d2\.v2/"):
        plan([str(tmp_path / "a.png")], "d2.v2", ResultOptions(), 4)


def test_the_results_of_a_linked_folder_lie_beside_the_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "far/album").mkdir(parents=True)
    (tmp_path / "far/album/a.png").touch()
    (tmp_path / "near").mkdir()
    (tmp_path / "near/link").symlink_to("../far/album")
    (job,) = plan([str(tmp_path / "near/link")], None, ResultOptions(), 4)
    assert job.target == tmp_path.resolve() / "near/link_x4/a.png"
    monkeypatch.chdir(tmp_path / "far/album")
    (job,) = plan(["."], None, ResultOptions(), 4)
    assert job.target == tmp_path.resolve() / "far/album_x4/a.png"


def test_results_that_exist_can_be_kept(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "out/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    inputs, output = [str(tmp_path / "a.png"), str(tmp_path / "b.png")], str(tmp_path / "out")
    jobs = plan(inputs, output, ResultOptions(), 4, skip_existing=True)
    assert [(job.problem, job.kept) for job in jobs] == [(None, True), (None, False)]
    with pytest.raises(OptionError, match="either --overwrite or --skip-existing"):
        plan(inputs, output, ResultOptions(overwrite=True), 4, skip_existing=True)


def test_results_that_are_links_take_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "out").mkdir()
    for k in range(60):
        (tmp_path / f"{k}.png").touch()
        (tmp_path / "store" / f"{k}.png").touch()
        (tmp_path / "out" / f"{k}.png").symlink_to(tmp_path / "store" / f"{k}.png")
    calls = 0
    realpath = os.path.realpath

    def counting(path: str) -> str:
        nonlocal calls
        calls += 1
        return realpath(path)

    monkeypatch.setattr(os.path, "realpath", counting)
    inputs = [str(tmp_path / f"{k}.png") for k in range(60)]
    jobs = plan(inputs, str(tmp_path / "out"), ResultOptions(), 4, skip_existing=True)
    assert all(job.kept for job in jobs)
    assert calls < 4 * 60


def test_its_own_picture_is_no_result_to_keep(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    options = ResultOptions(suffix="")
    (job,) = plan([str(tmp_path / "a.png")], None, options, 4, skip_existing=True)
    assert "would replace its own picture" in (job.problem or "")


def test_results_of_one_name_have_a_way_out(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png", "sub/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    inputs = [str(tmp_path / name) for name in ("a.jpg", "a.png", "sub/a.png")]
    output = str(tmp_path / "out")
    first, second, third = plan(inputs, output, ResultOptions(format="webp"), 4)
    assert first.problem is None
    assert "--keep-extension" in (second.problem or "")
    options = ResultOptions(format="webp", keep_extension=True)
    first, second, third = plan(inputs, output, options, 4)
    assert [first.target.name, second.target.name] == ["a.jpg.webp", "a.png.webp"]
    assert (first.problem, second.problem) == (None, None)
    assert "give the folder above them" in (third.problem or "")
    options = ResultOptions(format="jpg", keep_extension=True)
    names = [job.target.name for job in plan(inputs[:2], output, options, 4)]
    assert names == ["a.jpg", "a.png.jpg"]


def test_a_name_too_long_is_said_before_work(tmp_path: Path) -> None:
    names = ["a" * 251 + ".png", "ä" * 125 + ".png", "b" * 248 + ".png"]
    for name in names:
        (tmp_path / name).touch()
    jobs = plan([str(tmp_path / name) for name in names], None, ResultOptions(), 4)
    problems = [job.problem or "" for job in jobs]
    assert ["name is too long" in problem for problem in problems] == [True, True, False]
    jobs = plan([str(tmp_path)], str(tmp_path / "new"), ResultOptions(suffix="_x4"), 4)
    assert sorted("name is too long" in (job.problem or "") for job in jobs) == [False, True, True]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_what_is_no_file_is_never_a_target(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "b.png").touch()
    (tmp_path / "out").mkdir()
    os.mkfifo(tmp_path / "out/a.png")
    (tmp_path / "out/b.png").symlink_to("../a.png")
    inputs = [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    jobs = plan(inputs, str(tmp_path / "out"), ResultOptions(overwrite=True), 4)
    assert "not an ordinary file" in (jobs[0].problem or "")
    assert "would replace" in (jobs[1].problem or "")
