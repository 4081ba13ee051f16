import json
import logging
import threading
from pathlib import Path

import numpy as np
import pytest
from skimage import data

from srgan.training.run import logbook
from srgan.training.run.logbook import Logbook, RunError, read_metrics

pytest.importorskip("torch")
pytest.importorskip("tensorboard")


def scalars(folder: Path, name: str) -> list[tuple[int, float]]:
    """What TensorBoard shows."""
    return [(event.step, event.value) for event in _accumulator(folder).Scalars(name)]


def _accumulator(folder: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder / "tensorboard"))
    accumulator.Reload()
    return accumulator


def test_write_reaches_both(tmp_path: Path) -> None:
    with Logbook(tmp_path) as book:
        book.write(10, {"loss/pixel": 0.5, "speed/data_wait": 0})
        assert read_metrics(tmp_path) == [  # before the logbook is closed
            {"iteration": 10, "loss/pixel": 0.5, "speed/data_wait": 0}
        ]
        book.write(20, {"loss/pixel": 0.25})
        book.write(20, {"validation/psnr_y": 28.5})
    assert [line["iteration"] for line in read_metrics(tmp_path)] == [10, 20, 20]
    assert scalars(tmp_path, "loss/pixel") == [(10, 0.5), (20, 0.25)]
    assert scalars(tmp_path, "validation/psnr_y") == [(20, 28.5)]


def test_not_finite_is_null(tmp_path: Path) -> None:
    values = {"a": float("nan"), "b": float("inf"), "c": float("-inf"), "d": 1.0}
    with Logbook(tmp_path) as book:
        book.write(1, values)
    text = (tmp_path / "metrics.jsonl").read_text()
    assert text == '{"iteration": 1, "a": null, "b": null, "c": null, "d": 1.0}\n'


def test_picture(tmp_path: Path) -> None:
    with Logbook(tmp_path) as book:
        book.picture(5, "samples", data.astronaut()[:64, :48])
    (event,) = _accumulator(tmp_path).Images("samples")
    assert (event.step, event.width, event.height) == (5, 48, 64)
    assert read_metrics(tmp_path) == []


def test_resumed_run_has_no_line_twice(tmp_path: Path) -> None:
    with Logbook(tmp_path) as book:
        for iteration in (10, 20, 30):
            book.write(iteration, {"loss/pixel": iteration})
    # TensorBoard reads files in the order of their names: the second of the start, then a counter
    # whose 10 comes before 9. A run is never resumed within the second.
    (events,) = (tmp_path / "tensorboard").iterdir()
    events.rename(events.with_name("events.out.tfevents.1000000000.host.1.0"))
    with Logbook(tmp_path, 20) as book:
        book.write(30, {"loss/pixel": 31})
    lines = read_metrics(tmp_path)
    assert [(line["iteration"], line["loss/pixel"]) for line in lines] == [
        (10, 10),
        (20, 20),
        (30, 31),
    ]
    assert scalars(tmp_path, "loss/pixel") == [(10, 10), (20, 20), (30, 31)]


def test_new_run_starts_from_nothing(tmp_path: Path) -> None:
    with Logbook(tmp_path) as book:
        book.write(10, {"loss/pixel": 1})
    with Logbook(tmp_path):
        pass
    assert read_metrics(tmp_path) == []


@pytest.mark.parametrize(
    "torn", [b'{"iteration": 30, "lo', b"\0\0\0\0\n", b"\xff", b"[1]", b"{}\n"]
)
def test_torn_last_line(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"iteration": 10}\n{"iteration": 20}\n' + torn)
    assert read_metrics(tmp_path) == [{"iteration": 10}, {"iteration": 20}]
    with Logbook(tmp_path, 30) as book:
        book.write(40, {"a": 1})
    assert [json.loads(line)["iteration"] for line in path.read_text().splitlines()] == [10, 20, 40]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["metrics.jsonl", "tensorboard"]


def test_whole_log_is_not_rewritten(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"iteration": 10}\n')
    before = path.stat().st_ino
    Logbook(tmp_path, 10).close()
    assert path.stat().st_ino == before


def test_full_disk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training continues with one warning; no line is torn; later lines are written again."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # TensorBoard's thread ends with the error, as it would with a quota.
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    with Logbook(tmp_path) as book, caplog.at_level(logging.WARNING, "srgan"):
        book.write(1, {"loss/pixel": 1})
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
        try:
            for iteration in range(2, 20):
                book.write(iteration, {"loss/pixel": iteration})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        book.write(20, {"loss/pixel": 20})
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    iterations = [json.loads(line)["iteration"] for line in lines]
    assert iterations == [1, 2, 20]
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}: cannot write the log, training continues: File too large"
    ]


def test_nearly_full_disk_spares_tensorboard(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Logbook(tmp_path) as book, caplog.at_level(logging.WARNING, "srgan"):
        with monkeypatch.context() as patch:
            patch.setattr(logbook, "ROOM", 2**80)
            book.write(1, {"a": 1})
            book.picture(1, "samples", np.zeros((8, 8, 3), np.uint8))
        book.write(2, {"a": 2})
    assert scalars(tmp_path, "a") == [(2, 2)]
    assert [line["a"] for line in read_metrics(tmp_path)] == [1, 2]
    assert len(caplog.records) == 1
    assert "the disk is full" in caplog.text


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(RunError, match=r"metrics\.jsonl: cannot be written"):
        Logbook(tmp_path)
    (tmp_path / "metrics.jsonl").rmdir()
    (tmp_path / "tensorboard").write_text("a file")
    with pytest.raises(RunError, match="tensorboard: cannot be written"):
        Logbook(tmp_path)


def test_read_without_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"nowhere: not a run folder: metrics\.jsonl is missing$"):
        read_metrics(tmp_path / "nowhere")
