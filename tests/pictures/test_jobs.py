"""Which pictures are found, and where their results go."""

from pathlib import Path

import pytest

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
