"""The only training loop: data, step, averaged weights, log, validation, saves."""

import logging
import math
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor

from srgan import run_folder
from srgan.checkpoint import Checkpoint
from srgan.config import OptionError
from srgan.data import CropLoader, find_pictures, split
from srgan.degrade import bicubic_lr, unit
from srgan.ema import EMA
from srgan.logbook import RunError
from srgan.schedule import rate_factor
from srgan.steps import Batch
from srgan.stop_signals import StopSignals
from srgan.training_config import TrainingConfig
from srgan.training_report import Interval, Report
from srgan.training_start import make_accelerator, make_step
from srgan.validation import Pair, read_pairs, validate

BAD_IN_A_ROW = 5  # updates skipped because a gradient was not finite, before the run stops
FP16_BAD_IN_A_ROW = 50  # the same in fp16, whose loss scale is found by such updates
EARLY = 500  # iterations in which a step's figures mean nothing yet

log = logging.getLogger("srgan")


def train(config: TrainingConfig, folder: Path | None, *, resume: bool) -> None:
    """Train from the start, or from the run folder's newest state, to the end of the schedule.

    Args:
        folder: of the run; by default a new one in runs/, or the newest there to resume.

    Raises:
        SystemExit: 128 + N after signal N (SIGINT, SIGTERM); the state is saved.
        DataError, RunError, CheckpointError, FeaturesError, OptionError: it cannot start, or
            cannot go on.
    """
    with StopSignals() as signals:
        accelerator = make_accelerator(config.run)
        if resume:
            trainer = Trainer(config, run_folder.existing_folder(config.name, folder), accelerator)
            trainer.load()
        else:
            folder = _new_folder(config.name, folder, accelerator)
            trainer = Trainer(config, folder, accelerator)
            if accelerator.is_main_process:
                run_folder.write_config(folder, config.table())
        trainer.run(signals)
    if signals.received:
        raise SystemExit(128 + signals.received)


def _new_folder(method: str, folder: Path | None, accelerator: Accelerator) -> Path:
    """The main process chooses it and tells the others."""
    chosen: list[Any] = [None]
    if accelerator.is_main_process:
        chosen = [run_folder.new_folder(method, folder)]
    return broadcast_object_list(chosen)[0]


