"""Weak scaling of training: N processes of one thread against one process of one thread.

    python benchmarks/processes.py ../shared/train/photos

`srgan train srresnet` under torchrun, on gloo, as users start it: as many crops a process in both,
alternating runs. What counts is the crops/s that the runs log, without their first interval.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from srgan.cli.run import run_script
from srgan.training.run.logbook import read_metrics

SPEED = "speed/patches_per_second"
INTERVAL = 4  # iterations


def main(
    folder: Annotated[Path, Parameter(required=True)],
    /,
    *,
    processes: int = 2,
    rounds: int = 3,
    intervals: int = 4,
    batch: int = 16,
    precision: str = "auto",
) -> None:
    """Print crops per second of one process, and of several together.

    Args:
        folder: Training pictures.
        processes: Against one.
        rounds: Runs of each.
        intervals: Of 4 iterations, that count in each run.
        batch: Crops a process.
        precision: As of srgan train.
    """
    speeds: dict[int, list[float]] = {1: [], processes: []}
    for _ in range(rounds):
        for count, each in speeds.items():
            each.append(run(folder, count, intervals, batch, precision))
            print(f"{count} processes: {each[-1]:.2f} crops/s", file=sys.stderr)
    table = Table(title=f"SRResNet, {batch} crops of 96 x 96 a process, one thread each")
    for column in ("processes", "crops/s, runs", "median"):
        table.add_column(column)
    for count, each in speeds.items():
        table.add_row(str(count), ", ".join(f"{x:.2f}" for x in each), f"{median(each):.2f}")
    Console().print(table)
    ratios = [many / one for one, many in zip(*speeds.values(), strict=True)]
    print(f"{processes} processes / one: {median(ratios):.2f} (median of the rounds' ratios)")


def run(folder: Path, processes: int, intervals: int, batch: int, precision: str) -> float:
    """Crops/s of all processes together: the median of the intervals but the first."""
    with tempfile.TemporaryDirectory() as place:
        options = {
            "--data-folder": folder.resolve(),
            "--batch-size": batch * processes,
            "--iterations": INTERVAL * (intervals + 1),
            "--log-every": INTERVAL,
            "--validation-pictures": 1,
            "--validate-every": 10_000,
            "--threads": 1,
            "--precision": precision,
            "--run-folder": "run",
        }
        words = [str(word) for option in options.items() for word in option]
        launcher = ["-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--standalone"]
        subprocess.run(
            [sys.executable, *launcher, "-m", "srgan.cli", "train", "srresnet", *words],
            cwd=place,
            check=True,
            env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
            stderr=subprocess.DEVNULL,
        )
        lines = read_metrics(Path(place, "run"))
    return median([line[SPEED] for line in lines if SPEED in line][1:])


if __name__ == "__main__":
    run_script(main)
