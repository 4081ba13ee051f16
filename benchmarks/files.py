"""Speed and memory of the command itself, from file to file.

- `srgan upscale` JPEG to JPEG, 1500 x 1000, against the raw network, taking turns in one
  process: start-up excluded, halo and codecs included.
- A cold `srgan upscale` of a 128 x 128 picture and `srgan --help`: wall time of the process.
- Peak memory of the process for a large picture: 3000 x 2000 by default; --memory WIDTH HEIGHT.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table
from skimage import data
from speed import run_network

from srgan.cli.run import run_script
from srgan.engines.options import Precision
from srgan.pictures.images import open_picture
from srgan.pictures.options import ResultOptions
from srgan.upscaling import batch
from srgan.upscaling.upscaler import Upscaler

ROUNDS = 5
SIDE = 256  # LR pixels of the raw network's picture
# Not by getrusage: it counts the process that started this one, too.
PEAK = """
import sys
from srgan.cli.app import main
from srgan.engines.processor import peak_memory
sys.argv = ["srgan", *sys.argv[1:]]
try:
    main()
finally:
    print(peak_memory(), file=sys.stderr)
"""


def main(
    *,
    memory: tuple[int, int] = (3000, 2000),
    format: Literal["jpg", "png", "tif"] = "png",
    precision: Precision = "auto",
) -> None:
    """Measure speed from file to file, cold starts, and peak memory.

    Args:
        memory: Width and height of the picture whose peak memory is measured.
        format: Its format.
        precision: As `srgan upscale --precision`.
    """
    table = Table(show_header=False)
    with tempfile.TemporaryDirectory() as folder:
        rate, raw = throughput(Path(folder), precision)
        table.add_row("file to file, JPEG 1500 x 1000", f"{rate:.2f} HR MP/s")
        table.add_row("raw network, 256 x 256", f"{raw:.2f} HR MP/s")
        table.add_row("file to file / raw", f"{rate / raw:.0%}")
        table.add_row("cold: srgan --help", f"{cold(folder, '--help'):.2f} s")
        photograph(128, 128).save(f"{folder}/small.png")
        seconds = cold(folder, "upscale", "small.png", "--overwrite")
        table.add_row("cold: srgan upscale, 128 x 128", f"{seconds:.2f} s")
        name = f"{memory[0]} x {memory[1]} {format}"
        seconds, peak = peak_memory(Path(folder), memory, format, precision)
        table.add_row(f"peak memory, {name}", f"{peak:.2f} GiB")
        table.add_row(f"time, {name}", f"{seconds:.0f} s")
    Console().print(table)


def photograph(width: int, height: int) -> Image.Image:
    """A photograph of scikit-image, mirrored until it is large enough."""
    image = data.coffee()
    repeats = -(-height // image.shape[0]), -(-width // image.shape[1])
    padding = [(0, n * (r - 1)) for n, r in zip(image.shape[:2], repeats, strict=True)]
    return Image.fromarray(np.pad(image, [*padding, (0, 0)], "symmetric")[:height, :width])


def throughput(folder: Path, precision: Precision) -> tuple[float, float]:
    """HR megapixels/s from file to file, and of the network alone; the best round of each."""
    source, target = folder / "photo.jpg", folder / "large.jpg"
    photograph(1500, 1000).save(source, quality=92)
    upscaler = Upscaler.load(precision=precision)
    engine = upscaler.engine_for(np.dtype(np.uint8))
    lr = np.random.default_rng(0).random((1, 3, SIDE, SIDE), dtype=np.float32)
    run_network(engine, lr)
    best = [float("inf"), float("inf")]
    for _ in range(ROUNDS):
        start = time.perf_counter()
        picture = open_picture(source)
        options = ResultOptions(overwrite=True)
        batch.run(picture, (4000, 6000), target, upscaler, options)
        best[0] = min(best[0], time.perf_counter() - start)
        for _ in range(ROUNDS):
            start = time.perf_counter()
            run_network(engine, lr)
            best[1] = min(best[1], time.perf_counter() - start)
    return 24 / best[0], (4 * SIDE) ** 2 / 1e6 / best[1]


def cold(folder: str, *arguments: str) -> float:
    """Wall seconds of the command in a new process; the best of some."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        command = [sys.executable, "-m", "srgan.cli", *arguments]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        best = min(best, time.perf_counter() - start)
    return best


def peak_memory(
    folder: Path, size: tuple[int, int], format: str, precision: Precision
) -> tuple[float, float]:
    """Seconds and peak resident GiB of `srgan upscale` for a picture of `size`."""
    photograph(*size).save(folder / f"large_picture.{format}")
    command = [sys.executable, "-c", PEAK, "upscale", f"large_picture.{format}"]
    start = time.perf_counter()
    result = subprocess.run(
        [*command, "--precision", precision], cwd=folder, capture_output=True, text=True, check=True
    )
    return time.perf_counter() - start, int(result.stderr.split()[-1]) / 2**30


if __name__ == "__main__":
    run_script(main)