class Trainer:
    """A run: its networks, how far it is, and its folder."""

    def __init__(self, config: TrainingConfig, folder: Path, accelerator: Accelerator) -> None:
        self._config, self._folder, self._accelerator = config, folder, accelerator
        self._step = make_step(config, self._accelerator)
        self._ema = EMA(self._step.generator, config.optimizer.ema)
        self._architecture = self._step.generator.architecture
        if config.data.crop % self._architecture.scale:
            raise OptionError(f"--crop must be a multiple of the scale {self._architecture.scale}")
        self._micro_batch = self._find_micro_batch()
        self._files, self._pairs = self._find_data()
        self._iterations = self._find_iterations()
        self._iteration = 0  # updates behind
        self._elapsed = 0.0  # seconds of training behind, over all sessions
        self._best: float | None = None  # of the step's criterion; the higher the better
        self._bad = 0  # skipped updates in a row
        self._warning: str | None = None  # the step's last one
        self._figures: dict[str, float] = {}  # of the last validation

    def _find_micro_batch(self) -> int:
        batch_size = self._config.schedule.batch_size
        parts = self._config.run.accumulate * self._accelerator.num_processes
        if batch_size % parts:
            raise OptionError(
                f"--batch-size {batch_size} cannot be split into {parts} equal parts "
                "(processes x --accumulate)"
            )
        return batch_size // parts

    def _find_data(self) -> tuple[list[Path], list[Pair]]:
        """Training pictures, and those to validate on, read where they are needed."""
        data = self._config.data
        if data.data_folder is None:
            raise OptionError("--data-folder is missing: give a folder of training pictures")
        files = find_pictures(data.data_folder)
        if data.validation_folder is not None:
            held_out = find_pictures(data.validation_folder)[: data.validation_pictures]
        else:
            files, held_out = split(files, data.validation_pictures, data.seed)
        main = self._accelerator.is_main_process
        return files, read_pairs(held_out, self._architecture.scale) if main else []

    def _find_iterations(self) -> int:
        schedule = self._config.schedule
        if schedule.epochs is None:
            return schedule.iterations
        return math.ceil(schedule.epochs * len(self._files) / schedule.batch_size)

    def run(self, signals: StopSignals) -> None:
        """Train until the schedule ends or a signal comes, and save."""
        options = self._config.run
        start = time.monotonic() - self._elapsed
        saved = self._elapsed
        title = f"{self._config.name} in {self._folder}"
        main = self._accelerator.is_main_process
        with (
            Report(self._folder, title, self._iteration, self._iterations, main) as report,
            closing(self.loader()) as loader,
        ):
            batches = iter(loader)
            interval = Interval()
            while not self._finished(signals):
                hr = interval.next(batches)
                interval.add(self.update(hr))
                self._elapsed = self._agree(signals, time.monotonic() - start)
                report.tick(self._iteration, self._progress())
                if self._iteration % options.log_every == 0:
                    self._log(interval, report)
                    interval = Interval()
                if signals.received:
                    break
                if self._iteration % options.validate_every == 0 or self._finished(signals):
                    self._validate(report)
                due = self._elapsed - saved >= 60 * options.save_minutes
                if due or self._iteration % options.save_every == 0:
                    self._save()
                    saved = self._elapsed
            self._save(final=True)

    def _finished(self, signals: StopSignals) -> bool:
        return self._progress() >= 1 or signals.received > 0

    def _progress(self) -> float:
        """The part of the run that is behind, 0 to 1."""
        progress = self._iteration / self._iterations
        if self._config.schedule.minutes is not None:
            progress = max(progress, self._elapsed / (60 * self._config.schedule.minutes))
        return min(progress, 1.0)

    def loader(self) -> CropLoader:
        """Batches of this process, from the first one that is not behind."""
        data, parts = self._config.data, self._config.run.accumulate
        first = self._accelerator.process_index * parts
        return CropLoader(
            self._files,
            crop=data.crop,
            batch_size=self._micro_batch,
            seed=data.seed,
            streams=self._accelerator.num_processes * parts,
            own=range(first, first + parts),
            workers=data.workers,
            first_batch=self._iteration,
        )

    def update(self, hr: Tensor) -> dict[str, Tensor]:
        """One iteration on uint8 HR crops."""
        hr = hr.to(self._accelerator.device, non_blocking=True)
        batches = [
            Batch(bicubic_lr(part, self._architecture.scale), unit(part))
            for part in hr.split(self._micro_batch)
        ]
        schedule = self._config.schedule
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
        if self._bad >= (FP16_BAD_IN_A_ROW if self._accelerator.scaler else BAD_IN_A_ROW):
            raise RunError(
                f"{self._folder}: gradients were not finite in {self._bad} iterations in a row, "
                f"up to {self._iteration}; the last saved state is good: --resume it with a "
                "lower --rate, with --clip 1 or with --precision fp32"
            )
        if not self._accelerator.scaler:
            log.warning("iteration %d: a gradient is not finite; skipped", self._iteration)

    def _agree(self, signals: StopSignals, elapsed: float) -> float:
        """Make all processes stop in the same iteration and share the main one's clock."""
        if self._accelerator.num_processes == 1:
            return elapsed
        mine = torch.tensor([[signals.received, elapsed]], device=self._accelerator.device)
        everybodys = self._accelerator.gather(mine)
        assert isinstance(everybodys, Tensor)
        signals.received = int(everybodys[:, 0].max())
        return float(everybodys[0, 1])

    def _log(self, interval: Interval, report: Report) -> None:
        schedule = self._config.schedule
        values = interval.means(self._accelerator, schedule.batch_size)
        values["schedule/factor"] = rate_factor(schedule, self._iteration, self._progress())
        report.figures(self._iteration, self._progress(), values)
        warning = self._step.warning(values) if self._iteration >= EARLY else None
        if warning is not None and warning != self._warning:
            log.warning("iteration %d: %s", self._iteration, warning)
        self._warning = warning

    def _validate(self, report: Report) -> None:
        if not self._pairs:  # not the main process, or nothing to validate on
            return
        figures, grid = validate(self._checkpoint(), self._pairs, self._measure)
        name = self._step.criterion.removeprefix("-")
        score = -figures[name] if name != self._step.criterion else figures[name]
        self._figures = figures
        best = self._best is None or score > self._best
        if best:
            self._best = score
            run_folder.save_model(self._folder, "best", self._checkpoint())
        text = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        report.message(f"validation at {self._iteration}: {text}{' (best)' if best else ''}")
        values = {f"validation/{name}": value for name, value in figures.items()}
        report.figures(self._iteration, self._progress(), values)
        report.picture(self._iteration, grid)
        run_folder.save_picture(self._folder, self._iteration, grid)

    def _measure(self, sr: np.ndarray, hr: np.ndarray) -> dict[str, float]:
        """The step's own figures of uint8 (H, W, 3) pictures."""
        tensors = [torch.from_numpy(x).permute(2, 0, 1)[None] for x in (sr, hr)]
        device = self._accelerator.device
        return self._step.measure(*(unit(tensor.to(device)) for tensor in tensors))

    def _checkpoint(self) -> Checkpoint:
        """The averaged weights as a model file."""
        tensors = {name: t.float().cpu().numpy() for name, t in self._ema.state_dict().items()}
        training = {"iterations": self._iteration, "minutes": round(self._elapsed / 60, 1)}
        options = self._config.table()
        hidden = ("data_folder", "validation_folder")  # somebody's paths are nobody's business
        info = {
            "name": self._folder.resolve().name,
            "description": f"{self._config.name} trained by srgan train",
            "training": training | {k: v for k, v in options.items() if k not in hidden},
            "metrics": {"protocol": "PSNR-Y and SSIM-Y on held-out pictures", **self._figures},
        }
        return Checkpoint(self._architecture, tensors, info)

    def _save(self, *, final: bool = False) -> None:
        """Write the training state and the last model; a full disk stops no run before its end."""
        if not self._accelerator.is_main_process:
            return
        scaler = self._accelerator.scaler
        state = {
            "iteration": self._iteration,
            "elapsed": self._elapsed,
            "best": self._best,
            "figures": self._figures,
            "step": self._step.state_dict(),
            "ema": self._ema.state_dict(),
            "scaler": scaler.state_dict() if scaler else None,
        }
        try:
            run_folder.save_state(self._folder, self._iteration, state, self._config.run.keep)
            run_folder.save_model(self._folder, "last", self._checkpoint())
        except OSError as error:
            if final:
                raise RunError(f"{self._folder}: not saved: {error.strerror}") from error
            log.warning("%s: not saved, training goes on: %s", self._folder, error.strerror)

    def load(self) -> None:
        """Go on from the newest training state of the run folder.

        Raises:
            RunError: there is none, or it is of other networks.
        """
        state = run_folder.load_state(self._folder)
        try:
            self._step.load_state_dict(state["step"])
            self._ema.load_state_dict(state["ema"])
        except (KeyError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise RunError(f"{self._folder}: the state does not fit the run: {reason}") from error
        if self._accelerator.scaler and state["scaler"]:
            self._accelerator.scaler.load_state_dict(state["scaler"])
        self._iteration, self._elapsed = state["iteration"], state["elapsed"]
        self._best, self._figures = state["best"], state["figures"]
