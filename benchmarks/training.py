"""Speed of the training step, side by side in one run.

    python benchmarks/training.py ../shared/train --features vgg16_features.safetensors

Against the loop everybody uses (NCHW, fp32, eager, LR made by PIL in the loader), each in a
process of its own, taking turns. "one batch in memory" is our step without its data.
"""

import tempfile
from pathlib import Path
from statistics import median
from typing import Annotated

from cyclopts import Parameter
from plain import PlainSRGAN, PlainSRResNet
from rich.console import Console
from rich.table import Table
from turns import Maker, Work, take_turns

from srgan.cli.info import describe
from srgan.cli.run import run_script
from srgan.training.config import TrainingConfig
from srgan.training.data.loader import CropBatch
from srgan.training.options import (
    DataOptions,
    OptimizerOptions,
    RunOptions,
    ScheduleOptions,
    SRGANOptimizer,
    SRGANOptions,
    SRGANSchedule,
    SRResNetOptions,
)
from srgan.training.start import make_accelerator
from srgan.training.trainer import Trainer


def main(
    folder: Annotated[Path, Parameter(required=True)],
    /,
    *,
    features: str = "vgg19",
    rounds: int = 5,
    seconds: float = 15,
) -> None:
    """Print crops per second of SRResNet's and SRGAN's training step.

    Args:
        folder: Training pictures.
        features: VGG weights, as of srgan train srgan.
        rounds: Turns of each candidate.
        seconds: Length of a turn.
    """
    methods: dict[str, dict[str, Maker]] = {
        "SRResNet": {
            "plain PyTorch": (PlainSRResNet, (folder,)),
            "srgan train": (ours, (srresnet(folder), True)),
            "srgan train, one batch in memory": (ours, (srresnet(folder), False)),
        },
        "SRGAN": {
            "plain PyTorch": (PlainSRGAN, (folder, features)),
            "srgan train": (ours, (srgan(folder, features), True)),
            "srgan train, one batch in memory": (ours, (srgan(folder, features), False)),
        },
    }
    facts = describe()
    table = Table(title=f"crops/s, batches of 16 crops of 96 x 96, {facts['processor']}")
    for column in ("", "", "median", "all turns", "times plain PyTorch"):
        table.add_column(column)
    for method, candidates in methods.items():
        speeds = take_turns(candidates, rounds=rounds, seconds=seconds)
        plain = median(speeds["plain PyTorch"])
        for name, each in speeds.items():
            turns = ", ".join(f"{speed:.1f}" for speed in each)
            ratio = f"{median(each) / plain:.2f}"
            table.add_row(method, name, f"{median(each):.1f}", turns, ratio)
        table.add_section()
    Console().print(table)


def srresnet(folder: Path) -> TrainingConfig:
    data = DataOptions(data_folder=folder, validation_pictures=1)
    return TrainingConfig(
        data, ScheduleOptions(), OptimizerOptions(), RunOptions(), SRResNetOptions()
    )


def srgan(folder: Path, features: str) -> TrainingConfig:
    data = DataOptions(data_folder=folder, validation_pictures=1)
    method = SRGANOptions(  # the paper's, which is what the plain loop computes
        srresnet="srresnet-x4",
        features=features,
        layer=((5, 4),),
        content_loss="mse",
        adversarial_loss="standard",
        adversarial_weight=1e-3,
        consistency_weight=0,
        grid_weight=0,
        spectrum_weight=0,
        jitter=False,
        discriminator="picture",
        discriminator_rate=1e-4,
    )
    optimizer = SRGANOptimizer(optimizer="adam", rate=1e-4, freeze_bn=False)
    return TrainingConfig(data, SRGANSchedule(), optimizer, RunOptions(), method)


def ours(config: TrainingConfig, loading: bool) -> Work:
    """An iteration of `srgan train`, with its data loader or without."""
    trainer = Trainer(config, Path(tempfile.mkdtemp()), make_accelerator(config))
    loader = trainer.loader()
    batches = iter(loader)
    fixed = CropBatch(next(batches).hr.clone(), None)
    if not loading:
        loader.close()

    def iteration() -> int:
        crops = next(batches) if loading else fixed
        trainer.update(crops)
        return len(crops.hr)

    return iteration


if __name__ == "__main__":
    run_script(main)
