"""Bulk upscaling: what is done, skipped, refused, and what survives a worker's death."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image

from srgan.cluster.actors import Coordinator, WorkerActor
from srgan.cluster.bulk import BulkReport, bulk_upscale
from srgan.cluster.options import ClusterOptions
from srgan.cluster.plan import ERRORS, SourcePicture, plan
from srgan.cluster.worker import BulkJob, Outcome, Worker
from srgan.engines.options import EngineOptions
from srgan.errors import OptionError
from srgan.pictures import jobs
from srgan.pictures.options import DEFAULT_MAX_PIXELS, ResultOptions
from srgan.pictures.shards import Member, parquet_bytes
from srgan.pictures.stores import StoreError, open_store
from srgan.upscaling import batch
from srgan.upscaling.auto import ModelChooser
from srgan.upscaling.batch import Upscaled
from srgan.upscaling.options import AUTO
from tests.support.processes import wait_until_gone

pytestmark = pytest.mark.xdist_group("cluster")  # its fixtures are made once

ENGINE = EngineOptions(threads=1, precision="fp32")


def make_job(source: object, destination: object, model: object, **options: Any) -> BulkJob:
    return BulkJob(
        open_store(str(source)),
        open_store(str(destination)),
        ModelChooser(str(model), None, ENGINE),
        ResultOptions(**options),
        DEFAULT_MAX_PIXELS,
    )


def run(source: object, destination: object, model: Path, **options: Any) -> BulkReport:
    return bulk_upscale(make_job(source, destination, model, **options), ClusterOptions())


def expected(folder: Path, out: Path, model: object, **options: Any) -> dict[str, bytes]:
    """What `srgan upscale FOLDER -o OUT` writes."""
    models = ModelChooser(str(model), None, EngineOptions(precision="fp32"))
    result = ResultOptions(**options)
    for job in jobs.plan([str(folder)], str(out), result, models.scale):
        if job.source.name != "bad.png":
            picture, size = batch.inspect(job, result, models.scale, DEFAULT_MAX_PIXELS)
            upscaler = models.upscaler(models.choose(picture).model)
            batch.run(picture, size, job.target, upscaler, result)
    return contents(out)


def contents(folder: object) -> dict[str, bytes]:
    store = open_store(str(folder))
    return {name: store.read(name) for name in store.names()}


def rows_in(folder: str) -> list[tuple[str, bytes]]:
    """Names and bytes of the results in the parquet files of a folder."""
    files = [data for name, data in contents(folder).items() if name.endswith(".parquet")]
    tables = [pq.read_table(io.BytesIO(data)) for data in files]
    return [(row["path"], row["bytes"]) for table in tables for row in table["image"].to_pylist()]


def errors_in(folder: str) -> list[dict[str, str]]:
    lines = open_store(folder).read(ERRORS).decode().splitlines()
    return [json.loads(line) for line in lines]


def test_a_folder_becomes_what_srgan_upscale_makes_of_it(
    pictures: Path, memory: str, tmp_path: Path, small_model: Path
) -> None:
    report = run(pictures, memory, small_model, format="webp", quality=50)
    assert str(report) == f"11 of 12 pictures done, 1 failed: {memory}/{ERRORS}"
    found = contents(memory)
    error = json.loads(found.pop(ERRORS))
    assert error["input"] == f"{pictures}/bad.png"
    assert error["reason"].startswith(f"{pictures}/bad.png: not a picture")
    assert found == expected(pictures, tmp_path / "out", small_model, format="webp", quality=50)


def test_a_second_run_does_the_rest(
    pictures: Path, memory: str, small_model: Path, astronaut: np.ndarray
) -> None:
    run(pictures, memory, small_model)
    before = contents(memory)
    store = open_store(memory)
    store.remove("inner/03.png")
    store.write("01.jpg", b"what is there is not touched")
    Image.fromarray(astronaut[:60]).save(pictures / "bad.png")
    report = run(pictures, memory, small_model)
    assert (report.done, report.kept, report.failed) == (2, 10, 0)
    after = contents(memory)
    assert after["inner/03.png"] == before["inner/03.png"]
    assert after["01.jpg"] == b"what is there is not touched"
    assert ERRORS not in after
    again = run(pictures, memory, small_model, overwrite=True)
    assert (again.done, again.kept) == (12, 0)
    assert contents(memory)["01.jpg"] == before["01.jpg"]


def test_parquet_in_and_out(pictures: Path, memory: str, tmp_path: Path, small_model: Path) -> None:
    members = [
        Member(path.name, path.read_bytes())
        for path in sorted(pictures.rglob("*"))
        if path.suffix in (".png", ".jpg") and not path.name.startswith(".")
    ]
    source, large = open_store(f"{memory}/shards"), f"{memory}/large.parquet"
    source.write("a/one.parquet", parquet_bytes(members[:7]))
    source.write("two.parquet", parquet_bytes([Member("x.jpg", m.data) for m in members[7:]]))
    report = run(source.url, large, small_model)
    assert (report.done, report.kept, report.failed) == (11, 0, 1)
    found: dict[str, bytes] = {}
    for name, data in contents(large).items():
        if name != ERRORS:
            rows = pq.read_table(fsspec.filesystem("memory").open(f"/bulk/large.parquet/{name}"))
            assert data
            found |= {row["path"]: row["bytes"] for row in rows["image"].to_pylist()}
    files = expected(pictures, tmp_path / "out", small_model)
    by_name = {Path(name).name: data for name, data in files.items()}
    first = {f"a/one/{m.name}": by_name[m.name] for m in members[:7] if m.name != "bad.png"}
    # Names that are not unique: rows count. Their suffix is not known, so they become PNG.
    second = {f"two/{row:06d}.png" for row in range(5) if members[7 + row].name != "bad.png"}
    assert {name: data for name, data in found.items() if name.startswith("a/")} == first
    assert {name for name in found if name.startswith("two/")} == second
    again = run(source.url, large, small_model)
    assert (again.done, again.kept, again.failed) == (0, 11, 1)


def test_an_overwriting_run_replaces_all_parquet_files(
    pictures: Path, memory: str, small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("srgan.cluster.bulk.TASKS_PER_ACTOR", 1)  # tasks of all pictures
    large = f"{memory}/large.parquet"
    run(pictures, large, small_model)
    (pictures / "00.jpg").write_bytes((pictures / "01.jpg").read_bytes())
    assert run(pictures, large, small_model, overwrite=True).done == 12
    before = rows_in(large)
    assert len(before) == len(dict(before)) == 12
    # A picture that fails now keeps its old result, and its file loses those that are done anew.
    (pictures / "01.jpg").write_bytes(b"no picture any more")
    assert run(pictures, large, small_model, overwrite=True).failed == 2
    assert sorted(rows_in(large)) == sorted(before)


def test_results_that_are_there_twice_are_said(
    pictures: Path, memory: str, small_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As after a run with --overwrite that was stopped."""
    large = f"{memory}/large.parquet"
    run(pictures, large, small_model)
    members = [Member(*row) for row in rows_in(large)[:3]]
    open_store(large).write("part-of-a-stopped-run.parquet", parquet_bytes(members))
    assert run(pictures, large, small_model).kept == 11
    assert "3 results are there twice" in caplog.text
    assert "run it again with --overwrite" in caplog.text
    caplog.clear()
    run(pictures, large, small_model, overwrite=True)
    assert len(rows_in(large)) == 11
    run(pictures, large, small_model)
    assert not caplog.text


