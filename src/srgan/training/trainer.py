"""The only training loop: data, step, averaged weights, log, validation, saves."""

import logging
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor

from srgan.degradation.bicubic import unit
from srgan.degradation.degrade import make_degrade, training_rng
from srgan.degradation.device import on_device
from srgan.networks.architecture import Architecture, Checkpoint
from srgan.training import messages
from srgan.training.checks import check_data
from srgan.training.config import TrainingConfig
from srgan.training.data.loader import CropBatch, CropLoader
from srgan.training.data.pairs import with_lr
from srgan.training.data.stored import Digests, digests
from srgan.training.ema import EMA
from srgan.training.process import StopSignals, agree
from srgan.training.run import folder as run_folder
from srgan.training.run.logbook import RunError
from srgan.training.run.report import Interval, Report
from srgan.training.schedule import rate_factor
from srgan.training.start import (
    find_data,
    lanes,
    make_step,
    make_validation,
    micro_batch,
    open_batches,
    pair_up,
    public_options,
    trained_checkpoint,
    with_iterations,
)
from srgan.training.step import Batch, rgb

BAD_IN_A_ROW = 5  # updates in a row with a gradient that is not finite, before the run stops
FP16_BAD_IN_A_ROW = 50  # the same in fp16, which finds its loss scale by such updates
EARLY = 500  # iterations in which a step does not warn: its values mean nothing yet

log = logging.getLogger("srgan")


