"""The only training loop: data, step, averaged weights, log, validation, saves."""

import logging
import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor

from srgan.degradation.bicubic import unit
from srgan.degradation.degrade import make_degrade, training_rng
from srgan.engines.base import EngineError
from srgan.errors import OptionError
from srgan.networks.architecture import Architecture, Checkpoint
from srgan.pictures.files import remove_parts
from srgan.training.config import TrainingConfig
from srgan.training.data.loader import CropLoader, open_loader
from srgan.training.data.sources import ShardStream
from srgan.training.data.stored import Pictures, digest
from srgan.training.ema import EMA
from srgan.training.process import StopSignals
from srgan.training.run import folder as run_folder
from srgan.training.run.logbook import RunError
from srgan.training.run.report import Interval, Report
from srgan.training.schedule import rate_factor
from srgan.training.start import (
    find_data,
    make_accelerator,
    make_step,
    micro_batch,
    trained_checkpoint,
    with_iterations,
)
from srgan.training.step import Batch
from srgan.training.validation import ValidationPair, read_pairs, validate

BAD_IN_A_ROW = 5  # updates skipped because a gradient was not finite, before the run stops
FP16_BAD_IN_A_ROW = 50  # the same in fp16, whose loss scale is found by such updates
EARLY = 500  # iterations in which a step's figures mean nothing yet

log = logging.getLogger("srgan")


