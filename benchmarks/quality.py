"""PSNR-Y of the shipped model by engine and precision.

    python benchmarks/quality.py BENCH/Set5 BENCH/Set14

Each folder holds HR/ and LRx4/ (MATLAB bicubic). PSNR on Y of BT.601, 8-bit output, 4 pixels
cropped on each side: the paper's protocol.
"""

from pathlib import Path
from typing import Annotated, get_args

import numpy as np
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from srgan.cli import run_script
from srgan.config import DEFAULT_MODEL, EngineName, Precision
from srgan.engines import EngineError
from srgan.images import open_picture
from srgan.metrics import psnr_y
from srgan.upscaler import Upscaler


def main(
    folders: Annotated[list[Path], Parameter(required=True)],
    /,
    *,
    model: str = DEFAULT_MODEL,
) -> None:
    """Print the mean PSNR-Y of each folder, for every engine and precision that runs here."""
    table = Table(title=f"{model}: PSNR-Y in dB, {folders[0].parent}")
    for column in ("engine", "precision", *(folder.name for folder in folders)):
        table.add_column(column)
    for engine in get_args(EngineName)[1:]:
        for precision in get_args(Precision)[1:]:
            try:
                upscaler = Upscaler.load(model, engine=engine, precision=precision)
            except EngineError:
                continue
            figures = [f"{mean_psnr_y(upscaler, folder):.4f}" for folder in folders]
            table.add_row(engine, precision, *figures)
    Console().print(table)


def mean_psnr_y(upscaler: Upscaler, folder: Path) -> float:
    """Mean over the pictures of HR/ and LRx4/; gray ones count as RGB of equal channels."""
    figures = [
        psnr_y(rgb(upscaler(rgb_file(folder / "LRx4" / hr.name))), rgb_file(hr), upscaler.scale)
        for hr in sorted((folder / "HR").iterdir())
    ]
    return float(np.mean(figures))


def rgb_file(path: Path) -> np.ndarray:
    picture = open_picture(path)
    return rgb(picture[: picture.shape[0], : picture.shape[1]])


def rgb(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))


if __name__ == "__main__":
    run_script(main)
