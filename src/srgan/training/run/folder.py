"""The folder of a training run: configuration, training states, models.

It holds config.toml, state-ITERATION.pt, best.safetensors, last.safetensors, samples and the
logbook's files. Every file is written under another name, flushed to disk and renamed: a killed
process leaves the old file or the new one.
"""

import io
import itertools
import logging
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from srgan.models.file import save_checkpoint
from srgan.networks.architecture import Checkpoint
from srgan.pictures.files import replace_file
from srgan.training.config import parse_config
from srgan.training.run.files import METRICS, SAMPLES
from srgan.training.run.lock import LOCK, FolderInUseError, RunLock
from srgan.training.run.logbook import TENSORBOARD, RunError

RUNS = Path("runs")
CONFIG = "config.toml"
STATE = "state-{:010d}.pt"
STATES = "state-*.pt"
BEST, LAST = "best", "last"  # models
MODELS = (f"{BEST}*.safetensors", f"{LAST}.safetensors")
STATE_FORMAT = 1

log = logging.getLogger("srgan")


def claim_new_folder(method: str, folder: Path | None) -> tuple[Path, RunLock]:
    """Make and lock the folder of a new run: the given one, or the first free of runs/METHOD, -2.

    Two processes that ask at the same time get different folders. A folder counts as a run from
    its first training state on: one whose start failed can be given again.

    Raises:
        RunError: the folder already holds a run, or another process trains in it, or it cannot
            be made.
    """
    if folder is not None:
        _make(folder, exist_ok=True)
        lock = RunLock(folder)
        if holds_run(folder):
            lock.release()
            raise RunError(
                f"{folder}: already holds a run: continue it with --resume, or choose another "
                "--run-folder"
            )
        return folder, lock
    for number in itertools.count(1):
        folder = RUNS / (method if number == 1 else f"{method}-{number}")
        try:
            _make(folder, exist_ok=False)  # only one process can make it
            return folder, RunLock(folder)
        except (FileExistsError, FolderInUseError):
            continue
    raise AssertionError("unreachable")


def _make(folder: Path, *, exist_ok: bool) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(exist_ok=exist_ok)
    except FileExistsError as error:
        if exist_ok:
            raise RunError(f"{folder}: is a file: choose another --run-folder") from error
        raise
    except OSError as error:
        raise RunError(f"{folder}: cannot be made: {error.strerror}") from error


def holds_run(folder: Path) -> bool:
    """Whether the folder holds something to lose: a training state, or a model."""
    return any(any(folder.glob(kept)) for kept in (STATES, *MODELS))


def has_state(folder: Path) -> bool:
    """Whether the folder has a training state, so that its run can be resumed."""
    return any(folder.glob(STATES))


def remove_failed_start(folder: Path, *, whole: bool) -> None:
    """Clear a folder in which nothing has happened yet but a start that failed.

    Nothing is removed if it holds anything but the lock and the logbook's files, or if a line was
    logged.

    Args:
        whole: remove the folder, too.
    """
    log_files = list((folder / TENSORBOARD).glob("events.*"))
    written = [folder / METRICS, folder / TENSORBOARD, folder / LOCK]
    with suppress(OSError):
        if set(folder.iterdir()) <= set(written) and not _size(folder / METRICS):
            for path in [*log_files, folder / METRICS]:
                path.unlink(missing_ok=True)
            if (folder / TENSORBOARD).exists():
                (folder / TENSORBOARD).rmdir()
            (folder / LOCK).unlink(missing_ok=True)
            if whole:
                folder.rmdir()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def existing_folder(method: str, folder: Path | None) -> Path:
    """The folder of the run to resume: the given one, or else the newest runs/METHOD*.

    Raises:
        RunError: there is none.
    """
    if folder is not None:
        if not (folder / CONFIG).is_file():
            raise RunError(f"{folder}: holds no run to resume ({CONFIG} is missing)")
        return folder
    configs = [path for path in RUNS.glob(f"{method}*/{CONFIG}") if has_state(path.parent)]
    if not configs:
        raise RunError(f"{RUNS}/{method}*: no run to resume: give its --run-folder")
    return max(configs, key=lambda path: path.stat().st_mtime).parent