def train(config: TrainingConfig, folder: Path | None, *, resume: bool) -> None:
    """Train from the start, or from the run folder's newest state, to the end of the schedule.

    Args:
        folder: of the run; by default a new one in runs/, or the newest there to resume.

    Raises:
        SystemExit: 128 + N after signal N (SIGINT, SIGTERM, SIGHUP); the state is saved.
        DataError, RunError, CheckpointError, FeaturesError, OptionError: it cannot start, or
            cannot go on.
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
    """The main process chooses it and tells the others."""
    chosen: list[Any] = [None]
    if accelerator.is_main_process:
        chosen = [run_folder.new_folder(method, folder)]
    return broadcast_object_list(chosen)[0]


class Trainer:
    """A run: its networks, how far it is, and its folder.

    Args:
        state: of an earlier part of the run, which it goes on from.
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
        self._files, held_out = find_data(config.data, folder)
        self.config = with_iterations(config, self._files)
        saved = Architecture(**state["architecture"]) if state is not None else None
        self._step = make_step(config, accelerator, saved)
        self._architecture = self._step.generator.architecture
        if config.data.crop % self._architecture.scale:
            raise OptionError(f"--crop must be a multiple of the scale {self._architecture.scale}")
        self._degrade = make_degrade(config.data.degradation)
        self._pairs = self._read_pairs(held_out)
        self._ema = EMA(self._step.generator, config.optimizer.ema)
        self._iteration = 0  # updates behind
        self._shard = 0  # of a stream, where it is read from
        self._elapsed = 0.0  # seconds of training behind, over all sessions
        self._validated = 0  # the iteration of the last validation
        self._figures: dict[str, float] = {}  # of the last validation
        self._best: float | None = None  # of the step's criterion; the higher the better
        self._bad = 0  # skipped updates in a row
        self._warned = False  # the step has something to say
        self._stop = 0  # the signal that all processes have agreed to stop at
        if state is not None:
            self._load(state)

    @property
    def _main(self) -> bool:
        return self._accelerator.is_main_process

    def _read_pairs(self, held_out: Pictures) -> list[ValidationPair]:
        """What the main process validates on."""
        if not self._main:
            return []
        scale, degradation = self._architecture.scale, self.config.data.degradation
        pairs = read_pairs(held_out, scale, make_degrade(degradation, whole=True))
        if not pairs:
            log.warning("there are no pictures to validate on: there will be no best model")
        return pairs

    def run(self, signals: StopSignals) -> int:
        """Train until the schedule ends or a signal comes, and save; returns the signal or 0."""
        options = self.config.run
        start = time.monotonic() - self._elapsed
        saved = self._elapsed
        with self._report() as report, closing(self.loader()) as loader:
            batches = iter(loader)
            interval = Interval()
            self._validate_if_due(report, signals)
            while not self._stop and self._progress() < 1:
                hr = interval.next(batches)
                self._shard = loader.shard
                interval.add(self.update(hr))
                self._elapsed = self._agree(signals, time.monotonic() - start)
                report.tick(self._iteration, self._progress())
                if self._iteration % options.log_every == 0:
                    self._log(interval, report)
                    interval = Interval()
                self._validate_if_due(report, signals)
                due = self._elapsed - saved >= 60 * options.save_minutes
                if (due or self._iteration % options.save_every == 0) and not self._bad:
                    self._save()
                    saved = self._elapsed
            self._save(final=True)
            report.message(self._farewell())
        return self._stop

    def _farewell(self) -> str:
        if self._stop:
            return (
                f"saved at iteration {self._iteration}; go on with: srgan train "
                f"{self.config.name} --resume --run-folder {self._folder}"
            )
        model = "last" if self._best is None else "best"
        return f"trained: srgan upscale photo.jpg --model {self._folder}/{model}.safetensors"

    def _report(self) -> Report:
        title = f"{self.config.name} in {self._folder}"
        total = None if self.config.schedule.minutes else self.config.schedule.iterations
        return Report(self._folder, title, self._iteration, total, self._main)

    def _progress(self) -> float:
        """The part of the run that is behind, 0 to 1."""
        schedule = self.config.schedule
        progress = self._iteration / schedule.iterations
        if schedule.minutes is not None:
            progress = max(progress, self._elapsed / (60 * schedule.minutes))
        return min(progress, 1.0)

    def loader(self) -> CropLoader:
        """Batches of this process, from the first one that is not behind."""
        data, streams = self.config.data, self._streams()
        return open_loader(
            self._files,
            crop=data.crop,
            candidates=data.candidates,
            batch_size=self._micro_batch,
            seed=data.seed,
            streams=self._accelerator.num_processes * len(streams),
            own=streams,
            workers=data.workers,
            first_batch=self._iteration,
            first_shard=self._shard,
        )

    def _streams(self) -> range:
        """The micro-batches that are this process's, among those of an iteration."""
        parts = self.config.run.accumulate
        first = self._accelerator.process_index * parts
        return range(first, first + parts)

    def update(self, hr: Tensor) -> dict[str, Tensor]:
        """One iteration on uint8 HR crops."""
        hr = hr.to(self._accelerator.device, non_blocking=True)
        batches = []
        for stream, part in zip(self._streams(), hr.split(self._micro_batch), strict=True):
            rng = training_rng(self.config.data.seed, self._iteration, stream)
            lr = self._degrade(part, self._architecture.scale, rng)
            batches.append(Batch(lr, unit(part)))
        schedule = self.config.schedule
        self._step.scale_rates(rate_factor(schedule, self._iteration, self._progress()))
        values = self._step(batches)
        self._iteration += 1
        self._check(bool(values["finite"]))
        self._ema.update(self._iteration)
        return values

    def _check(self, finite: bool) -> None:
        """Count updates that were skipped; stop where there are too many in a row.

        In fp16 some are: the loss scale is looked for that way.
        """
        self._bad = 0 if finite else self._bad + 1
        if finite:
            return
        self._ema.repair()
        scaler = self._accelerator.scaler
        if self._bad >= (FP16_BAD_IN_A_ROW if scaler else BAD_IN_A_ROW):
            raise RunError(
                f"{self._folder}: gradients were not finite in {self._bad} iterations in a row, "
                f"up to {self._iteration}; the last saved state is good: --resume it with a "
                "lower --rate, with --clip 1 or with --precision fp32"
            )
        if self._main and not scaler:
            log.warning("iteration %d: a gradient is not finite; skipped", self._iteration)

    def _agree(self, signals: StopSignals, elapsed: float) -> float:
        """Have all processes stop in the same iteration and go by the main one's clock."""
        if self._accelerator.num_processes == 1:
            self._stop = signals.received
            return elapsed
        mine = torch.tensor([[signals.received, elapsed]], device=self._accelerator.device)
        everybodys = self._accelerator.gather(mine)
        assert isinstance(everybodys, Tensor)
        self._stop = int(everybodys[:, 0].max())
        return float(everybodys[0, 1])

    def _log(self, interval: Interval, report: Report) -> None:
        schedule = self.config.schedule
        values = interval.means(self._accelerator, schedule.batch_size)
        values["schedule/factor"] = rate_factor(schedule, self._iteration, self._progress())
        report.values(self._iteration, self._progress(), values)
        warning = self._step.warning(values) if self._iteration >= EARLY else None
        if warning is not None and self._main and not self._warned:
            log.warning("iteration %d: %s", self._iteration, warning)
        self._warned = warning is not None

    def _validate_if_due(self, report: Report, signals: StopSignals) -> None:
        """Validate every so often and at the end; what a stop prevented is made up for."""
        due = self._iteration % self.config.run.validate_every == 0 or self._progress() >= 1
        if not self._pairs or not due or self._bad or self._validated == self._iteration:
            return
        checkpoint = self._checkpoint()
        try:
            found = validate(checkpoint, self._pairs, self._measure, lambda: signals.received > 0)
        except (EngineError, ValueError) as error:  # weights that have exploded
            log.warning("validation at %d: %s", self._iteration, error)
            return
        if found is None:
            return
        self._figures, grid = found
        self._validated = self._iteration
        best = self._is_best(self._figures)
        text = ", ".join(f"{name} {value:.4g}" for name, value in self._figures.items())
        report.message(f"validation at {self._iteration}: {text}{' (best)' if best else ''}")
        values = {f"validation/{name}": value for name, value in self._figures.items()}
        report.values(self._iteration, self._progress(), values)
        report.picture(self._iteration, grid)
        with run_folder.surviving_a_full_disk(self._folder):
            run_folder.save_picture(self._folder, self._iteration, grid)
            if best:
                run_folder.save_model(self._folder, "best", self._checkpoint())

    def _is_best(self, figures: dict[str, float]) -> bool:
        name = self._step.criterion.removeprefix("-")
        score = figures[name] if name == self._step.criterion else -figures[name]
        if self._best is not None and not score > self._best:
            return False
        self._best = score
        return True

    def _measure(self, sr: np.ndarray, hr: np.ndarray) -> dict[str, float]:
        """The step's own figures of uint8 (H, W, 3) pictures."""
        tensors = [torch.from_numpy(x).permute(2, 0, 1)[None] for x in (sr, hr)]
        device = self._accelerator.device
        return self._step.measure(*(unit(tensor.to(device)) for tensor in tensors))

    def _checkpoint(self) -> Checkpoint:
        """The averaged weights as a model file."""
        return trained_checkpoint(
            self._architecture,
            self._ema.state_dict(),
            self.config,
            {"iterations": self._iteration, "minutes": round(self._elapsed / 60, 1)},
            {**self._figures, "iteration": self._validated},
        )

    def _save(self, *, final: bool = False) -> None:
        """Write the training state and the last model."""
        if not self._main or self._bad:  # after bad updates the state before them is the good one
            return
        scaler = self._accelerator.scaler
        state = {
            "architecture": asdict(self._architecture),
            "files": digest(self._files),
            "iteration": self._iteration,
            "shard": self._shard,
            "elapsed": self._elapsed,
            "validated": self._validated,
            "figures": self._figures,
            "best": self._best,
            "step": self._step.state_dict(),
            "ema": self._ema.state_dict(),
            "scaler": scaler.state_dict() if scaler else None,
        }
        with run_folder.surviving_a_full_disk(self._folder, final=final):
            run_folder.save_state(self._folder, self._iteration, state, self.config.run.keep)
            run_folder.save_model(self._folder, "last", self._checkpoint())

    def _load(self, state: dict[str, Any]) -> None:
        """Go on from a training state. Raises RunError where it is of another method."""
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
        self._validated, self._figures = state["validated"], state["figures"]
        self._best = state["best"]
        if self._main and isinstance(self._files, ShardStream):
            log.warning(
                "a stream does not go on to the bit: shards begin again that were being read"
            )
        if self._main and state["files"] != digest(self._files):
            log.warning("the training pictures have changed: the run goes on with other crops")
