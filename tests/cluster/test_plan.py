"""The plan of a bulk job: what is a picture, what a result, and what must not be replaced."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from srgan.cluster.plan import BulkPlan, plan
from srgan.errors import OptionError
from srgan.pictures.options import ResultOptions
from srgan.pictures.shards import Member, parquet_bytes
from srgan.pictures.stores import open_store


def planned(source: object, destination: object, **options: Any) -> BulkPlan:
    return plan(open_store(str(source)), open_store(str(destination)), ResultOptions(**options))


@pytest.mark.parametrize("alias", [".", "inner/..", "../link", "../in/./", "inner/../../link/."])
@pytest.mark.parametrize("both", [False, True])
def test_one_folder_by_two_paths(pictures: Path, alias: str, both: bool) -> None:
    (pictures.parent / "link").symlink_to("in")
    pair = (f"{pictures}/{alias}", pictures)
    with pytest.raises(OptionError, match="source and destination are the same folder"):
        planned(*(pair if both else reversed(pair)))


def test_sources_in_the_destination_are_no_results(pictures: Path, tmp_path: Path) -> None:
    """in/01.jpg becomes 01.jpg, beside in; in/in/01.jpg would become in/01.jpg."""
    (pictures / "in").mkdir()
    shutil.copy(pictures / "01.jpg", pictures / "in/01.jpg")
    shutil.copy(pictures / "01.jpg", pictures / "in/new.jpg")
    for overwrite in (False, True):
        found = planned(pictures, tmp_path, overwrite=overwrite)
        assert (len(found.todo), found.kept) == (13, 0)
        assert [each[:2] for each in found.refused] == [("in/01.jpg", "in/01.jpg")]
        reason = f"in/01.jpg: its result {tmp_path}/in/01.jpg would replace a picture of the source"
        assert reason in found.refused[0].reason
    (tmp_path / "02.jpg").touch()
    assert planned(pictures, tmp_path).kept == 1


def test_links_to_sources_are_not_written_through(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "01.jpg").symlink_to(pictures / "01.jpg")
    (out / "inner").symlink_to(pictures / "inner")
    found = planned(pictures, out, overwrite=True)
    refused = {each.target for each in found.refused}
    assert refused == {"01.jpg", *(f"inner/{number:02d}.png" for number in (0, 3, 6, 9))}
    assert len(found.todo) == 12 - len(refused)


def test_a_linked_destination_in_the_source_is_left_out(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(pictures / "01.jpg", tmp_path / "elsewhere/old.jpg")
    (pictures / "large").symlink_to("../elsewhere")
    for destination in (pictures / "large", tmp_path / "elsewhere"):
        assert len(planned(pictures, destination).todo) == 12


def test_results_inside_the_source_are_no_pictures(pictures: Path) -> None:
    (pictures / "large").mkdir()
    Image.new("RGB", (20, 20)).save(pictures / "large" / "old.png")
    todo = planned(pictures, pictures / "large").todo
    assert len(todo) == 12 and not [each for each in todo if each.file.startswith("large")]


def test_folders_of_the_same_name_in_other_stores(pictures: Path, memory: str) -> None:
    elsewhere = f"memory:/{pictures}"
    for destination in (elsewhere, f"{elsewhere}/inner"):
        assert len(planned(pictures, destination).todo) == 12


def test_parquet_files_beside_pictures_are_not_passed_over_in_silence(
    pictures: Path, memory: str, caplog: pytest.LogCaptureFixture
) -> None:
    shard = parquet_bytes([Member("x.jpg", b"x"), Member("y.jpg", b"y")])
    (pictures / "A.PARQUET").write_bytes(shard)
    assert len(planned(pictures, memory).todo) == 12
    assert f"{pictures}: 1 parquet files are left out, because there are picture files" in (
        caplog.text
    )
    open_store(f"{memory}/shards").write("A.PARQUET", shard)
    found = planned(f"{memory}/shards", f"{memory}/out").todo
    assert [each.target for each in found] == ["A/x.jpg", "A/y.jpg"]
