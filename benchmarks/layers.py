"""Where each millisecond of a 256 x 256 tile goes, by kind of layer: openvino's own profile.

    python benchmarks/layers.py

The mean over some runs, for each precision that this processor has. A kernel's name ends in the
type that it computes in.
"""

from collections import Counter

import numpy as np
from rich.console import Console
from rich.table import Table

from srgan.cli.run import run_script
from srgan.engines import openvino as engine
from srgan.engines.base import EngineError
from srgan.engines.library import openvino
from srgan.engines.openvino import OpenVINOEngine
from srgan.engines.options import EngineOptions, Precision
from srgan.models.load import load_checkpoint

SIDE, ROUNDS = 256, 7
STAGES = "trunk", "tail"
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "int8")

Layer = tuple[str, str, str]  # stage, kind and kernel


def main(*, model: str = "srresnet-x4") -> None:
    """Print the milliseconds of each kind of layer.

    Args:
        model: A model of ours.
    """
    checkpoint = load_checkpoint(model)
    lr = np.random.default_rng(0).random((1, 3, SIDE, SIDE), dtype=np.float32)
    requests = record_requests()
    for precision in PRECISIONS:
        requests.clear()
        try:
            network = OpenVINOEngine(checkpoint, EngineOptions("openvino", precision))
        except EngineError as error:
            print(f"left out: {error}")
            continue
        network(lr)
        milliseconds: dict[Layer, float] = {}
        count: Counter[Layer] = Counter()
        for _ in range(ROUNDS):
            network(lr)
            for stage, request in zip(STAGES, requests, strict=True):
                for node in request.profiling_info:
                    if node.status == node.Status.EXECUTED:
                        layer = stage, node.node_type, node.exec_type
                        spent = node.real_time.total_seconds() * 1e3 / ROUNDS
                        milliseconds[layer] = milliseconds.get(layer, 0) + spent
                        count[layer] += 1
        report(f"{model}, {precision}, {SIDE} x {SIDE} LR", milliseconds, count)


def record_requests() -> list[openvino.InferRequest]:
    """Have engines profile; returns the list to which their stages are added."""
    requests: list[openvino.InferRequest] = []
    settings, infer = engine.device_settings, engine.infer

    def profiling(*arguments):
        return settings(*arguments) | {"PERF_COUNT": "YES"}

    def recorded(request, *arguments, **options):
        if request not in requests:
            requests.append(request)
        return infer(request, *arguments, **options)

    engine.device_settings, engine.infer = profiling, recorded
    return requests


def report(title: str, milliseconds: dict[Layer, float], count: Counter[Layer]) -> None:
    table = Table(title=title)
    for column in ("stage", "layer", "kernel", "layers", "ms"):
        table.add_column(column, justify="right" if column in ("layers", "ms") else "left")
    for stage in STAGES:
        of_stage = {layer: ms for layer, ms in milliseconds.items() if layer[0] == stage}
        for layer, ms in sorted(of_stage.items(), key=lambda item: -item[1]):
            table.add_row(*layer, str(count[layer] // ROUNDS), f"{ms:.1f}")
        table.add_row(stage, "all", "", "", f"{sum(of_stage.values()):.1f}", end_section=True)
    Console().print(table)


if __name__ == "__main__":
    run_script(main)
