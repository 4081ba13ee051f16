"""Presets against each other: PSNR-Y on a benchmark set over the same iterations.

    python benchmarks/presets.py ../shared/train ../shared/bench/Set5 --out presets/

Trains an SRResNet by each preset, with the schedule fitted to the iterations, one after the
other, and draws their validation curves. Presets that lie in OUT already are not trained again.
"""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from quality import mean_psnr_y
from rich.console import Console
from rich.table import Table

from srgan.cli.run import run_script
from srgan.training.run.plot import plot_runs
from srgan.upscaling.upscaler import Upscaler

ITERATIONS = 1000


def main(
    folder: Annotated[Path, Parameter(required=True)],
    bench: Annotated[Path, Parameter(required=True)],
    /,
    *,
    out: Path = Path("presets"),
    presets: tuple[str, ...] = ("fast", "paper"),
    seed: int = 0,
) -> None:
    """Print PSNR-Y on a benchmark set after 1,000 iterations of each preset.

    Args:
        folder: Training pictures.
        bench: A folder with HR/ and LRx4/.
        out: Run folders and curves.png go there.
        presets: As of srgan train srresnet.
        seed: As of srgan train srresnet.
    """
    table = Table(title=f"SRResNet after {ITERATIONS} iterations of 16 crops, seed {seed}")
    for column in ("preset", f"PSNR-Y on {bench.name}", "minutes"):
        table.add_column(column)
    runs = []
    for preset in presets:
        run = out / Path(preset).stem
        model = run / "last.safetensors"
        if not model.exists():
            train(folder, run, preset, seed)
        upscaler = Upscaler.load(model, precision="fp32")
        minutes = upscaler.model.info["training"]["minutes"]
        table.add_row(preset, f"{mean_psnr_y(upscaler, bench):.2f}", f"{minutes:.1f}")
        runs.append(run)
    Console().print(table)
    print(plot_runs(runs, out / "curves.png"))


def train(folder: Path, run: Path, preset: str, seed: int) -> None:
    """`srgan train srresnet` in this process."""
    from srgan.cli.train import train as commands

    arguments = ["srresnet", "--data-folder", folder, "--run-folder", run, "--preset", preset]
    arguments += ["--iterations", ITERATIONS, "--seed", seed, "--validate-every", 100]
    commands([str(argument) for argument in arguments], result_action="return_value")


if __name__ == "__main__":
    run_script(main)
