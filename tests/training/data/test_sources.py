"""Training pictures in shards, buckets and streams."""

import itertools
import logging
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch
from PIL import Image
from skimage import data as photographs
from torch import Tensor

from srgan.errors import OptionError
from srgan.pictures.shards import Member, parquet_bytes
from srgan.pictures.stores import open_store
from srgan.training.data import crops as data
from srgan.training.data import streams
from srgan.training.data.crops import split
from srgan.training.data.loader import CropBatch, open_loader
from srgan.training.data.prepare import prepare
from srgan.training.data.sources import find_source, open_stream, with_hub_prefix
from srgan.training.data.stored import DataError, Pictures, changes, digests, find_pictures
from srgan.training.start import find_data
from srgan.training.train import train
from srgan.training.trainer import Trainer
from tests.support.training import assert_same_model, small_config

CROP = 24


@pytest.fixture(autouse=True)
def small_rounds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Rounds of 32 crops from 8 pictures, and no cache left behind."""
    monkeypatch.setattr(data, "CROPS_PER_ROUND", 32)
    monkeypatch.setattr(data, "CROPS_PER_PICTURE", 4)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sub-images of four photographs, in each of the formats."""
    root = tmp_path_factory.mktemp("prepared")
    (root / "in").mkdir()
    for name in ("astronaut", "chelsea", "coffee", "rocket"):
        Image.fromarray(getattr(photographs, name)()[:200, :300]).save(root / "in" / f"{name}.png")
    (root / "in" / "bad.png").write_text("no picture")
    for format in ("png", "parquet", "webdataset"):
        report = prepare(
            *(root / "in", root / format), size=100, step=100, format=format, workers=1
        )
        assert (report.written, len(report.skipped)) == (24, 1)
        again = prepare(*(root / "in", root / format), size=100, step=100, format=format, workers=1)
        assert (again.written, again.kept) == (0, 24)
    return root


def first(pictures: Pictures, count: int, **options: Any) -> Tensor:
    loader = open_loader(pictures, crop=CROP, batch_size=5, seed=0, **with_no_worker(options))
    try:
        return torch.stack([batch.hr for batch in itertools.islice(loader, count)])
    finally:
        loader.close()


@pytest.mark.parametrize("format", ["parquet", "webdataset"])
def test_shards_give_the_crops_of_the_folder(prepared: Path, format: str) -> None:
    files, found = find_pictures(prepared / "png"), find_source(str(prepared / format))
    assert [each.name for each in found] == [path.name for path in files]
    assert torch.equal(first(found, 20), first(files, 20))
    workers = 2 if format == "parquet" else 0  # that of webdataset travels as well
    assert torch.equal(first(found, 4, workers=workers, first_batch=9), first(files, 13)[9:])
    training, held_out = split(found, 5, seed=3)
    as_files = split(files, 5, seed=3)
    assert [each.name for each in held_out] == [each.name for each in as_files[1]]
    assert torch.equal(first(training, 8), first(as_files[0], 8))
    assert digests(training) == digests(split(found, 5, seed=3)[0])
    assert (
        len({digests(each)["names"] for each in (found, training, split(found, 5, seed=7)[0])}) == 3
    )
    shard = next((prepared / format).iterdir())
    assert len(find_source(str(shard))) == 24


