"""Speed of the raw network, side by side in one run: `make bench`.

One 256 x 256 LR picture (1 HR megapixel) through the shipped SRResNet. The candidates take
turns, so that whatever else the machine does hits all of them; the best round of each counts.
"plain PyTorch" is what existing implementations do: NCHW, fp32, eager.
"""

import io
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from plain import PlainGenerator
from rich.console import Console
from rich.table import Table

from srgan.cli.info import describe
from srgan.engines.base import Engine, EngineError
from srgan.engines.create import create_engine
from srgan.engines.options import EngineOptions
from srgan.engines.processor import torch_has_bf16
from srgan.models.load import load_checkpoint
from srgan.networks.architecture import Checkpoint
from srgan.networks.generator import Generator
from srgan.upscaling.bands import tile_by_tile
from srgan.upscaling.tiles import Span

SIDE, ROUNDS = 256, 7
MEGAPIXELS = (4 * SIDE) ** 2 / 1e6
MFLOP_PER_PIXEL = 0.2775  # multiply and add, of the network as published, per HR pixel
MATRIX, PRODUCTS = 2048, 20  # about as long as the network: best rounds compare like with like

Candidate = Callable[[], object]


def main() -> None:
    checkpoint = load_checkpoint("srresnet-x4")
    rng = np.random.default_rng(0)
    lr = rng.random((1, 3, SIDE, SIDE), dtype=np.float32)
    networks = network_candidates(checkpoint, lr)
    types = {"fp32": torch.float32}
    if torch_has_bf16():  # emulated, it takes minutes
        types["bf16"] = torch.bfloat16
    products = {f"{name} matrix product": matrix_product(each) for name, each in types.items()}
    seconds = best_of(ROUNDS, networks | products)
    ceilings = {name: 2 * PRODUCTS * MATRIX**3 / seconds[name] / 1e9 for name in products}
    report(seconds, list(networks), ceilings)


def network_candidates(checkpoint: Checkpoint, lr: np.ndarray) -> dict[str, Candidate]:
    """Each runs the network once on `lr`."""
    generator = PlainGenerator.from_checkpoint(checkpoint)
    nchw = torch.from_numpy(lr)
    candidates = {"plain PyTorch": inference(generator, nchw)}
    if session := onnx_session(generator, nchw):
        candidates["onnxruntime fp32"] = lambda: session.run(None, {"lr": lr})
    generator = PlainGenerator.from_checkpoint(checkpoint).to(memory_format=torch.channels_last)
    nhwc = nchw.to(memory_format=torch.channels_last)
    if torch_has_bf16():
        candidates["PyTorch channels_last bf16"] = inference(generator, nhwc, torch.bfloat16)
    engines: dict[str, EngineOptions] = {
        "srgan fp32, openvino": EngineOptions("openvino", "fp32"),
        "srgan fp32": EngineOptions("native", "fp32"),
        "srgan bf16": EngineOptions("openvino", "bf16"),
        "srgan int8": EngineOptions("openvino", "int8"),
    }
    for name, options in engines.items():
        try:
            engine = create_engine(checkpoint, options)
        except EngineError as error:
            print(f"left out: {error}")
            continue
        candidates[name] = lambda engine=engine: run_network(engine, lr)
    return candidates


def run_network(engine: Engine, lr: np.ndarray) -> None:
    """The network alone, in the parts in which pictures run through it."""
    height, width = lr.shape[2:]
    whole = Span(0, height, 0, height), Span(0, width, 0, width)
    for _ in tile_by_tile(engine, lr, *whole, lambda: None):
        pass


def inference(
    generator: Generator, lr: torch.Tensor, autocast: torch.dtype | None = None
) -> Candidate:
    @torch.inference_mode()
    def run() -> torch.Tensor:
        with torch.autocast("cpu", autocast, enabled=autocast is not None):
            return generator(lr)

    return run


def onnx_session(generator: Generator, lr: torch.Tensor) -> Any:
    if not (find_spec("onnxruntime") and find_spec("onnx")):
        return None
    import onnxruntime

    file: Any = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            generator, (lr,), file, input_names=["lr"], output_names=["sr"], dynamo=False
        )
    return onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])


def matrix_product(dtype: torch.dtype) -> Candidate:
    a = torch.rand(MATRIX, MATRIX).to(dtype)
    return lambda: [a @ a for _ in range(PRODUCTS)]


def best_of(rounds: int, candidates: dict[str, Candidate]) -> dict[str, float]:
    """Seconds of each candidate's best round, after one to warm up."""
    best = dict.fromkeys(candidates, float("inf"))
    for round in range(rounds + 1):
        for name, run in candidates.items():
            start = time.perf_counter()
            run()
            if round:
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def report(seconds: dict[str, float], networks: list[str], ceilings: dict[str, float]) -> None:
    facts = describe()
    title = f"SRResNet x4, {SIDE} x {SIDE} LR, {facts['processor']}"
    table = Table(title=title, caption=f"openvino {facts['openvino']}, torch {facts['torch']}")
    for column in ("", "HR MP/s", "times plain PyTorch", "GFLOP/s"):
        table.add_column(column, justify="left" if not column else "right")
    for name in networks:
        rate = MEGAPIXELS / seconds[name]
        ratio = seconds["plain PyTorch"] / seconds[name]
        flops = f"{rate * MFLOP_PER_PIXEL * 1e3:.0f}"
        table.add_row(name, f"{rate:.2f}", f"{ratio:.2f}", flops)
    table.add_section()
    for name, ceiling in ceilings.items():
        if f"srgan {name[:4]}" not in seconds:
            continue
        rate = MEGAPIXELS / seconds[f"srgan {name[:4]}"] * MFLOP_PER_PIXEL * 1e3
        table.add_row(name, "", f"srgan at {rate / ceiling:.0%}", f"{ceiling:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