def test_an_overwriting_run_keeps_other_parquet_files(
    pictures: Path, memory: str, small_model: Path
) -> None:
    store = open_store(f"{memory}/large.parquet")
    table, file = pa.table({"image": [b"x", b"y"]}), io.BytesIO()
    pq.write_table(table, file)
    store.write("others.parquet", file.getvalue())
    run(pictures, store.url, small_model, overwrite=True)
    assert store.read("others.parquet") == file.getvalue()


def test_two_pictures_with_one_result(pictures: Path, memory: str, small_model: Path) -> None:
    (pictures / "01.png").write_bytes((pictures / "01.jpg").read_bytes())
    report = run(pictures, memory, small_model, format="png")
    assert (report.done, report.failed) == (11, 2)
    error = errors_in(memory)[0]
    assert "its result 01.png is also the result of 01.jpg: use" in error["reason"]
    assert error["output"] == f"{memory}/01.png"


def test_names_that_cannot_be_fail_alone(
    pictures: Path, memory: str, tmp_path: Path, small_model: Path
) -> None:
    """A store of objects has names that a disk cannot hold."""
    data = (pictures / "01.jpg").read_bytes()
    long = f"{'n' * 300}.jpg"
    source = open_store(f"{memory}/in")
    source.write("a.jpg", data)
    (tmp_path / "out/b.jpg").mkdir(parents=True)
    for name in ("b.jpg", "c.jpg", long):
        source.write(name, data)
    report = run(source.url, tmp_path / "out", small_model)
    assert (report.done, report.failed) == (2, 2)
    (tmp_path / "out/b.jpg").rmdir()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [ERRORS, "a.jpg", "c.jpg"]
    first, second = errors_in(str(tmp_path / "out"))
    assert (first["input"], second["input"]) == (f"{source.url}/b.jpg", f"{source.url}/{long}")
    assert "that is a folder" in first["reason"] and "too long" in second["reason"]
    report = run(source.url, tmp_path / "out", small_model)
    assert (report.done, report.kept, report.failed) == (1, 2, 1)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_a_pipe_fails_alone(pictures: Path, memory: str, small_model: Path) -> None:
    os.mkfifo(pictures / "03.png")
    job = make_job(pictures, memory, small_model)
    todo = plan(job.source, job.destination, job.result).todo
    outcomes: list[Outcome] = []
    task = [each for each in todo if each.file in ("03.png", "02.jpg")]
    work = threading.Thread(target=lambda: outcomes.extend(Worker(job).upscale(task)), daemon=True)
    work.start()
    work.join(20)
    os.close(os.open(pictures / "03.png", os.O_RDWR | os.O_NONBLOCK))  # ends one that waits
    reason = f"{pictures}/03.png: it is not an ordinary file: give a picture file"
    assert [each.reason for each in outcomes] == [None, reason]


