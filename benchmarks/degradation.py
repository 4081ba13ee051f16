"""What making LR costs in SRResNet's training step.

    python benchmarks/degradation.py ../shared/train

The step on bicubic LR and the degradations alone take turns on the same crops; medians. The time
of the CPU tells more than the wall's where other work runs.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import torch
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from training import srresnet

from srgan.cli.run import run_script
from srgan.degradation.degrade import make_degrade, training_rng
from srgan.degradation.jpeg import jpeg
from srgan.degradation.ranges import BICUBIC, presets
from srgan.training.data.loader import CropBatch
from srgan.training.start import make_accelerator
from srgan.training.trainer import Trainer

JPEG = "JPEG alone, of every LR"


def main(folder: Annotated[Path, Parameter(required=True)], /, *, rounds: int = 15) -> None:
    """Print milliseconds a batch, and shares of the step.

    Args:
        folder: Training pictures.
        rounds: Turns of each.
    """
    config = srresnet(folder)
    trainer = Trainer(config, Path(tempfile.mkdtemp()), make_accelerator(config))
    loader = trainer.loader()
    hr = next(iter(loader)).hr.clone()
    loader.close()
    lr = make_degrade(BICUBIC)(hr, 4, training_rng(0, 0, 0))
    canvas = torch.nn.functional.pad(lr, (0, 8, 0, 8), mode="replicate")
    quality, full_chroma = np.full(16, 75), np.arange(16) < 4
    work: dict[str, Callable[[int], object]] = {
        "the step, on bicubic LR": lambda _: trainer.update(CropBatch(hr, None))
    }
    for name in (BICUBIC, *presets(), ",".join(presets())):
        degrade = make_degrade(name)
        work[name] = lambda i, degrade=degrade: degrade(hr, 4, training_rng(0, i, 0))
    work[JPEG] = lambda _: jpeg(canvas, quality, full_chroma)
    times: dict[str, list[list[float]]] = {name: [] for name in work}
    for i in range(rounds + 1):
        for name, once in work.items():
            start = time.perf_counter(), time.process_time()
            once(i)
            end = time.perf_counter(), time.process_time()
            if i:  # the first one warms up
                times[name].append([1000 * (b - a) for a, b in zip(start, end, strict=True)])
    table = Table(title=f"16 crops of 96 x 96, threads: {torch.get_num_threads()}")
    for column in ("", "ms", "of the step", "CPU ms", "of the step"):
        table.add_column(column)
    steps = None
    for name, each in times.items():
        medians = [median(part) for part in zip(*each, strict=True)]
        steps = steps or medians
        shares = [f"{100 * part / step:.1f} %" for part, step in zip(medians, steps, strict=True)]
        figures = [f"{part:.1f}" for part in medians]
        table.add_row(name, figures[0], shares[0], figures[1], shares[1])
    Console().print(table)


if __name__ == "__main__":
    run_script(main)
