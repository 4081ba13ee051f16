"""Run folders: names, training states that survive kills, models of runs."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from srgan.pictures.parts import create, remove_parts
from srgan.training.run.folder import (
    claim_new_folder,
    existing_folder,
    load_state,
    newest_model,
    read_config,
    remove_failed_start,
    save_state,
    set_best_aside,
    write_config,
)
from srgan.training.run.lock import FolderInUseError, RunLock
from srgan.training.run.logbook import Logbook, RunError

# Saves one state after the other; every tensor of a state is filled with its iteration.
SAVER = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from srgan.training.run.folder import load_state, save_state

folder = Path(sys.argv[1])
random.seed(0)
torch.set_num_threads(1)
for _ in range(20):
    process = os.fork()
    if process == 0:
        iteration = load_state(folder)["iteration"]
        while True:
            iteration += 1
            weights = [torch.full((100_000,), float(iteration)) for _ in range(20)]
            save_state(folder, iteration, {"iteration": iteration, "weights": weights}, keep=2)
    time.sleep(random.uniform(0.02, 0.2))
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    state = load_state(folder)
    assert all((tensor == state["iteration"]).all() for tensor in state["weights"])
    assert len(list(folder.glob("state-*.pt"))) <= 3
    print(state["iteration"], flush=True)
"""

HOLDER = """
import sys, time
from pathlib import Path
from srgan.training.run.lock import RunLock

lock = RunLock(Path(sys.argv[1]))
print("locked", flush=True)
time.sleep(600)
"""


def test_killed_20_times_while_saving_there_is_always_a_whole_state(tmp_path: Path) -> None:
    save_state(tmp_path, 1, {"iteration": 1, "weights": [torch.ones(3)]}, keep=2)
    done = subprocess.run(
        [sys.executable, "-c", SAVER, str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    iterations = [int(line) for line in done.stdout.split()]
    assert len(iterations) == 20
    assert iterations == sorted(iterations)
    assert iterations[-1] > 20  # it was killed while it was saving
    assert not (set(tmp_path.glob(".*")) - set(tmp_path.glob(".srgan-*.part")))
    others = tmp_path / "download.part", tmp_path / "below" / ".srgan-0.part"
    for other in others:
        other.parent.mkdir(exist_ok=True)
        other.touch()
    used = tmp_path / ".srgan-used.part"
    with create(used):
        remove_parts(tmp_path)  # as a resumed run does
        assert used.exists() or os.name == "nt"
    remove_parts(tmp_path)
    assert not list(tmp_path.glob(".*"))
    assert all(other.exists() for other in others)


def test_the_newest_states_are_kept(tmp_path: Path) -> None:
    for iteration in (5, 10, 15, 20):
        save_state(tmp_path, iteration, {"iteration": iteration}, keep=3)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"state-{n:010d}.pt" for n in (10, 15, 20)]
    assert load_state(tmp_path)["iteration"] == 20


def test_a_damaged_state_is_passed_over_and_later_removed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for iteration in (10, 20):
        newest = save_state(tmp_path, iteration, {"iteration": iteration}, keep=2)
    newest.write_bytes(newest.read_bytes()[:100])
    assert load_state(tmp_path)["iteration"] == 10
    assert str(newest) in caplog.text
    save_state(tmp_path, 12, {"iteration": 12}, keep=2)
    assert load_state(tmp_path)["iteration"] == 12
    assert not newest.exists()


def test_a_state_never_executes_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path}/executed",)

    torch.save({"format": 1, "step": Evil()}, tmp_path / "state-0000000001.pt")
    with pytest.raises(RunError, match="states are damaged"):
        load_state(tmp_path)
    assert not (tmp_path / "executed").exists()