def test_validation_shards_are_not_trained_on(
    prepared: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (shard,) = (prepared / "parquet").glob("*.parquet")
    for name in ("a.parquet", "val/b.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(shard.read_bytes())
    assert len(find_source(str(tmp_path))) == 48
    assert len(find_source(str(tmp_path), [tmp_path / "val"])) == 24
    (tmp_path / "c.tar").touch()
    with caplog.at_level(logging.WARNING, "srgan"):
        assert len(find_source(str(tmp_path), [tmp_path / "val"])) == 24
    assert "1 shards that are not .parquet are left out" in caplog.text


@pytest.mark.parametrize("opened", [find_source, open_stream])
def test_replaced_shards_are_noticed(three_shards: Path, tmp_path: Path, opened: Any) -> None:
    folder = shutil.copytree(three_shards, tmp_path / "shards")  # with the times of the files
    before = digests(opened(str(three_shards)))
    assert before.keys() == {"names", "sizes", "times"}
    assert changes(before, digests(opened(str(folder)))) is None  # elsewhere, but the same
    assert changes({"names": before["names"]}, digests(opened(str(folder)))) is None  # old states
    os.utime(folder / "0.parquet", (1, 1))
    assert "other times" in str(changes(before, digests(opened(str(folder)))))
    members = [Member(f"{name}.png", b"other pictures") for name in range(27)]
    (folder / "0.parquet").write_bytes(parquet_bytes(members[:9]))
    assert changes(before, digests(opened(str(folder)))) is not None


def test_replaced_pictures_of_a_bucket_are_noticed() -> None:
    store = open_store("memory://replaced")
    store.write("a.png", b"1")
    before = digests(find_source("memory://replaced"))
    assert changes(before, digests(find_source("memory://replaced"))) is None
    store.write("a.png", b"22")
    assert "were replaced" in str(changes(before, digests(find_source("memory://replaced"))))
    fsspec.filesystem("memory").rm("/replaced", recursive=True)


def test_shards_beside_pictures_are_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("stray.png", "a.parquet", "b.parquet"):
        (tmp_path / name).touch()
    for source in (str(tmp_path), f"file://{tmp_path}"):
        caplog.clear()
        assert [picture.name for picture in find_source(source)] == ["stray.png"]
        assert f"{source}: holds 1 pictures and 2 shards; only the pictures are us" in caplog.text


def test_shards_that_validate_are_not_trained_on(three_shards: Path) -> None:
    shard = three_shards / "0.parquet"
    for stream, folder in ((False, three_shards), (True, three_shards), (False, shard)):
        options = replace(small_config(folder, iterations=1).data, stream=stream)
        with pytest.raises(DataError, match="--validation-folder has shards of --data-folder"):
            find_data(replace(options, validation_folder=shard), Path("run"))
    options = replace(options, data_folder=three_shards / "1.parquet", validation_folder=shard)
    assert list(map(len, find_data(options, Path("run")))) == [9, 2]  # type: ignore[arg-type]


def test_a_bucket_gives_the_crops_of_the_folder(prepared: Path) -> None:
    store = open_store("memory://train")
    files = find_pictures(prepared / "png")
    for path in files:
        store.write(f"a/{path.name}", path.read_bytes())
    found = find_source("memory://train")
    assert torch.equal(first(found, 12), first(files, 12))
    assert digests(found) == digests(find_source("memory://train"))
    store.write("val/x.png", files[0].read_bytes())
    assert len(find_source("memory://train", [Path("memory://train/val")])) == len(files)
    store.write("a/astronaut_s001.png", b"no picture")
    assert len(first(found, 12)) == 12  # passed over
    fs = fsspec.filesystem("memory")
    fs.rm("/train", recursive=True)


def test_a_store_that_fails_stops_training(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no fault of the pictures, and to go on without them would change the run."""
    from fsspec.implementations.memory import MemoryFileSystem

    open_store("memory://train").write("a.png", next((prepared / "png").iterdir()).read_bytes())
    found = find_source("memory://train")

    def failing(*_: object, **__: object) -> bytes:
        raise ConnectionError("connection reset")

    monkeypatch.setattr(MemoryFileSystem, "cat_file", failing)
    with pytest.raises(DataError, match=r"^memory://train/a\.png: cannot be read \(connection res"):
        first(found, 1)


def test_what_is_no_source(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"nothing: this folder cannot be read \(No such file"):
        find_source(str(tmp_path / "nothing"))
    with pytest.raises(DataError, match="no pictures and no shards"):
        find_source("memory://nothing")
    with pytest.raises(DataError, match="foo://x: Protocol not known"):
        find_source("foo://x")
    (tmp_path / "x.parquet").write_text("text")
    with pytest.raises(DataError, match=r"x\.parquet: cannot be loaded"):
        find_source(str(tmp_path / "x.parquet"))
    with pytest.raises(DataError, match="holds pictures, not shards"):
        open_stream(str(prepared / "png"))


def test_a_name_of_the_hub(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no network here: what `datasets` is asked for, and what it answers offline."""
    import datasets

    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="hf:owner/photos: no dataset of the hub"):
        find_source("hf:owner/photos")
    with pytest.raises(DataError, match="use hf:OWNER/NAME"):
        find_source("hf:photos")
    load = datasets.load_dataset

    def hub(name: str, **options: Any) -> Any:
        assert name == "owner/photos" and options["data_files"] is None
        return load("parquet", data_files=str(prepared / "parquet/*.parquet"), split="train")

    monkeypatch.setattr(datasets, "load_dataset", hub)
    files = find_pictures(prepared / "png")
    assert torch.equal(first(find_source("hf:owner/photos"), 4), first(files, 4))


def test_a_mistyped_folder_never_asks_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: pytest.fail("asked the hub"))
    expected = r"data/DIV2K: this folder cannot be read .* write hf:data/DIV2K for a dataset"
    for find in (find_source, open_stream):
        with pytest.raises(DataError, match=expected):
            find("data/DIV2K")


def test_runs_of_0_1_0_find_their_dataset_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "photos").mkdir(parents=True)
    assert with_hub_prefix("owner/photos") == "owner/photos"  # a folder
    assert with_hub_prefix("owner/other") == "hf:owner/other"
    assert with_hub_prefix("photos") == "photos"


