"""From faithful to vivid: PSNR-Y and LPIPS along `--detail`.

    python benchmarks/detail.py BENCH/Set5 BENCH/Set14 --lpips-weights WEIGHTS --out detail.png

Prints a row a step and set, and draws LPIPS against PSNR-Y, a line a set. The protocols are those
of `srgan evaluate`, in fp32.
"""

from pathlib import Path
from typing import Annotated

import matplotlib as mpl
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from srgan.cli.bars import counting
from srgan.cli.run import run_script
from srgan.evaluation.benchmark import find_benchmarks
from srgan.evaluation.evaluate import evaluate
from srgan.evaluation.registry import load_metrics
from srgan.evaluation.results import Evaluation
from srgan.upscaling.upscaler import Upscaler

METRICS = ("psnr_y", "lpips_alex")


def main(
    folders: Annotated[list[Path], Parameter(required=True)],
    /,
    *,
    model: str = "srgan-x4",
    steps: Annotated[list[float], Parameter(consume_multiple=True)] = [0, 0.25, 0.5, 0.75, 1],  # noqa: B006
    lpips_weights: Path | None = None,
    out: Path = Path("detail.png"),
) -> None:
    """Print and draw PSNR-Y and LPIPS of a model at every step of --detail.

    Args:
        folders: Each with HR/ and LRx4/.
        model: One with a partner.
        steps: Of --detail.
        lpips_weights: Folder with the weights of LPIPS.
        out: PNG file.
    """
    upscalers = {f"{step:g}": Upscaler.load(model, detail=step, precision="fp32") for step in steps}
    scale = next(iter(upscalers.values())).scale
    benchmarks = find_benchmarks(folders, scale)
    functions, unavailable = load_metrics(METRICS, lpips_weights)
    if unavailable:
        raise SystemExit("; ".join(unavailable.values()))
    with counting("pictures") as progress:
        found = evaluate(benchmarks, upscalers, {}, functions, scale=scale, progress=progress)
    table = Table(title=f"{model}: PSNR-Y in dB / LPIPS AlexNet")
    for column in ("detail", *found.sets):
        table.add_column(column)
    for step in found.methods:
        means = [found.means(name, step) for name in found.sets]
        table.add_row(step, *(f"{m['psnr_y']:.2f} / {m['lpips_alex']:.4f}" for m in means))
    Console().print(table)
    draw(found, list(upscalers), out)
    print(out)


def draw(found: Evaluation, steps: list[str], out: Path) -> None:
    """LPIPS against PSNR-Y: better is down and to the right."""
    mpl.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4), layout="constrained")
    for name in found.sets:
        means = [found.means(name, step) for step in steps]
        x, y = ([m[metric] for m in means] for metric in METRICS)
        axes.plot(x, y, marker="o", label=name)
        for step, across, up in zip(steps, x, y, strict=True):
            axes.annotate(step, (across, up), textcoords="offset points", xytext=(5, 4), fontsize=8)
    axes.set(xlabel="PSNR-Y in dB, higher is better", ylabel="LPIPS (AlexNet), lower is better")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(out, dpi=100)


if __name__ == "__main__":
    run_script(main)