def damaged(whole: bytes, damage: str) -> bytes:
    if damage == "footer":
        length = int.from_bytes(whole[-8:-4], "little")
        return whole[: -8 - length] + b"\xff" * length + whole[-8:]
    return whole[: len(whole) // 2] if damage == "cut" else b""


@pytest.mark.parametrize("damage", ["cut", "empty", "footer"])
def test_a_damaged_shard_fails_alone(
    pictures: Path, memory: str, small_model: Path, damage: str
) -> None:
    whole = parquet_bytes([Member("x.jpg", (pictures / "01.jpg").read_bytes())])
    store = open_store(f"{memory}/shards")
    store.write("a/bad.parquet", damaged(whole, damage))
    with pytest.raises(StoreError, match=r"shards/a/bad\.parquet: it is not a parquet file"):
        run(store.url, f"{memory}/out", small_model)
    store.write("good.parquet", whole)
    report = run(store.url, f"{memory}/out", small_model)
    assert (report.done, report.failed) == (1, 1)
    [error] = errors_in(f"{memory}/out")
    assert error["input"] == f"{store.url}/a/bad.parquet"
    assert error["output"] == f"{memory}/out/a/bad"
    assert error["reason"].startswith(f"{store.url}/a/bad.parquet: it is not a parquet file (")
    assert "\n" not in error["reason"]


def test_hidden_names_in_parquet_are_done_once(
    pictures: Path, memory: str, small_model: Path
) -> None:
    data = (pictures / "01.jpg").read_bytes()
    store = open_store(f"{memory}/shards")
    store.write("one.parquet", parquet_bytes([Member(".hid.jpg", data), Member("b.jpg", data)]))
    for done, kept in ((2, 0), (0, 2)):
        report = run(store.url, f"{memory}/out", small_model)
        assert (report.done, report.kept) == (done, kept)
    assert sorted(contents(f"{memory}/out")) == ["one/b.jpg", "one/hid.jpg"]


def test_a_picture_that_kills_workers_is_given_up(
    pictures: Path, memory: str, small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It alone: those before it are not done again, or where they were not written, once more."""

    class Killed(BaseException):
        pass

    def dying(self: Worker, picture: SourcePicture, data: bytes) -> Upscaled:
        if picture.target == "04.jpg":
            raise Killed
        begun.append(picture.target)
        return upscale(self, picture, data)

    job = make_job(pictures, memory, small_model)
    upscale, begun = Worker._upscale, []
    monkeypatch.setattr(Worker, "_upscale", dying)
    todo = plan(job.source, job.destination, job.result).todo
    task = [each for each in todo if each.target in ("01.jpg", "02.jpg", "04.jpg", "05.jpg")]
    coordinator = Coordinator(job)
    for _ in range(3):
        with pytest.raises(Killed):
            Worker(job, coordinator).upscale(task)
    job.destination.remove("02.jpg")  # as if it had not been written when the worker died
    reasons = [outcome.reason for outcome in Worker(job, coordinator).upscale(task)]
    assert reasons[:2] == [None, None] and reasons[3] is None
    assert reasons[2] and "04.jpg: it killed 3 workers" in reasons[2]
    assert begun == ["01.jpg", "02.jpg", "02.jpg", "05.jpg"]
    assert sorted(contents(memory)) == ["01.jpg", "02.jpg", "05.jpg"]
    assert coordinator.begin("01.jpg") == 1  # the task is forgotten


def test_what_cannot_be_is_said(pictures: Path, memory: str, small_model: Path) -> None:
    with pytest.raises(OptionError, match="source and destination are the same folder"):
        run(pictures, f"{pictures}/", small_model)
    with pytest.raises(OptionError, match="gifx: srgan cannot write this format"):
        run(pictures, memory, small_model, format="gifx")
    with pytest.raises(StoreError, match="no pictures and no parquet files"):
        run(f"{memory}/nothing", f"{memory}/out", small_model)
    with pytest.raises(StoreError, match="foo://x: Protocol not known"):
        run("foo://x", memory, small_model)
    open_store(memory).write("x.parquet", b"text")
    with pytest.raises(StoreError, match=r"x\.parquet: it is not a parquet file"):
        run(memory, f"{memory}/out", small_model)


def test_results_that_cannot_be_written_end_the_job(
    pictures: Path, memory: str, small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", full)
    with pytest.raises(StoreError, match=r"memory://bulk/.*: cannot be written \(no space left\)"):
        run(pictures, memory, small_model)


@pytest.mark.parametrize("fault", ["engine", "destination"])
def test_what_ends_a_job_is_handed_over_by_an_actor(
    pictures: Path, memory: str, small_model: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """Raised in an actor, it would have Ray print pages and start the actor again."""
    monkeypatch.setattr("ray.get", lambda value: value)
    if fault == "engine":
        models = ModelChooser(str(small_model), None, EngineOptions(compile=True))
        job = replace(make_job(pictures, memory, small_model), models=models)
        reason = "--compile is for the torch engine; add --engine torch"
    else:
        job = make_job(pictures, pictures.parent / "file" / "out", small_model)
        reason = f"{job.destination.root}: its folder is a file: choose another folder with -o"
    coordinator = Mock()
    coordinator.job.remote.return_value = job
    coordinator.begin.remote.return_value = 1
    todo = plan(job.source, job.destination, job.result).todo[:2]
    (pictures.parent / "file").write_text("no folder")
    task = pa.Table.from_pylist([{"task": [picture._asdict() for picture in todo]}])
    table = WorkerActor(coordinator)(task)
    assert [row["fatal"] for row in table.to_pylist()] == [reason]


def start(folder: Path, *arguments: object, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "srgan.cli", "cluster", "upscale", *map(str, arguments)],
        cwd=folder,
        env=os.environ | environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def actors(driver: int) -> list[int]:
    """The worker processes of a local cluster that upscale."""
    return [
        pid
        for pid in descendants(driver)
        if b"MapWorker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


def descendants(pid: int) -> list[int]:
    """Processes below another one; those that end meanwhile are passed over."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            continue
        if parent == pid:
            child = int(path.parent.name)
            found += [child, *descendants(child)]
    return found


def wait_for(condition: Any, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 200
    while not condition():
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


needs_linux = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux")


@needs_linux
def test_a_killed_worker_loses_nothing(tmp_path: Path, astronaut: np.ndarray) -> None:
    """The shipped model, so that there is time to kill one of the two."""
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for number in range(10):
        Image.fromarray(astronaut[number : number + 64]).save(folder / f"{number:02d}.jpg")
    (folder / "bad.jpg").write_text("no picture")
    process = start(tmp_path, folder, out, "--num-actors", 2, "--precision", "fp32")
    wait_for(lambda: len(list(out.glob("*.jpg"))) >= 3, process)
    killed = actors(process.pid)
    assert len(killed) == 2
    os.kill(killed[0], signal.SIGKILL)
    below = descendants(process.pid)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert said.endswith(f"10 of 11 pictures done, 1 failed: {out}/{ERRORS}\n"), said
    results = contents(out)
    errors = results.pop(ERRORS).decode().splitlines()
    assert [json.loads(line)["input"] for line in errors] == [f"{folder}/bad.jpg"]
    (folder / "bad.jpg").unlink()
    assert results == expected(folder, tmp_path / "again", AUTO)
    parts = [path for path in out.iterdir() if path.name.startswith(".")]
    assert len(parts) <= 1  # what the killed one was writing: it cannot take it away
    wait_until_gone(below)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An S3 server of its own on the loopback."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    fsspec.filesystem("s3", skip_instance_cache=True).mkdir("shop")
    yield "s3://shop"
    server.stop()


@needs_linux
def test_s3_and_a_stop(pictures: Path, tmp_path: Path, bucket: str) -> None:
    model = AUTO
    job = make_job(f"{bucket}/in", f"{bucket}/out", model)
    for path in pictures.rglob("*"):
        if path.is_file() and not path.name.startswith("."):
            job.source.write(path.relative_to(pictures).as_posix(), path.read_bytes())
    options = ("--num-actors", 1, "--precision", "fp32")
    process = start(tmp_path, f"{bucket}/in", f"{bucket}/out", *options)
    wait_for(lambda: len(job.destination.names()) >= 2, process)
    below = descendants(process.pid)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    wait_until_gone(below)
    found = contents(job.destination.url)
    assert 2 <= len(found) < 11
    rest = plan(job.source, job.destination, job.result)
    assert rest.kept == len(found.keys() - {ERRORS})
    outcomes = Worker(job).upscale(rest.todo)
    assert [each.name for each in outcomes if each.reason is not None] == ["bad.png"]
    results = contents(job.destination.url)
    results.pop(ERRORS, None)
    assert results == expected(pictures, tmp_path / "again", model)
