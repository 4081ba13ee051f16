import itertools
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as photographs
from torch import Tensor

from srgan.training.data import crops as data
from srgan.training.data import loader as data_loader
from srgan.training.data.crops import Crops, split
from srgan.training.data.loader import open_loader
from srgan.training.data.stored import DataError, Pictures, StoredPicture, find_pictures

CROP = 24


@pytest.fixture(autouse=True)
def small_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds of 32 crops from 8 pictures."""
    monkeypatch.setattr(data, "CROPS_PER_ROUND", 32)
    monkeypatch.setattr(data, "CROPS_PER_PICTURE", 4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parts of photographs, and two files that cannot be used."""
    folder = tmp_path_factory.mktemp("photographs")
    for number, photograph in enumerate([photographs.astronaut(), photographs.cat()] * 3):
        part = photograph[40 * number :][:80, 100:220]
        Image.fromarray(part).save(folder / f"{number}.jpg", quality=95)
    jpeg = (folder / "0.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (folder / "text.png").write_text("no picture")
    return folder


def first(
    files: Sequence[Path],
    count: int,
    *,
    workers: int = 0,
    lanes: int = 1,
    own: Sequence[int] = (0,),
    first_batch: int = 0,
    seed: int = 0,
) -> Tensor:
    """The first batches of a loader: count x N x 3 x CROP x CROP."""
    loader = open_loader(
        files,
        crop=CROP,
        batch_size=5,  # 6 batches a round
        seed=seed,
        workers=workers,
        lanes=lanes,
        own=own,
        first_batch=first_batch,
    )
    try:
        return torch.stack([batch.hr for batch in itertools.islice(loader, count)])
    finally:
        loader.close()


def save(folder: Path, name: str, pixels: np.ndarray) -> Path:
    folder.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(folder / name)
    return folder / name


def test_find_pictures(tmp_path: Path) -> None:
    for name in ("b.JPG", "a/z.png", "a/y.webp", ".hidden.jpg", ".git/x.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()  # found by its name, not opened
    expected = [tmp_path / "a" / "y.webp", tmp_path / "a" / "z.png", tmp_path / "b.JPG"]
    assert find_pictures(tmp_path) == expected


def test_find_no_pictures(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no pictures in this folder"):
        find_pictures(tmp_path)
    with pytest.raises(DataError, match=r"missing: this folder cannot be read \(No such file"):
        find_pictures(tmp_path / "missing")


def test_split() -> None:
    files = [Path(f"{number:02d}.jpg") for number in range(20)]
    training, validation = split(files, 6, seed=3)
    assert len(validation) == 6
    assert sorted(map(str, [*training, *validation])) == list(map(str, files))
    assert split(files, 6, seed=3) == (training, validation)
    assert split(files, 6, seed=4)[1] != validation
    assert len(split(files, 16, seed=0)[0]) == 10  # at least half are for training
    assert split(files[:1], 16, seed=0) == (files[:1], [])


def test_split_holds_out_whole_photographs(caplog: pytest.LogCaptureFixture) -> None:
    """Sub-images of one photograph overlap."""
    parts = [Path(f"{name}_s{n:03d}.png") for name in "abcdef" for n in range(1, 9)]
    whole = [Path(f"whole-{number}.jpg") for number in range(12)]
    files = [*parts, *whole]

    def names(pictures: Pictures) -> set[str]:
        return {Path(str(picture)).name.split("_s")[0] for picture in pictures}

    for seed in range(20):
        training, validation = split(files, 16, seed=seed)
        assert not names(training) & names(validation)
        assert len(training) >= len(files) / 2 and len(validation) == 16
        assert len(split(parts, 6, seed)[0]) == len(parts) - 8  # one photograph is enough
    assert not caplog.messages
    # One photograph, or frames of a film that have such names.
    training, validation = split(parts[:8], 16, seed=0)
    assert (len(training), len(validation)) == (4, 4)
    assert "parts of photographs that are trained on" in caplog.text


def test_batches(folder: Path) -> None:
    files = find_pictures(folder)
    loader = open_loader(files, crop=CROP, batch_size=5, seed=0, workers=0)
    batch = next(iter(loader)).hr
    assert batch.shape == (5, 3, CROP, CROP) and batch.dtype == torch.uint8
    assert batch.is_contiguous(memory_format=torch.channels_last)
    second = next(iter(loader)).hr
    assert torch.equal(torch.stack([batch, second]), first(files, 2))
    assert not torch.equal(first(files, 2, seed=1), first(files, 2))


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(
    folder: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = find_pictures(folder)
    if workers == 2:  # as in a container with little shared memory
        monkeypatch.setattr(data_loader, "_fits_shared_memory", lambda _size: False)
    assert torch.equal(first(files, 20, workers=workers), first(files, 20))


@pytest.mark.parametrize("resumed_at", [1, 6, 9, 13])
def test_resumed(folder: Path, resumed_at: int) -> None:
    files = find_pictures(folder)
    assert torch.equal(first(files, 8, first_batch=resumed_at), first(files, 21)[resumed_at:][:8])


def test_resumed_with_lanes(folder: Path) -> None:
    files = find_pictures(folder)
    whole = first(files, 15, lanes=4, own=(2, 3))
    assert torch.equal(first(files, 6, lanes=4, own=(2, 3), first_batch=9), whole[9:])


def test_two_processes_see_what_one_accumulates(folder: Path) -> None:
    files = find_pictures(folder)
    one = first(files, 8, lanes=2, own=(0, 1))
    two = [first(files, 8, lanes=2, own=(rank,)) for rank in (0, 1)]
    assert torch.equal(one, torch.cat(two, dim=1))
    assert not torch.equal(two[0], two[1])
    # Together they take every round once.
    rounds = first(files, 12).unflatten(0, (2, 6))
    assert torch.equal(two[0][:6], rounds[0]) and torch.equal(two[1][:6], rounds[1])


def test_every_picture_equally_often(tmp_path: Path) -> None:
    """5 pictures of one colour each, rounds of 8 pictures: 5 rounds are 8 visits of each."""
    for gray in range(5):
        save(tmp_path, f"{gray}.png", np.full((30, 40, 3), gray, np.uint8))
    crops = Crops(find_pictures(tmp_path), crop=CROP, batch_size=32, seed=0)
    rounds = [crops[index][0] for index in range(5)]
    counts = Counter(torch.cat(rounds)[:, 0, 0, 0].tolist())
    assert counts == dict.fromkeys(range(5), 32)
    first_pass = Counter(rounds[0][:, 0, 0, 0].tolist())
    assert len(first_pass) == 5  # no picture a second time before all were there
    runs = sum(1 for _ in itertools.groupby(rounds[0][:, 0, 0, 0].tolist()))
    assert runs > 12  # shuffled, not picture by picture


def test_the_first_batch_does_not_wait_for_its_round(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch of 5 crops needs 5 pictures at most; its round has 8 of them."""
    read: list[str] = []
    read_pixels = data.read_pixels

    def counting(path: Path | StoredPicture, at_least: int, *, gray: bool) -> np.ndarray:
        read.append(path.name)
        return read_pixels(path, at_least, gray=gray)

    monkeypatch.setattr(data, "read_pixels", counting)
    monkeypatch.setattr(data, "CROPS_PER_PICTURE", 1)  # 30 pictures a round
    files = [path for path in find_pictures(folder) if path.stem.isdigit()]
    loader = open_loader(files, crop=CROP, batch_size=5, seed=0, workers=0)
    assert read == []
    batches = [next(iter(loader)).hr for _ in range(12)]
    assert len(read) == 60  # each picture of both rounds once
    read.clear()
    next(iter(open_loader(files, crop=CROP, batch_size=5, seed=0, workers=0)))
    assert len(read) == 5
    whole = Crops(files, crop=CROP, batch_size=5, seed=0)
    expected = torch.cat([whole[0].crops, whole[1].crops]).permute(0, 3, 1, 2)
    assert torch.equal(torch.cat(batches), expected)


@pytest.mark.parametrize(
    ("crop", "batch_size", "crops"),
    [(96, 16, 2048), (192, 16, 2048), (192, 3, 2046), (384, 16, 512), (1024, 16, 64), (4096, 9, 9)],
)
def test_rounds_are_bounded_in_bytes(
    monkeypatch: pytest.MonkeyPatch, crop: int, batch_size: int, crops: int
) -> None:
    monkeypatch.setattr(data, "CROPS_PER_ROUND", 2048)
    rounds = data.Rounds(crop=crop, batch_size=batch_size, seed=0)
    assert rounds.crops_per_round == crops
    assert rounds.round_bytes <= 230e6 or crops == batch_size


def test_of_several_candidates_the_one_with_the_most_detail_is_taken(tmp_path: Path) -> None:
    """Half a photograph, half flat: crops of one candidate lie anywhere, of many on detail."""
    half = photographs.astronaut()[:128, :256].copy()
    half[:, 128:] = 128
    file = save(tmp_path, "half.png", half)

    def flat(candidates: int) -> int:
        crops = Crops([file], crop=CROP, batch_size=5, seed=0, candidates=candidates)[0].crops
        return sum(int(crop.float().std() < 1) for crop in crops)

    assert flat(1) > 5
    assert flat(8) == 0


def test_a_share_of_crops_is_one_colour_and_the_others_stay(folder: Path) -> None:
    def crops(share: float) -> Tensor:
        rounds = Crops(find_pictures(folder), crop=CROP, batch_size=32, seed=0, flat_share=share)
        return torch.cat([rounds[number].crops for number in range(8)])

    flat, untouched = crops(0.25), crops(0)
    is_flat = (flat == flat[:, :1, :1]).all(3).all(2).all(1)
    assert 40 < int(is_flat.sum()) < 90  # of 256, 64 on average
    assert torch.equal(flat[~is_flat], untouched[~is_flat])
    colours = flat[is_flat][:, 0, 0]
    assert len(colours.unique(dim=0)) > 30
    for value in (0, 255):  # pure colours are the hardest: each of R, G and B is often at its end
        share_at_the_end = (colours == value).float().mean()
        assert 0.2 < share_at_the_end < 0.5


def test_places_flips_and_turns(tmp_path: Path) -> None:
    part = photographs.astronaut()[100 : 100 + CROP, 200 : 200 + CROP]
    path = save(tmp_path, "whole.png", part)
    ways = [np.rot90(each, turn) for each in (part, part[::-1]) for turn in range(4)]
    crops = torch.cat([Crops([path], crop=CROP, batch_size=32, seed=0)[n][0] for n in range(8)])
    found = Counter(
        next(number for number, way in enumerate(ways) if (crop.numpy() == way).all())
        for crop in crops
    )
    assert sorted(found) == list(range(8))
    assert min(found.values()) > 16  # of 32 on average


def test_places_are_uniform_and_reach_the_edges(tmp_path: Path) -> None:
    """A picture whose samples are their own places."""
    height, width = CROP + 2, CROP + 3
    rows, columns = np.mgrid[:height, :width].astype(np.uint8)
    path = save(tmp_path, "places.png", np.dstack([rows, columns, rows]))
    crops = torch.cat([Crops([path], crop=CROP, batch_size=32, seed=0)[n][0] for n in range(20)])
    corners = Counter(map(tuple, crops[..., :2].amin((1, 2)).tolist()))
    assert sorted(corners) == [(top, left) for top in range(3) for left in range(4)]
    assert min(corners.values()) > 25  # of 53 on average


def test_gray_alpha_and_16_bits(tmp_path: Path) -> None:
    gray = photographs.camera()[:CROP, :CROP]
    deep = gray.astype(np.uint16) * 257
    deep[0] += 128  # rounded down
    deep[1] += 129  # rounded up
    alpha = np.dstack([gray, gray, gray, gray // 2])
    folders = {"gray": gray, "deep": deep, "alpha": alpha}
    expected = np.repeat(gray[..., None], 3, axis=2)
    for name, pixels in folders.items():
        found = data.read_pixels(save(tmp_path, f"{name}.png", pixels), CROP)
        offset = np.zeros_like(expected)
        offset[1] = name == "deep"
        assert (found == expected + offset).all(), name


def test_unusable_pictures(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """They are replaced by others, the same in every run, and said once."""
    small = save(tmp_path, "small.png", photographs.cat()[: CROP - 1, :200])
    files = [*find_pictures(folder), small]
    with caplog.at_level(logging.WARNING, "srgan"):
        batches = first(files, 40)
    assert sorted(record.getMessage() for record in caplog.records) == sorted(
        [
            f"{folder}/cut.jpg: the file is cut short: get a fresh copy; skipped",
            f"{folder}/text.png: not a picture srgan can read: convert it to one of jpeg, png, "
            "webp, tiff, avif, gif, bmp; skipped",
            f"{small}: 200 x 23 pixels, less than a crop of 24; skipped",
        ]
    )
    assert torch.equal(first(files, 5, first_batch=35), batches[35:])


def test_unusable_pictures_are_tried_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: Counter[str] = Counter()
    read_pixels = data.read_pixels

    def counting(path: Path | StoredPicture, at_least: int, *, gray: bool) -> np.ndarray:
        read[path.name] += 1
        return read_pixels(path, at_least, gray=gray)

    monkeypatch.setattr(data, "read_pixels", counting)
    crops = Crops(find_pictures(folder), crop=CROP, batch_size=32, seed=0)
    bad = [crops[index][1] for index in range(4)]
    assert read["cut.jpg"] == read["text.png"] == 1
    assert all(len(each) == 2 for each in bad[1:])  # each round says what it met


@pytest.mark.parametrize("workers", [0, 1])
def test_no_picture_is_usable(folder: Path, workers: int) -> None:
    files = [folder / "cut.jpg", folder / "text.png"]
    with pytest.raises(DataError) as error:
        first(files, 1, workers=workers)
    text = str(error.value)
    assert text.startswith("none of the 2 pictures can be used: ") and "\n" not in text
    assert "cut short" in text or "not a picture" in text


def test_no_files() -> None:
    with pytest.raises(DataError, match="no pictures to train on"):
        first([], 1)


SCRIPT = """
import logging, sys, time
from pathlib import Path
from srgan.training.data import loader as data
from srgan.training.data.stored import find_pictures
if __name__ == "__main__":
    files = find_pictures(Path(sys.argv[1]))
    logging.getLogger("srgan").disabled = True
    data._fits_shared_memory = lambda _size: sys.argv[2] == "shared"
    loader = data.open_loader(files, crop=24, batch_size=64, seed=0, workers=1)
    batches = iter(loader)
    for _ in range(33):  # of the second round: a worker made it, so it has started
        next(batches)
    try:
        for number, batch in enumerate(loader):
            if number == 0:  # Python's semaphores may leak where a signal comes before it
                print("ready", flush=True)
            time.sleep(0.2)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    if sys.argv[3] == "close":
        loader.close()
"""


def start(folder: Path, tmp_path: Path, *arguments: str) -> tuple[subprocess.Popen[str], list[int]]:
    """A training process of its own session, and its children."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, script, folder, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return process, [int(child) for child in children]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 20
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < deadline, "a worker outlived its main process"
        time.sleep(0.05)


needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux")


@needs_proc
@pytest.mark.parametrize("memory", ["shared", "pipe"])
def test_workers_end_when_the_main_process_is_killed(
    folder: Path, tmp_path: Path, memory: str
) -> None:
    process, children = start(folder, tmp_path, memory, "close")
    assert children
    process.kill()
    process.wait()
    wait_until_gone(children)


@needs_proc
@pytest.mark.parametrize("end", ["close", "leave"])
def test_signals_to_all_processes_reach_the_main_process_alone(
    folder: Path, tmp_path: Path, end: str
) -> None:
    """As Ctrl-C in a terminal does, and SIGTERM of Slurm, which training handles."""
    process, children = start(folder, tmp_path, "shared", end)
    for child in children:
        os.kill(child, signal.SIGTERM)
    time.sleep(0.5)
    assert all(map(is_running, children))
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert output == "interrupted\n" and errors == ""
    assert process.returncode == 0
    wait_until_gone(children)


def _read_a_batch(folder: Path) -> None:
    loader = open_loader(find_pictures(folder), crop=CROP, batch_size=5, seed=0, workers=2)
    next(iter(loader))  # and never closed


def test_a_child_process_ends_with_an_open_loader(folder: Path) -> None:
    """atexit does not run in a child of multiprocessing, and the workers block SIGTERM."""
    child = multiprocessing.get_context("spawn").Process(target=_read_a_batch, args=(folder,))
    child.start()
    child.join(120)
    ended = child.exitcode
    if ended is None:
        child.kill()
    assert ended == 0
