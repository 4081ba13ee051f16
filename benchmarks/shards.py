"""Training from shards against training from a folder, and the memory that many pictures take.

    python benchmarks/shards.py ../shared/train/photos

- Crops/s of `srgan train srresnet` from the sub-images of a folder, as PNG files and in parquet
  shards, taking turns.
- The loader alone: its memory after rounds of crops from 1,000 and from 100,000 synthetic pictures
  in shards. "Anonymous" is what the process needs; pages of the mapped files, which the system
  takes back when it needs them, come to that in "resident".
"""

import io
import itertools
import multiprocessing
import tempfile
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
from cyclopts import Parameter
from PIL import Image
from rich.console import Console
from rich.table import Table
from skimage import data
from training import ours, srresnet
from turns import Maker, take_turns

from srgan.cli.run import run_script
from srgan.pictures.shards import Member, parquet_bytes
from srgan.training.data.crops import Crops
from srgan.training.data.prepare import prepare
from srgan.training.data.sources import find_source
from srgan.training.data.stored import find_pictures
from srgan.training.options import PreparedFormat

SHARD_PICTURES = 5000
SIDE = 112  # pixels of a synthetic picture


def main(
    folder: Annotated[Path, Parameter(required=True)],
    /,
    *,
    photographs: int = 40,
    rounds: int = 5,
    seconds: float = 12,
    pictures: tuple[int, int] = (1000, 100_000),
    memory_rounds: int = 120,
) -> None:
    """Print the speed of training from files and from shards, and the loader's memory.

    Args:
        folder: Training pictures.
        photographs: How many of them are cut into sub-images.
        rounds: Turns of each candidate; 0 leaves the speed out.
        seconds: Length of a turn.
        pictures: Synthetic ones, of the two measurements of memory.
        memory_rounds: Rounds of 2,048 crops of 128 pictures that are read.
    """
    with tempfile.TemporaryDirectory() as place:
        if rounds:
            print_speed(Path(place), folder, photographs, rounds, seconds)
        print_memory(Path(place), pictures, memory_rounds)


def print_speed(place: Path, folder: Path, photographs: int, rounds: int, seconds: float) -> None:
    some = place / "some"
    some.mkdir()
    for path in itertools.islice(find_pictures(folder), photographs):
        (some / path.name).symlink_to(path.resolve())
    candidates: dict[str, Maker] = {}
    sub_images = 0
    formats: tuple[PreparedFormat, PreparedFormat] = ("png", "parquet")
    for format in formats:
        sub_images = prepare(some, place / format, format=format).written
        candidates[format] = (ours, (srresnet(place / format), True))
    speeds = take_turns(candidates, rounds=rounds, seconds=seconds)
    table = Table(title=f"SRResNet, crops/s, from {sub_images} sub-images")
    for column in ("", "all turns", "median"):
        table.add_column(column)
    for name, each in speeds.items():
        table.add_row(name, ", ".join(f"{x:.1f}" for x in each), f"{median(each):.2f}")
    Console().print(table)
    print(f"parquet / png: {median(speeds['parquet']) / median(speeds['png']):.1%}")


def print_memory(place: Path, pictures: tuple[int, int], rounds: int) -> None:
    table = Table(title="memory of the loader, MB: anonymous (resident)")
    points = [rounds * part // 4 for part in range(1, 5)]
    for column in ("pictures", *(f"{point} rounds" for point in points)):
        table.add_column(column)
    context = multiprocessing.get_context("spawn")
    for count in pictures:
        shards = place / str(count)
        write_synthetic(shards, count)
        with context.Pool(1) as pool:
            found = pool.apply(read_rounds, (shards, points))
        table.add_row(f"{count:,}", *(f"{own:.0f} ({all:.0f})" for own, all in found))
    Console().print(table)


def write_synthetic(folder: Path, count: int) -> None:
    """Shards of small JPEGs: parts of photographs, each somewhere else."""
    folder.mkdir()
    photo, rng = data.astronaut(), np.random.default_rng(0)
    for first in range(0, count, SHARD_PICTURES):
        members = []
        for number in range(first, min(first + SHARD_PICTURES, count)):
            top, left = rng.integers(512 - SIDE, size=2)
            file = io.BytesIO()
            part = np.ascontiguousarray(photo[top : top + SIDE, left : left + SIDE])
            Image.fromarray(part).save(file, "JPEG")
            members.append(Member(f"{number:06d}.jpg", file.getvalue()))
        (folder / f"{first:06d}.parquet").write_bytes(parquet_bytes(members))


def read_rounds(folder: Path, points: list[int]) -> list[tuple[float, float]]:
    """Megabytes, anonymous and resident, after these numbers of rounds."""
    crops = Crops(find_source(str(folder)), crop=96, batch_size=16, seed=0)
    found = []
    for number in range(points[-1]):
        crops[number]
        if number + 1 in points:
            lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
            sizes = {words[0]: int(words[1]) for line in lines[1:] if (words := line.split())}
            found.append((sizes["Anonymous:"] / 1024, sizes["Rss:"] / 1024))
    return found


if __name__ == "__main__":
    run_script(main)