class Trainer:
    """A run: its networks, its progress and its folder.

    Args:
        state: training state from which to resume.

    Attributes:
        config: of the run, with epochs as iterations.
        files: the training pictures.
        validation: on the held-out pictures.

    Raises:
        DataError, RunError, CheckpointError, FeaturesError, OptionError: the run cannot start.
    """

    def __init__(
        self,
        config: TrainingConfig,
        folder: Path,
        accelerator: Accelerator,
        state: dict[str, Any] | None = None,
    ) -> None:
        self._folder, self._accelerator = folder, accelerator
        self._micro_batch = micro_batch(config, accelerator)
        self._lanes = lanes(config, accelerator)
        self.files, held_out = find_data(config.data, folder)
        self.config = with_iterations(config, self.files)
        saved = Architecture(**state["architecture"]) if state is not None else None
        self._step = make_step(config, accelerator, saved)
        self._architecture = self._step.generator.architecture
        check_data(config, self._architecture, self._micro_batch)
        self._pairs = pair_up(config.data, self._architecture.scale, self.files, held_out)
        self._digests: Digests = digests(with_lr(self.files, self._pairs)) if self._main else {}
        self._degrade = make_degrade(config.data.degradation)
        self.validation = make_validation(config, accelerator, self._step, held_out, self._pairs)
        self._ema = EMA(self._step.generator, config.optimizer.ema)
        self._iteration = 0  # updates done
        self._shard = 0  # of a stream: the one being read
        self._elapsed = 0.0  # seconds of training, over all sessions
        self._bad = torch.zeros((), device=accelerator.device)  # skipped updates in a row
        self._warned = False  # the step warned at the last log; it warns
        self._stop = 0  # the signal at which all processes have agreed to stop
        self._impatient = False  # all processes have agreed that nothing improves any more
        if state is not None:
            self._load(state)

    @property
    def _main(self) -> bool:
        return self._accelerator.is_main_process

    def run(self, signals: StopSignals) -> int:
        """Train until the schedule ends or a signal arrives, and save.

        Returns:
            The signal's number, or 0.
        """
        options = self.config.run
        start = time.monotonic() - self._elapsed
        saved = self._elapsed
        with self._report() as report, closing(self.loader()) as loader:
            batches = iter(loader)
            interval = Interval()
            self._validate_if_due(report, signals)
            # After a skipped update the run goes on to the next good one: only that is saved.
            while not ((self._stop or self._impatient or self._progress() >= 1) and self._good()):
                crops = interval.next(batches)
                self._shard = loader.shard
                interval.add(self.update(crops))
                elapsed = time.monotonic() - start
                self._stop, self._elapsed = agree(self._accelerator, signals, elapsed)
                report.tick(self._iteration, self._progress())
                if self._iteration % options.log_every == 0:
                    self._log(interval, report)
                    interval = Interval()
                self._validate_if_due(report, signals)
                due = self._elapsed - saved >= 60 * options.save_minutes
                if (due or self._iteration % options.save_every == 0) and self._good():
                    self._save()
                    saved = self._elapsed
            self._save(final=True)
            if self._impatient:
                report.message(messages.stopped_early(self.validation.waited, self._iteration))
            report.message(self._last_words())
        return self._stop

    def _last_words(self) -> str:
        if self._stop:
            return messages.stopped(self.config.name, self._folder, self._iteration)
        return messages.farewell(self._folder, self.validation)

    def _report(self) -> Report:
        title = f"{self.config.name} in {self._folder}"
        total = None if self.config.schedule.minutes else self.config.schedule.iterations
        options = public_options(self.config) if self.config.run.log == "wandb" else None
        return Report(self._folder, title, self._iteration, total, self._main, options)

    def _progress(self) -> float:
        """The part of the run that is done, 0 to 1."""
        schedule = self.config.schedule
        progress = self._iteration / schedule.iterations
        if schedule.minutes is not None:
            progress = max(progress, self._elapsed / (60 * schedule.minutes))
        return min(progress, 1.0)

    def loader(self) -> CropLoader:
        """Batches of this process, from the first one that the run has not seen."""
        return open_batches(
            self.config,
            self._accelerator,
            self.files,
            self._pairs,
            self._iteration,
            self._shard,
        )

    def update(self, crops: CropBatch) -> dict[str, Tensor]:
        """Run one iteration.

        Args:
            crops: accumulate * micro-batch of them.

        Returns:
            The step's values, scalars by name.
        """
        batches: list[Batch] = []
        given = [None] * len(self._lanes) if crops.lr is None else self._parts(crops.lr)
        for lane, hr, lr in zip(self._lanes, self._parts(crops.hr), given, strict=True):
            rng = training_rng(self.config.data.seed, self._iteration, lane)
            # LR that is given is degraded at its own size: bicubic leaves it as it is.
            source, scale = (hr, self._architecture.scale) if lr is None else (lr, 1)
            batches.append(Batch(rgb(self._degrade(source, scale, rng)), rgb(unit(hr))))
        schedule = self.config.schedule
        self._step.scale_rates(rate_factor(schedule, self._iteration, self._progress()))
        values = self._step(batches)
        self._iteration += 1
        self._bad = (self._bad + 1) * (1 - values["finite"])
        self._ema.update(self._iteration)
        return values

    def _parts(self, crops: Tensor) -> Sequence[Tensor]:
        """Crops on the device, a micro-batch each."""
        return torch.split(on_device(crops, self._accelerator.device), self._micro_batch)

    def _good(self) -> bool:
        """Whether the last update was made and the weights are finite. It waits for the device.

        Raises:
            RunError: too many updates in a row were skipped. fp16 skips some while it looks for
                the loss scale.
        """
        state = torch.stack([self._bad, self._ema.finite().float()]).cpu()
        bad, finite = float(state[0]), float(state[1])
        if bad >= (FP16_BAD_IN_A_ROW if self._accelerator.scaler else BAD_IN_A_ROW):
            raise RunError(messages.not_finite(self._folder, int(bad), self._iteration))
        return bad == 0 and finite == 1

    def _log(self, interval: Interval, report: Report) -> None:
        schedule = self.config.schedule
        values = interval.means(self._accelerator, schedule.batch_size)
        values["schedule/factor"] = rate_factor(schedule, self._iteration, self._progress())
        report.values(self._iteration, self._progress(), values)
        skipped = round((1 - values["finite"]) * interval.iterations)
        if skipped and self._main and not self._accelerator.scaler:
            log.warning(messages.skipped(skipped, interval.iterations, self._iteration))
        self._good()
        warning = self._step.warning(values) if self._iteration >= EARLY else None
        if warning is not None and self._main and not self._warned:
            log.warning("iteration %d: %s", self._iteration, warning)
        self._warned = warning is not None

    def _validate_if_due(self, report: Report, signals: StopSignals) -> None:
        """Validate at intervals and at the end. A resumed run catches up on a missed validation."""
        due = self._iteration % self.config.run.validate_every == 0 or self._progress() >= 1
        if not due or not self._good():
            return
        if self.validation.pairs and self.validation.iteration != self._iteration:
            self._validate(report, signals)
        # A signal may have ended the validation: the resumed run must find the same iteration.
        self._stop, _ = agree(self._accelerator, signals, self._elapsed)
        if (patience := self.config.schedule.patience) is not None:
            (waited,) = cast(list[int], broadcast_object_list([self.validation.waited]))
            self._impatient = waited >= patience

    def _validate(self, report: Report, signals: StopSignals) -> None:
        validation = self.validation
        grid = validation.run(self.checkpoint(), self._iteration, lambda: signals.received > 0)
        if grid is None:
            return
        report.message(messages.validation_line(validation, self._keep_if_best()))
        values = {f"validation/{name}": value for name, value in validation.values.items()}
        values |= {f"validation/bicubic_{name}": v for name, v in validation.bicubic.items()}
        report.values(self._iteration, self._progress(), values)
        report.picture(self._iteration, grid)
        with run_folder.surviving_a_full_disk(self._folder):
            run_folder.save_picture(self._folder, self._iteration, grid)

    def _keep_if_best(self) -> bool:
        """Write the model if it is the best so far. It counts as the best once it is written."""
        if not self.validation.is_best:
            return False
        with run_folder.surviving_a_full_disk(self._folder):
            run_folder.save_model(self._folder, run_folder.BEST, self.checkpoint())
            self.validation.keep_best()
            if not run_folder.has_state(self._folder):
                self._save()  # a folder with a model can be resumed
            return True
        return False

    def checkpoint(self) -> Checkpoint:
        """The averaged weights as a model file."""
        return trained_checkpoint(
            self._architecture,
            self._ema.state_dict(),
            self.config,
            {"iterations": self._iteration, "minutes": round(self._elapsed / 60, 1)},
            {**self.validation.values, "iteration": self.validation.iteration},
        )

    def _save(self, *, final: bool = False) -> None:
        """Write the training state and the last model; only where these are `_good`."""
        if not self._main:
            return
        with run_folder.surviving_a_full_disk(self._folder, final=final):
            if not run_folder.has_state(self._folder):
                run_folder.write_config(self._folder, self.config.table())
            run_folder.save_state(self._folder, self._iteration, self.state(), self.config.run.keep)
            run_folder.save_model(self._folder, run_folder.LAST, self.checkpoint())

    def state(self) -> dict[str, Any]:
        """The training state: everything from which the run resumes."""
        scaler = self._accelerator.scaler
        return {
            "architecture": asdict(self._architecture),
            "files": self._digests,
            "iteration": self._iteration,
            "shard": self._shard,
            "elapsed": self._elapsed,
            **self.validation.state_dict(),
            "step": self._step.state_dict(),
            "ema": self._ema.state_dict(),
            "scaler": scaler.state_dict() if scaler else None,
        }

    def _load(self, state: dict[str, Any]) -> None:
        """Resume from a training state. Raises RunError if it is that of another method."""
        try:
            self._step.load_state_dict(state["step"])
            self._ema.load_state_dict(state["ema"])
        except (KeyError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise RunError(f"{self._folder}: the state does not fit the run: {reason}") from error
        if self._accelerator.scaler and state["scaler"]:
            self._accelerator.scaler.load_state_dict(state["scaler"])
        self._iteration, self._elapsed = state["iteration"], state["elapsed"]
        self._shard = state.get("shard", 0)
        changed = self.validation.load_state_dict(state)
        if not self._main:
            return
        for warning in messages.data_warnings(self.files, state["files"], self._digests):
            log.warning(warning)
        if changed is not None:
            aside = run_folder.set_best_aside(self._folder, self._iteration)
            log.warning(
                "%s: the best model is chosen anew%s",
                changed,
                f"; the one before is {aside}" if aside else "",
            )
        if not run_folder.has_best(self._folder):
            self.validation.forget_best()