def with_no_worker(options: dict[str, Any]) -> dict[str, Any]:
    return {"workers": 0, **options}


def streamed(prepared: Path, count: int, **options: Any) -> tuple[Tensor, list[int]]:
    source = open_stream(str(prepared))
    loader = open_loader(source, crop=CROP, batch_size=5, seed=0, **with_no_worker(options))
    shards, batches = [], []
    for batch in itertools.islice(loader, count):
        batches.append(batch.hr)
        shards.append(loader.shard)
    loader.close()
    return torch.stack(batches), shards


@pytest.fixture(scope="module")
def three_shards(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of 8 pictures, each a round; one has a picture that cannot be used."""
    folder = tmp_path_factory.mktemp("shards")
    files = [Member(path.name, path.read_bytes()) for path in sorted((prepared / "png").iterdir())]
    for number in range(3):
        members = files[8 * number : 8 * number + 8]
        members.append(Member("bad.png", b"no picture"))
        (folder / f"{number}.parquet").write_bytes(parquet_bytes(members))
    return folder


def test_a_stream(three_shards: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "srgan"):
        batches, shards = streamed(three_shards, 30)
    assert len([r for r in caplog.records if "bad.png: not a picture" in r.getMessage()]) == 1
    assert torch.equal(streamed(three_shards, 30, workers=1)[0], batches)
    assert shards == [n // 6 for n in range(30)]  # 6 batches a round, a shard a round
    assert len({batch.numpy().tobytes() for batch in batches}) == 30
    resumed, at = streamed(three_shards, 12, first_shard=2)
    assert torch.equal(resumed, batches[12:24]) and at[0] == 2
    # Two processes read different shards.
    halves = [streamed(three_shards, 6, lanes=2, own=(rank,))[0] for rank in (0, 1)]
    assert not torch.equal(halves[0], halves[1])


def test_a_stream_of_nothing_usable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MOST_BAD", 10)
    (tmp_path / "x.parquet").write_bytes(parquet_bytes([Member("a.png", b"x")] * 3))
    with pytest.raises(DataError, match=r"^10 pictures in a row cannot be used: .*a\.png: not a"):
        streamed(tmp_path, 1)


@pytest.mark.parametrize("stream", [False, True])
def test_training_from_shards_stops_and_resumes(
    prepared: Path,
    tmp_path: Path,
    stream: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = small_config(prepared / "parquet", iterations=5)
    options = replace(config.data, stream=stream)
    config = replace(config, data=options, run=replace(config.run, validate_every=100))
    update = Trainer.update

    def stopping(self: Trainer, crops: CropBatch) -> dict[str, Tensor]:
        if self._iteration == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return update(self, crops)

    monkeypatch.setattr(Trainer, "update", stopping)
    with pytest.raises(SystemExit):
        train(config, tmp_path / "stopped", resume=False)
    monkeypatch.setattr(Trainer, "update", update)
    train(config, tmp_path / "stopped", resume=True)
    assert ("a stream does not resume to the bit" in caplog.text) == stream
    assert "have changed" not in caplog.text
    if not stream:
        train(config, tmp_path / "whole", resume=False)
        models = (tmp_path / name / "last.safetensors" for name in ("stopped", "whole"))
        assert_same_model(*models)


def test_a_stream_has_no_epochs(prepared: Path, tmp_path: Path) -> None:
    config = small_config(prepared / "parquet", epochs=1)
    config = replace(config, data=replace(config.data, stream=True))
    with pytest.raises(OptionError, match="give --iterations"):
        train(config, tmp_path / "run", resume=False)
