"""Pictures per second of `srgan cluster upscale` against `srgan upscale`, on all cores here.

    python benchmarks/cluster.py ../shared/train/photos

Both commands upscale the same folder in alternating runs, as users start them. Starting (Ray, the
model) does not count: the pace is that between the results that first come and the last one, by
the times of the files.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
from cyclopts import Parameter
from PIL import Image
from rich.console import Console
from rich.table import Table

from srgan.cli.run import run_script
from srgan.pictures.images import open_picture
from srgan.pictures.pixels import rgb_uint8
from srgan.training.data.stored import find_pictures

LR_SIDES = (240, 160)  # pixels


def main(
    folder: Annotated[Path, Parameter(required=True)],
    /,
    *,
    pictures: int = 40,
    actors: int = 2,
    rounds: int = 3,
    precision: str = "auto",
) -> None:
    """Print the throughput of both commands.

    Args:
        folder: Photographs, reduced to 240 x 160.
        pictures: How many of them.
        actors: Of Ray, with a core each.
        rounds: Runs of each command.
        precision: As of srgan upscale.
    """
    commands = {
        "srgan upscale": ("upscale", "{source}", "-o", "{target}"),
        "srgan cluster upscale": (
            *("cluster", "upscale", "{source}", "{target}"),
            *("--num-actors", str(actors), "--cpus-per-actor", "1"),
        ),
    }
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as place:
        source = Path(place, "in")
        reduce_pictures(folder, source, pictures)
        for _ in range(rounds):
            for name, arguments in commands.items():
                pace, seconds = run(arguments, source, precision, actors)
                runs[name].append((pace, seconds))
                print(f"{name}: {pace:.2f} pictures/s, {seconds:.0f} s in all", file=sys.stderr)
    megapixels = 16 * LR_SIDES[0] * LR_SIDES[1] / 1e6
    table = Table(title=f"{pictures} pictures of 240 x 160, {precision}")
    for column in ("", "pictures/s, runs", "median", "HR MP/s", "seconds in all"):
        table.add_column(column)
    paces = {name: median(pace for pace, _ in each) for name, each in runs.items()}
    for name, each in runs.items():
        table.add_row(
            name,
            ", ".join(f"{pace:.2f}" for pace, _ in each),
            f"{paces[name]:.2f}",
            f"{paces[name] * megapixels:.2f}",
            ", ".join(f"{seconds:.0f}" for _, seconds in each),
        )
    Console().print(table)
    print(f"cluster / upscale: {paces['srgan cluster upscale'] / paces['srgan upscale']:.0%}")


def reduce_pictures(folder: Path, target: Path, count: int) -> None:
    """JPEGs of LR_SIDES of the first `count` pictures."""
    target.mkdir()
    for path in islice(find_pictures(folder), count):
        picture = Image.fromarray(np.ascontiguousarray(rgb_uint8(open_picture(path)[:, :])))
        picture.resize(LR_SIDES).save(target / f"{path.stem}.jpg", quality=92)


def run(
    arguments: tuple[str, ...], source: Path, precision: str, first: int
) -> tuple[float, float]:
    """Pictures/s after the first few results of a command, and the seconds that all of it takes."""
    target = source.with_name("out")
    shutil.rmtree(target, ignore_errors=True)
    words = [word.format(source=source, target=target) for word in arguments]
    command = [sys.executable, "-m", "srgan.cli", *words, "--precision", precision]
    environment = {**os.environ, "RAY_worker_niceness": "0"}  # as all else: it would be 15
    quiet = subprocess.DEVNULL
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=quiet, stderr=quiet, env=environment)
    seconds = time.perf_counter() - start
    times = sorted(path.stat().st_mtime for path in target.iterdir())
    return (len(times) - first) / (times[-1] - times[first - 1]), seconds


if __name__ == "__main__":
    run_script(main)