def test_states_of_another_version_and_missing_ones_are_explained(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no training state to resume"):
        load_state(tmp_path)
    torch.save({"format": 99}, tmp_path / "state-0000000001.pt")
    with pytest.raises(RunError, match="another version"):
        load_state(tmp_path)


def new_run(folder: Path | None, config: dict[str, object]) -> Path:
    """A run with one state, whose process has ended."""
    folder, lock = claim_new_folder("srresnet", folder)
    write_config(folder, config)
    save_state(folder, 1, {"iteration": 1}, keep=2)
    lock.release()
    return folder


def test_folders_of_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match="no run to resume"):
        existing_folder("srresnet", None)
    first = new_run(None, {"seed": 1})
    second = new_run(None, {"seed": 2})
    assert (first, second) == (Path("runs/srresnet"), Path("runs/srresnet-2"))
    assert read_config(second) == {"seed": 2}
    os.utime(first / "config.toml", (1, 1))
    assert existing_folder("srresnet", None) == second
    assert existing_folder("srresnet", first) == first
    with pytest.raises(RunError, match="already holds a run"):
        claim_new_folder("srresnet", first)
    with pytest.raises(RunError, match="holds no run"):
        existing_folder("srresnet", tmp_path)


def test_new_runs_that_start_at_once_get_different_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None has written anything when the next one starts."""
    monkeypatch.chdir(tmp_path)
    claimed = [claim_new_folder("srgan", None) for _ in range(3)]
    names = [folder.name for folder, _ in claimed]
    assert names == ["srgan", "srgan-2", "srgan-3"]
    for _, lock in claimed:
        lock.release()


def test_a_folder_has_one_process_at_a_time(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None and holder.stdout.readline() == "locked\n"
    for claim in (RunLock, lambda folder: claim_new_folder("srresnet", folder)):
        with pytest.raises(FolderInUseError, match=rf"^{tmp_path}: another srgan train is"):
            claim(tmp_path)
    holder.kill()  # no chance to release it
    holder.wait()
    RunLock(tmp_path).release()


def test_a_file_system_without_locks_is_good_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(_: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("srgan.training.run.lock._lock", unsupported)
    RunLock(tmp_path).release()


def test_a_failed_start_leaves_a_folder_that_can_be_started(tmp_path: Path) -> None:
    """One of srgan 0.1.0, which wrote the configuration first; and one that removes itself."""
    write_config(tmp_path, {"seed": 1})
    folder, lock = claim_new_folder("srresnet", tmp_path)
    remove_failed_start(folder, whole=False)
    lock.release()
    assert (folder / "config.toml").exists()  # it is not that start's own
    new, lock = claim_new_folder("srresnet", tmp_path / "new")
    Logbook(new).close()
    remove_failed_start(new, whole=True)
    lock.release()
    assert not new.exists()


def test_models_without_states_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "best.safetensors").touch()
    with pytest.raises(RunError, match="already holds a run"):
        claim_new_folder("srresnet", tmp_path)


def test_paths_that_are_not_utf_8(tmp_path: Path) -> None:
    path = os.fsdecode(b"/photos/\xe9t\xe9")  # Latin-1
    write_config(tmp_path, {"data_folder": path})
    assert read_config(tmp_path) == {"data_folder": path}
    assert b"/photos/\xe9t\xe9" in (tmp_path / "config.toml").read_bytes()


def test_a_best_model_of_other_pictures_is_kept(tmp_path: Path) -> None:
    assert set_best_aside(tmp_path, 3) is None
    (tmp_path / "best.safetensors").write_text("old")
    assert set_best_aside(tmp_path, 3) == tmp_path / "best-before-3.safetensors"
    assert (tmp_path / "best-before-3.safetensors").read_text() == "old"


def test_the_newest_model_of_a_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert newest_model("srresnet") is None
    for number, name in enumerate(("srresnet", "srresnet-2", "srgan")):
        model = Path("runs", name, "best.safetensors")
        model.parent.mkdir(parents=True)
        model.touch()
        os.utime(model, (number, number))
    assert newest_model("srresnet") == Path("runs/srresnet-2/best.safetensors")
