"""What a one-megapixel photograph costs one core, stage by stage: the numbers of a capacity plan.

    python benchmarks/stages.py

Decoding, the network on one thread, and encoding the sixteen megapixels of the result in each
format, in seconds of processor time; the best of some rounds.
"""

import io
import os
import time
from collections.abc import Callable
from typing import Any

os.environ["VIPS_CONCURRENCY"] = "1"  # before libvips is loaded: one core

import numpy as np
from files import photograph
from rich.console import Console
from rich.table import Table

from srgan.cli.run import run_script
from srgan.engines.options import Precision
from srgan.pictures.images import encode_picture, open_picture
from srgan.upscaling.upscaler import Upscaler

WIDTH, HEIGHT = 1250, 800  # one megapixel
ROUNDS = 3
FORMATS = ("jpeg", "webp", "png", "avif")


def main(*, precision: Precision = "auto") -> None:
    """Print seconds and bytes of each stage.

    Args:
        precision: As of srgan upscale.
    """
    file = io.BytesIO()
    photograph(WIDTH, HEIGHT).save(file, "JPEG", quality=90)
    jpeg = file.getvalue()
    table = Table(title="one picture of 1 MP, x4, on one core")
    for column in ("", "seconds", "HR MP/s", "MB"):
        table.add_column(column)
    seconds, _ = best(lambda: open_picture(jpeg)[:, :])
    table.add_row("decode JPEG", f"{seconds:.3f}", f"{16 / seconds:.0f}", f"{len(jpeg) / 1e6:.2f}")
    upscaler = Upscaler.load(precision=precision, threads=1)
    lr = open_picture(jpeg)[:, :]
    upscaler(lr[:64, :64])
    start = time.process_time()
    sr = upscaler(lr)
    seconds = time.process_time() - start
    name = f"network, {upscaler.engine_for(np.dtype(np.uint8)).precision}"
    table.add_row(name, f"{seconds:.2f}", f"{16 / seconds:.2f}", "")
    for format in FORMATS:
        seconds, data = best(lambda format=format: encoded(sr, format))
        size = f"{len(data) / 1e6:.2f}"
        table.add_row(f"encode {format}", f"{seconds:.2f}", f"{16 / seconds:.1f}", size)
    Console().print(table)


def encoded(sr: np.ndarray, format: str) -> bytes:
    return encode_picture("sr", [sr], sr.shape, sr.dtype, format=format)[0]


def best(work: Callable[[], Any]) -> tuple[float, Any]:
    """Fewest seconds of some rounds, and what the work gives."""
    times, result = [], None
    for _ in range(ROUNDS):
        start = time.process_time()
        result = work()
        times.append(time.process_time() - start)
    return min(times), result


if __name__ == "__main__":
    run_script(main)
