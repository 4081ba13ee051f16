"""The training step on a GPU: crops a second, memory, and how busy it is.

    python benchmarks/on_gpu.py train/ --features vgg16_features.safetensors --batch 16 64 256

One batch in memory, bf16. "in kernels" is the share of the time in which the GPU computes. "of the
matrix product" is the step's products a second against those of a bf16 product of two matrices of
8192 x 8192 on the same machine. Without a GPU it measures the CPU, to rehearse.
"""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from srgan.cli.run import run_script
from srgan.training.config import TrainingConfig
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

GPU = torch.cuda.is_available()
COLUMNS = ("", "batch", "ms", "crops/s", "in kernels", "of the matrix product", "memory, GB")


def main(
    folder: Annotated[Path, Parameter(required=True)],
    /,
    *,
    features: str | None = None,
    batch: Annotated[tuple[int, ...], Parameter(consume_multiple=True)] = (16, 64, 256),
    seconds: float = 5,
    output: Path | None = None,
) -> None:
    """Print the speed of SRResNet's and, with VGG's weights, of SRGAN's default step.

    Args:
        folder: Training pictures.
        features: VGG weights, as of srgan train srgan.
        batch: Crops in a batch; several are measured one after the other.
        seconds: Length of a measurement.
        output: A JSON file of the figures.
    """
    product = matrix_product()
    table = Table(title=f"{device_name()}: {product / 1e12:.1f} TFLOP/s in a bf16 matrix product")
    for column in COLUMNS:
        table.add_column(column)
    rows: list[dict[str, Any]] = []
    for size in batch:
        for name, config in configs(folder, features, size).items():
            row = {"method": name, "batch": size, **measure(config, seconds, product)}
            rows.append(row)
            table.add_row(*(f"{x:.3g}" if isinstance(x, float) else str(x) for x in row.values()))
    Console(width=120).print(table)
    if output is not None:
        facts = {"device": device_name(), "matrix_product": product, "steps": rows}
        output.write_text(json.dumps(facts, indent=1))


def configs(folder: Path, features: str | None, batch: int) -> dict[str, TrainingConfig]:
    data = DataOptions(data_folder=folder, validation_pictures=1, workers=1)
    run, schedule = RunOptions(precision="bf16"), ScheduleOptions(batch_size=batch)
    found = {"SRResNet": TrainingConfig(data, schedule, OptimizerOptions(), run, SRResNetOptions())}
    if features is not None:
        method = SRGANOptions(srresnet="srresnet-x4", features=features)
        schedule = SRGANSchedule(batch_size=batch)
        found["SRGAN"] = TrainingConfig(data, schedule, SRGANOptimizer(), run, method)
    return found


def measure(config: TrainingConfig, seconds: float, product: float) -> dict[str, float]:
    """The figures of COLUMNS after the batch, by name."""
    if GPU:
        torch.cuda.reset_peak_memory_stats()
    trainer = Trainer(config, Path(tempfile.mkdtemp()), make_accelerator(config))
    loader = trainer.loader()
    crops = next(iter(loader))
    crops = crops._replace(hr=crops.hr.clone())
    loader.close()
    with FlopCounterMode(display=False) as counted:
        trainer.update(crops)
    step = time_of(lambda: trainer.update(crops), seconds)
    return {
        "milliseconds": step * 1000,
        "crops_per_second": len(crops.hr) / step,
        "in_kernels": busy(lambda: trainer.update(crops)) / step,
        "of_matrix_product": counted.get_total_flops() / step / product,
        "gigabytes": torch.cuda.max_memory_allocated() / 1e9 if GPU else 0.0,
    }


def wait() -> None:
    if GPU:
        torch.cuda.synchronize()


def time_of(work: Callable[[], Any], seconds: float) -> float:
    """Seconds that one call takes, once warm."""
    for _ in range(3):
        work()
    wait()
    start, calls = time.perf_counter(), 0
    while not calls or time.perf_counter() - start < seconds:
        for _ in range(10 if GPU else 1):  # the process must not wait after each
            work()
            calls += 1
        wait()
    return (time.perf_counter() - start) / calls


def busy(work: Callable[[], Any]) -> float:
    """Seconds that the kernels of one call take."""
    activity = ProfilerActivity.CUDA if GPU else ProfilerActivity.CPU
    with profile(activities=[activity]) as profiled:
        for _ in range(3):
            work()
        wait()
    events = profiled.key_averages()
    key = "self_device_time_total" if GPU else "self_cpu_time_total"
    return sum(getattr(event, key) for event in events) / 3 / 1e6


def matrix_product() -> float:
    """Floating-point operations a second of a bf16 product."""
    side = 8192 if GPU else 1024
    device = "cuda" if GPU else "cpu"
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * side**3 / time_of(lambda: a @ b, 1)


def device_name() -> str:
    return torch.cuda.get_device_name() if GPU else "CPU"


if __name__ == "__main__":
    run_script(main)
