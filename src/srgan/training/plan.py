"""`srgan train plan`: what a run would take, from a few of its iterations on this machine."""

import math
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from srgan.engines.processor import peak_memory
from srgan.training.config import TrainingConfig
from srgan.training.data.crops import CROPS_PER_PICTURE
from srgan.training.data.loader import CropBatch
from srgan.training.data.sources import ShardStream
from srgan.training.run import folder as run_folder
from srgan.training.run.report import Interval
from srgan.training.start import make_accelerator
from srgan.training.trainer import Trainer

WARM_UP = 3  # iterations that compile and allocate, and are not measured
LEAST = 3  # iterations that are measured, and the seconds after which no more are
SECONDS = 15.0
LOGGED = 600  # bytes in metrics.jsonl and TensorBoard for each line


@dataclass(frozen=True)
class Costs:
    """What was measured; seconds and bytes."""

    start: float
    iteration: float
    measured: int  # iterations
    validation: float
    save: float
    state: int
    model: int
    grid: int
    memory: int
    workers: tuple[int, ...]
    gpu: int


@dataclass(frozen=True)
class RunPlan:
    """What a run would take.

    Attributes:
        config: of the run, with epochs as iterations.
        pictures: to train on; None for a stream, which does not tell.
        held_out: pictures to validate on.
    """

    config: TrainingConfig
    pictures: int | None
    held_out: int
    costs: Costs

    def text(self) -> str:
        """The plan for the user, a line for each fact."""
        rows = (
            ("pictures", self._pictures()),
            ("crops", self._crops()),
            ("iterations", self._iterations()),
            ("speed", self._speed()),
            ("time", self._time()),
            ("memory", self._memory()),
            ("disk", self._disk()),
        )
        return "\n".join(f"{name:<12}{value}" for name, value in rows)

    def iterations(self) -> int:
        """Iterations until the end, or as many as fit into --minutes."""
        schedule = self.config.schedule
        if schedule.minutes is None:
            return schedule.iterations
        run, costs = self.config.run, self.costs
        each = costs.iteration + costs.validation / run.validate_every
        left = 60 * schedule.minutes * (1 - costs.save / (60 * run.save_minutes))
        return max(min(schedule.iterations, int(left / each)), 1)

    def validations(self) -> int:
        """How often the run validates: at intervals and at its end."""
        if not self.held_out:
            return 0
        return math.ceil(self.iterations() / self.config.run.validate_every)

    def saves(self) -> int:
        """How often the run saves: at intervals, with its first best model, and at its end."""
        run, iterations = self.config.run, self.iterations()
        minutes = iterations * self.costs.iteration / 60
        regular = max(iterations / run.save_every, minutes / run.save_minutes)
        return int(regular) + (2 if self.held_out else 1)

    def seconds(self) -> float:
        """The whole run, its start included."""
        costs = self.costs
        steps = self.iterations() * costs.iteration + self.validations() * costs.validation
        return costs.start + steps + self.saves() * costs.save

    def disk(self) -> int:
        """The run folder at its end, in bytes."""
        costs, run, iterations = self.costs, self.config.run, self.iterations()
        states = min(run.keep, self.saves()) * costs.state
        logged = (iterations // run.log_every + self.validations()) * LOGGED
        # TensorBoard keeps the sample grids as well.
        return states + 2 * costs.model + 2 * self.validations() * costs.grid + logged

    def _pictures(self) -> str:
        if self.pictures is None:
            return f"a stream does not tell, {self.held_out} to validate on"
        return f"{self.pictures:,} to train on, {self.held_out} to validate on"

    def _crops(self) -> str:
        side = self.config.data.crop
        if self.pictures is None:
            return f"of {side} x {side} pixels"
        count = CROPS_PER_PICTURE * self.pictures
        return f"{count:,} of {side} x {side} pixels in an epoch, {CROPS_PER_PICTURE} a picture"

    def _iterations(self) -> str:
        batch = self.config.schedule.batch_size
        about = "about " if self.config.schedule.minutes is not None else ""
        line = f"{about}{self.iterations():,} of {batch} crops"
        if self.pictures is None:
            return line
        epochs = self.iterations() * batch / (CROPS_PER_PICTURE * self.pictures)
        return f"{line}: {epochs:,.{0 if epochs >= 10 else 1}f} epochs"

    def _speed(self) -> str:
        costs = self.costs
        return f"{costs.iteration:.3g} s an iteration (the mean of {costs.measured})"

    def _time(self) -> str:
        validations = f"{self.validations()} validations of {self.costs.validation:.2g} s"
        return f"{timedelta(seconds=round(self.seconds()))}, with {validations}"

    def _memory(self) -> str:
        costs = self.costs
        if not costs.memory:
            line = "not known on this system"
        else:
            line = _size(costs.memory + sum(costs.workers))
            if costs.workers:
                line += f", of which {len(costs.workers)} data workers {_size(sum(costs.workers))}"
        return f"{line}; GPU {_size(costs.gpu)}" if costs.gpu else line

    def _disk(self) -> str:
        return f"{_size(self.disk())} in the run folder at the end"


def make_plan(config: TrainingConfig) -> RunPlan:
    """Start a run, measure a few iterations, a validation and a save, and keep nothing.

    Raises:
        DataError, CheckpointError, FeaturesError, OptionError: the run could not start.
    """
    begun = time.monotonic()
    accelerator = make_accelerator(config)
    trainer = Trainer(config, run_folder.RUNS / "plan", accelerator)
    start = time.monotonic() - begun
    files = trainer.files
    with closing(trainer.loader()) as loader:
        iteration, measured = _time_iterations(trainer, iter(loader))
        costs = _other_costs(trainer, start, iteration, measured)
    pictures = None if isinstance(files, ShardStream) else len(files)
    return RunPlan(trainer.config, pictures, len(trainer.validation.pairs), costs)


def _time_iterations(trainer: Trainer, batches: Iterator[CropBatch]) -> tuple[float, int]:
    """Seconds an iteration, and how many were measured. As in a run, logging waits for a GPU."""

    def some(most: int) -> tuple[float, int]:
        interval, begun, count = Interval(), time.monotonic(), 0
        while count < most and (count < LEAST or time.monotonic() - begun < SECONDS):
            interval.add(trainer.update(interval.next(batches)))
            count += 1
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return (time.monotonic() - begun) / count, count

    some(WARM_UP)
    return some(trainer.config.run.log_every)


def _other_costs(trainer: Trainer, start: float, iteration: float, measured: int) -> Costs:
    """The costs of a validation and of a save; then those of memory, which all have raised."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        validation, grid = 0.0, 0
        if trainer.validation.pairs:
            _ = trainer.validation.bicubic  # once in a run
            begun = time.monotonic()
            picture = trainer.validation.run(trainer.checkpoint(), 1, lambda: False)
            if picture is not None:
                run_folder.save_picture(folder, 1, picture)
            validation = time.monotonic() - begun
            grid = sum(path.stat().st_size for path in folder.rglob("*.png"))
        begun = time.monotonic()
        state = run_folder.save_state(folder, 1, trainer.state(), 1)
        model = run_folder.save_model(folder, run_folder.LAST, trainer.checkpoint())
        save = time.monotonic() - begun
        workers = (peak_memory(child.pid) for child in multiprocessing.active_children())
        return Costs(
            start=start,
            iteration=iteration,
            measured=measured,
            validation=validation,
            save=save,
            state=state.stat().st_size,
            model=model.stat().st_size,
            grid=grid,
            memory=peak_memory(),
            workers=tuple(size for size in workers if size),
            gpu=torch.cuda.max_memory_reserved() if torch.cuda.is_available() else 0,
        )


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
