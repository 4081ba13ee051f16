"""PSNR-Y of the shipped model by engine and precision.

    python benchmarks/quality.py BENCH/Set5 BENCH/Set14

Each folder holds HR/ and LRx4/ (MATLAB bicubic). The protocol is that of `srgan evaluate`.
"""

from pathlib import Path
from typing import Annotated, get_args

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from srgan.cli.run import run_script
from srgan.engines.base import EngineError
from srgan.engines.options import EngineName, Precision
from srgan.evaluation.benchmark import find_benchmark
from srgan.evaluation.evaluate import evaluate
from srgan.evaluation.registry import load_metrics
from srgan.upscaling.options import DEFAULT_MODEL
from srgan.upscaling.upscaler import Upscaler


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
    """As `srgan evaluate` prints it."""
    benchmark = find_benchmark(folder, upscaler.scale)
    metrics, _ = load_metrics(["psnr_y"], None)
    evaluation = evaluate([benchmark], {"model": upscaler}, {}, metrics, scale=upscaler.scale)
    return evaluation.means(benchmark.name, "model")["psnr_y"]


if __name__ == "__main__":
    run_script(main)
