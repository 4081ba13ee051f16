"""Speed and exactness of other projects' networks: python benchmarks/peers.py FOLDER [--side 128]

Each file of the folder runs one picture in turns: PyTorch eager fp32, PyTorch channels_last bf16
(or fp32 where the processor lacks bf16), ncnn on the CPU, onnxruntime, srgan fp32 and srgan auto.
The best round of each counts, in HR megapixels a second. The difference is the largest from
PyTorch fp32. ncnn and onnxruntime run if they are installed; ncnn also needs pnnx.
"""

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from srgan.engines.create import create_engine
from srgan.engines.options import EngineOptions
from srgan.engines.processor import torch_has_bf16, usable_cores
from srgan.models.load import load_model
from srgan.models.standalone import exported
from srgan.networks.foreign import ForeignNetwork, torch_module

SUFFIXES = (".safetensors", ".pth", ".pt")
Candidate = Callable[[], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=128, help="of the LR picture, in pixels")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(usable_cores())
    rows = ["| file | run | HR megapixels/s | largest difference |", "|---|---|---|---|"]
    for path in sorted(options.folder.iterdir()):
        if path.suffix in SUFFIXES:
            rows += measure(path, options.side, options.rounds)
    print("\n".join(rows))  # at the end, because pnnx prints, too


def measure(path: Path, side: int, rounds: int) -> list[str]:
    """The rows of one file."""
    network = load_model(path)
    if not isinstance(network, ForeignNetwork):
        return []
    lr = np.random.default_rng(0).random((1, network.channels, side, side), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        runs = candidates(network, lr, Path(folder))
        results = {name: run() for name, run in runs.items()}  # warm
        best = dict.fromkeys(runs, float("inf"))
        for _ in range(rounds):
            for name, run in runs.items():
                begin = time.perf_counter()
                run()
                best[name] = min(best[name], time.perf_counter() - begin)
    megapixels = (side * network.scale) ** 2 / 1e6
    reference = results["PyTorch fp32"]
    return [
        f"| {path.stem} | {name} | {megapixels / seconds:.3f} | "
        f"{np.abs(results[name] - reference).max():.1e} |"
        for name, seconds in best.items()
    ]


def candidates(network: ForeignNetwork, lr: np.ndarray, folder: Path) -> dict[str, Candidate]:
    """What to run, by name."""
    module = torch_module(network)
    lasting: Any = torch_module(network)
    lasting = lasting.to(memory_format=torch.channels_last)
    x = torch.from_numpy(lr)
    dtype = torch.bfloat16 if torch_has_bf16() else torch.float32

    @torch.inference_mode()
    def eager() -> np.ndarray:
        return module(x).numpy()

    @torch.inference_mode()
    def channels_last() -> np.ndarray:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            return lasting(x.contiguous(memory_format=torch.channels_last)).float().numpy()

    kind = "bf16" if dtype == torch.bfloat16 else "fp32"
    runs: dict[str, Candidate] = {
        "PyTorch fp32": eager,
        f"PyTorch channels_last {kind}": channels_last,
    }
    if find_spec("ncnn") and find_spec("pnnx"):
        converted = with_ncnn(module, lr, folder)
        if converted is not None:
            runs["ncnn"] = converted
    if find_spec("onnxruntime"):
        runs["onnxruntime"] = with_onnxruntime(network, module, lr)
    for precision in ("fp32", "auto"):
        engine = create_engine(network, EngineOptions("openvino", precision))
        name = f"srgan {precision}" + (f" ({engine.precision})" if precision == "auto" else "")
        runs[name] = lambda engine=engine: engine(lr)
    return runs


def with_ncnn(module: Any, lr: np.ndarray, folder: Path) -> Candidate | None:
    """The network in ncnn, converted by pnnx, fp32 as pnnx stores it; None if that fails."""
    import ncnn  # pyright: ignore[reportMissingImports]
    import pnnx  # pyright: ignore[reportMissingImports]

    path = folder / "network.pt"
    pnnx.export(module, str(path), torch.from_numpy(lr), fp16=False)
    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    net.opt.num_threads = usable_cores()
    if net.load_param(str(path.with_suffix(".ncnn.param"))) != 0:  # to run it would crash
        return None
    net.load_model(str(path.with_suffix(".ncnn.bin")))
    picture = ncnn.Mat(lr[0])

    def run() -> np.ndarray:
        extractor = net.create_extractor()
        extractor.input("in0", picture)
        return np.array(extractor.extract("out0")[1])[None]

    return run


def with_onnxruntime(network: ForeignNetwork, module: Any, lr: np.ndarray) -> Candidate:
    import onnxruntime

    sizes = network.sizes
    data = exported(module, network.channels, sizes, half=False)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"lr": lr})[0]


if __name__ == "__main__":
    main()
