"""Pictures per second of `srgan cluster upscale` against `srgan upscale`, on all cores here.

    python benchmarks/cluster.py ../shared/train/photos

Both commands upscale the same folder in alternating runs, as users start them. A second run on
twice the pictures takes the start (loading Ray, the model) out: what counts is the time that the
second half takes.
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

from srgan.cli import run_script
from srgan.data import find_pictures
from srgan.images import open_picture
from srgan.pixels import rgb_uint8

LR_SIDES = (240, 160)  # pixels


def main(
    folder: Annotated[Path, Parameter(required=True)],
    /,
    *,
    pictures: int = 32,
    actors: int = 2,
    rounds: int = 3,
    precision: str = "auto",
) -> None:
    """Print the throughput of both commands, with their start and without.

    Args:
        folder: Photographs, reduced to 240 x 160.
        pictures: In the first run of a round; the second has twice as many.
        actors: Of Ray, with a core each.
        rounds: Of both commands.
        precision: As of srgan upscale.
    """
    commands = {
        "srgan upscale": ("upscale", "{source}", "-o", "{target}"),
        "srgan cluster upscale": (
            *("cluster", "upscale", "{source}", "{target}"),
            *("--num-actors", str(actors), "--cpus-per-actor", "1"),
        ),
    }
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as place:
        few, many = Path(place, "few"), Path(place, "many")
        reduce_pictures(folder, few, pictures)
        reduce_pictures(folder, many, 2 * pictures)
        for _ in range(rounds):
            for name, arguments in commands.items():
                times = [run(arguments, source, precision) for source in (few, many)]
                seconds[name].append((times[0], times[1]))
                print(f"{name}: {times[0]:.1f} and {times[1]:.1f} s", file=sys.stderr)
    megapixels = 16 * LR_SIDES[0] * LR_SIDES[1] / 1e6
    table = Table(title=f"{pictures} and {2 * pictures} pictures of 240 x 160, {precision}")
    for column in ("", "pictures/s, rounds", "median", "HR MP/s", "with the start", "seconds"):
        table.add_column(column)
    paces = {}
    for name, each in seconds.items():
        rates = [pictures / (many - few) for few, many in each]
        paces[name] = median(rates)
        whole = median(2 * pictures / many for _, many in each)
        table.add_row(
            name,
            ", ".join(f"{rate:.2f}" for rate in rates),
            f"{paces[name]:.2f}",
            f"{paces[name] * megapixels:.2f}",
            f"{whole:.2f}",
            ", ".join(f"{few:.0f}/{many:.0f}" for few, many in each),
        )
    Console().print(table)
    ratio = paces["srgan cluster upscale"] / paces["srgan upscale"]
    print(f"cluster / upscale: {ratio:.0%}")


def reduce_pictures(folder: Path, target: Path, count: int) -> None:
    """JPEGs of LR_SIDES of the first `count` pictures."""
    target.mkdir()
    for path in islice(find_pictures(folder), count):
        picture = Image.fromarray(np.ascontiguousarray(rgb_uint8(open_picture(path)[:, :])))
        picture.resize(LR_SIDES).save(target / f"{path.stem}.jpg", quality=92)


def run(arguments: tuple[str, ...], source: Path, precision: str) -> float:
    """Seconds of a command; its results are thrown away."""
    target = source.with_name("out")
    shutil.rmtree(target, ignore_errors=True)
    words = [word.format(source=source, target=target) for word in arguments]
    command = [sys.executable, "-m", "srgan.cli", *words, "--precision", precision]
    start = time.perf_counter()
    environment = {**os.environ, "RAY_worker_niceness": "0"}  # as all else: it would be 15
    quiet = subprocess.DEVNULL
    subprocess.run(command, check=True, stdout=quiet, stderr=quiet, env=environment)
    return time.perf_counter() - start


if __name__ == "__main__":
    run_script(main)
