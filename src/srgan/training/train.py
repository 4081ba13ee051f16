"""Train: the function behind `srgan train`."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from srgan.errors import need
from srgan.pictures.parts import remove_parts
from srgan.training.config import TrainingConfig
from srgan.training.data.sources import with_hub_prefix
from srgan.training.process import StopSignals
from srgan.training.run import folder as run_folder
from srgan.training.run.lock import RunLock
from srgan.training.start import make_accelerator
from srgan.training.trainer import Trainer


def train(config: TrainingConfig, folder: Path | None, *, resume: bool) -> None:
    """Train to the end of the schedule, from the start or from the run folder's newest state.

    Args:
        folder: of the run; by default a new one in runs/, or the newest there if it resumes.
        resume: continue the run in the folder.

    Raises:
        SystemExit: 128 + N after signal N (SIGINT, SIGTERM, SIGHUP); the state is saved.
        DataError, RunError, CheckpointError, FeaturesError, OptionError: the run cannot start or
            cannot continue.
    """
    if config.run.log == "wandb":
        need("wandb", "--log wandb")
    accelerator = make_accelerator(config)
    with _claimed(config.name, folder, resume, accelerator) as claimed:
        state = run_folder.load_state(claimed) if resume else None
        if state is not None and isinstance(state["files"], str):  # saved by srgan 0.1.0
            config = _with_hub_prefix(config)
        trainer = Trainer(config, claimed, accelerator, state)
        if accelerator.is_main_process:
            if resume:
                run_folder.write_config(claimed, trainer.config.table())
            for written in (claimed, claimed / run_folder.SAMPLES):
                remove_parts(written)
        with StopSignals() as signals:
            stop = trainer.run(signals)
            accelerator.wait_for_everyone()  # torchrun ends all processes when the first one ends
    accelerator.end_training()
    if stop:
        raise SystemExit(128 + stop)


@contextmanager
def _claimed(
    method: str, folder: Path | None, resume: bool, accelerator: Accelerator
) -> Generator[Path]:
    """The folder of the run. The main process finds and locks it for all processes.

    A new folder disappears again if the start fails at once.
    """
    lock: RunLock | None = None
    given = folder is not None and folder.exists()
    chosen: list[Path | None] = [folder]
    if accelerator.is_main_process:
        if resume:
            existing = run_folder.existing_folder(method, folder)
            lock = RunLock(existing)
            chosen = [existing]
        else:
            new, lock = run_folder.claim_new_folder(method, folder)
            chosen = [new]
    (found,) = cast(list[Path], broadcast_object_list(chosen))
    try:
        yield found
    except BaseException:
        if lock is not None and not resume:
            run_folder.remove_failed_start(found, whole=not given)
        raise
    finally:
        if lock is not None:
            lock.release()


def _with_hub_prefix(config: TrainingConfig) -> TrainingConfig:
    """Name datasets of the hub as today: srgan 0.1.0 had no prefix."""
    data = config.data
    folders = data.data_folder, data.validation_folder
    training, validation = (folder and with_hub_prefix(str(folder)) for folder in folders)
    data = replace(data, data_folder=training, validation_folder=validation)
    return replace(config, data=data)
