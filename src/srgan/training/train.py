"""Train: the function behind `srgan train`."""

from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from srgan.pictures.files import remove_parts
from srgan.training.config import TrainingConfig
from srgan.training.process import StopSignals
from srgan.training.run import folder as run_folder
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
    accelerator = make_accelerator(config)
    state = None
    if resume:
        folder = run_folder.existing_folder(config.name, folder)
        state = run_folder.load_state(folder)
    else:
        folder = _new_folder(config.name, folder, accelerator)
    trainer = Trainer(config, folder, accelerator, state)
    if accelerator.is_main_process:
        run_folder.write_config(folder, trainer.config.table())
        for written in (folder, folder / run_folder.SAMPLES):
            remove_parts(written)
    with StopSignals() as signals:
        stop = trainer.run(signals)
        accelerator.wait_for_everyone()  # torchrun ends all processes when the first one ends
    accelerator.end_training()
    if stop:
        raise SystemExit(128 + stop)


def _new_folder(method: str, folder: Path | None, accelerator: Accelerator) -> Path:
    """The folder of a new run, which the main process chooses for all processes."""
    chosen: list[Path | None] = [None]
    if accelerator.is_main_process:
        chosen = [run_folder.new_folder(method, folder)]
    return broadcast_object_list(chosen)[0]
