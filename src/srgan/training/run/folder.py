"""The folder of a training run: configuration, training states, models.

It holds config.toml, state-ITERATION.pt, best.safetensors, last.safetensors, samples and the
logbook's files. Every file is written under another name, flushed to disk and renamed: a killed
process leaves the old file or the new one.
"""

import io
import logging
import tomllib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from srgan.models.file import save_checkpoint
from srgan.networks.architecture import Checkpoint
from srgan.pictures.files import replace_file
from srgan.training.run.logbook import RunError

RUNS = Path("runs")
CONFIG = "config.toml"
STATE = "state-{:010d}.pt"
SAMPLES = "samples"
STATES = "state-*.pt"
STATE_FORMAT = 1

log = logging.getLogger("srgan")


def new_folder(method: str, folder: Path | None) -> Path:
    """The folder of a new run: the given one, or else the first free of runs/METHOD, -2, ...

    Raises:
        RunError: the folder already holds a run.
    """
    if folder is None:
        folder = RUNS / method
        number = 1
        while (folder / CONFIG).exists():
            number += 1
            folder = RUNS / f"{method}-{number}"
    if (folder / CONFIG).exists():
        raise RunError(
            f"{folder}: already holds a run: continue it with --resume, or choose another "
            "--run-folder"
        )
    return folder


def existing_folder(method: str, folder: Path | None) -> Path:
    """The folder of the run to resume: the given one, or else the newest runs/METHOD*.

    Raises:
        RunError: there is none.
    """
    if folder is not None:
        if not (folder / CONFIG).is_file():
            raise RunError(f"{folder}: holds no run to resume ({CONFIG} is missing)")
        return folder
    configs = sorted(RUNS.glob(f"{method}*/{CONFIG}"), key=lambda path: path.stat().st_mtime)
    if not configs:
        raise RunError(f"{RUNS}/{method}*: no run to resume: give its --run-folder")
    return configs[-1].parent


def newest_model(method: str) -> Path | None:
    """The best or else the last model of the method's newest run in runs/, if there is one."""
    models = [*RUNS.glob(f"{method}*/last.safetensors"), *RUNS.glob(f"{method}*/best.safetensors")]
    newest = max(models, key=lambda path: path.stat().st_mtime, default=None)
    if newest is None:
        return None
    best = newest.with_name("best.safetensors")
    return best if best.exists() else newest


def write_config(folder: Path, table: dict[str, Any]) -> None:
    """Create the run folder and save the run's resolved options in it."""
    import tomli_w

    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / CONFIG, tomli_w.dumps(table).encode())


def read_config(folder: Path) -> dict[str, Any]:
    """The options that a run was started with.

    Raises:
        RunError: the file cannot be read.
    """
    try:
        return tomllib.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise RunError(f"{folder / CONFIG}: cannot be read ({error})") from error


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
    raise RunError(f"{folder}: no training state to resume: the run stopped before its first save")


def save_model(folder: Path, name: str, checkpoint: Checkpoint) -> Path:
    """Write NAME.safetensors, a model file for `srgan upscale --model`; returns its path."""
    path = folder / f"{name}.safetensors"
    save_checkpoint(path, checkpoint)
    return path


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