def newest_model(method: str) -> Path | None:
    """The best or else the last model of the method's newest run in runs/, if there is one."""
    models = [*RUNS.glob(f"{method}*/last.safetensors"), *RUNS.glob(f"{method}*/best.safetensors")]
    newest = max(models, key=lambda path: path.stat().st_mtime, default=None)
    if newest is None:
        return None
    best = newest.with_name("best.safetensors")
    return best if best.exists() else newest


def write_config(folder: Path, table: dict[str, Any]) -> None:
    """Save the run's resolved options in its folder.

    A path that is not UTF-8 stands in it byte by byte, as in the file system.
    """
    import tomli_w

    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / CONFIG, tomli_w.dumps(table).encode(errors="surrogateescape"))


def read_config(folder: Path) -> dict[str, Any]:
    """The options that a run was started with. Raises OptionError if they cannot be read."""
    return parse_config(folder / CONFIG)


def save_state(folder: Path, iteration: int, state: dict[str, Any], keep: int) -> Path:
    """Write a training state of tensors and plain values; then delete all but the newest `keep`.

    Returns:
        The state's path.

    Raises:
        OSError: it could not be written; the earlier states still exist.
    """
    buffer = io.BytesIO()
    torch.save({"format": STATE_FORMAT, **state}, buffer)
    path = folder / STATE.format(iteration)
    replace_file(path, buffer.getbuffer())
    older = sorted(other for other in folder.glob(STATES) if other < path)
    # This run resumed from a state before the newer ones, which were damaged.
    newer = [other for other in folder.glob(STATES) if other > path]
    for other in [*older[: max(len(older) + 1 - keep, 0)], *newer]:
        other.unlink(missing_ok=True)
    return path


def load_state(folder: Path) -> dict[str, Any]:
    """The newest training state that can be read, on the CPU.

    Raises:
        RunError: there is none, or it has another format.
    """
    for path in sorted(folder.glob(STATES), reverse=True):
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged file can raise nearly anything here
            log.warning("%s: damaged (%s); using the state before it", path, error)
            continue
        if state.get("format") != STATE_FORMAT:
            raise RunError(f"{path}: written by another version of srgan")
        return state
    if has_state(folder):
        raise RunError(f"{folder}: all its training states are damaged: start a new run")
    raise RunError(f"{folder}: no training state to resume: the run stopped before its first save")


def save_model(folder: Path, name: str, checkpoint: Checkpoint) -> Path:
    """Write NAME.safetensors, a model file for `srgan upscale --model`; returns its path."""
    path = folder / f"{name}.safetensors"
    save_checkpoint(path, checkpoint)
    return path


def has_best(folder: Path) -> bool:
    """Whether the folder has a best model."""
    return (folder / f"{BEST}.safetensors").exists()


def set_best_aside(folder: Path, iteration: int) -> Path | None:
    """Give the best model, of other validations, another name; None if there is none."""
    if not has_best(folder):
        return None
    aside = folder / f"{BEST}-before-{iteration}.safetensors"
    return (folder / f"{BEST}.safetensors").replace(aside)


def save_picture(folder: Path, iteration: int, picture: np.ndarray) -> None:
    """Write a sample grid, uint8 (H, W, 3), as samples/ITERATION.png."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    path = folder / SAMPLES / f"{iteration:010d}.png"
    path.parent.mkdir(exist_ok=True)
    replace_file(path, buffer.getbuffer())


@contextmanager
def surviving_a_full_disk(folder: Path, *, final: bool = False) -> Generator[None]:
    """Log a warning if the body cannot write a file; the run continues.

    Args:
        final: the run ends here, so that the file would be lost: raise an error instead.

    Raises:
        RunError: a file could not be written, and `final` is set.
    """
    try:
        yield
    except OSError as error:
        if final:
            raise RunError(f"{folder}: not saved: {error.strerror}") from error
        log.warning("%s: not saved, training continues: %s", folder, error.strerror)
