"""Speed and exactness of other projects' networks: python benchmarks/peers.py FOLDER [--side 128]

Each file of the folder runs one picture in turns, in processes of their own: PyTorch eager fp32,
PyTorch channels_last bf16 (or fp32 where the processor lacks bf16), ncnn on the CPU, onnxruntime,
srgan fp32 and srgan auto. The best round of each counts, in HR megapixels a second. The difference
is the largest from PyTorch fp32. ncnn and onnxruntime run if they are installed; ncnn also needs
pnnx.
"""

import argparse
import tempfile
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from turns import Maker, Work, take_turns

from srgan.engines.create import create_engine
from srgan.engines.options import EngineOptions
from srgan.engines.processor import torch_has_bf16, usable_cores
from srgan.models.load import load_model
from srgan.models.standalone import exported
from srgan.networks.foreign import ForeignNetwork, torch_module

SUFFIXES = (".safetensors", ".pth", ".pt")
Candidate = Callable[[np.ndarray], np.ndarray]  # from LR to SR


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=128, help="of the LR picture, in pixels")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
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
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "lr.npy", picture(network, side))
        makers = candidates(path, network, folder)
        speeds = take_turns(makers, rounds=rounds, seconds=2)
        results = {each: np.load(folder / f"{each}.npy") for each in makers}
    return [
        f"| {path.stem} | {each} | {max(speed):.3f} | "
        f"{np.abs(results[each] - results['PyTorch fp32']).max():.1e} |"
        for each, speed in speeds.items()
    ]


def picture(network: ForeignNetwork, side: int) -> np.ndarray:
    return np.random.default_rng(0).random((1, network.channels, side, side), np.float32)


def candidates(path: Path, network: ForeignNetwork, folder: Path) -> dict[str, Maker]:
    """What takes turns, by name."""
    kind = "bf16" if torch_has_bf16() else "fp32"
    makers: dict[str, tuple[Callable[..., Candidate], tuple[Any, ...]]] = {
        "PyTorch fp32": (with_torch, (path, False)),
        f"PyTorch channels_last {kind}": (with_torch, (path, True)),
    }
    if find_spec("ncnn") and find_spec("pnnx") and to_ncnn(network, folder):
        makers["ncnn"] = with_ncnn, (folder,)
    if find_spec("onnxruntime"):
        makers["onnxruntime"] = with_onnxruntime, (path,)
    for precision in ("fp32", "auto"):
        engine = create_engine(network, EngineOptions("auto", precision))  # and measure, once
        name = f"srgan {precision} ({engine.name}, {engine.precision})"
        makers[name] = with_srgan, (path, precision)
    return {name: (work, (name, folder, *maker)) for name, maker in makers.items()}


def work(
    name: str, folder: Path, make: Callable[..., Candidate], arguments: tuple[Any, ...]
) -> Work:
    """A candidate's work, in its process; its result lies in the folder then."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(usable_cores())
    lr = np.load(folder / "lr.npy")
    run = make(*arguments)
    result = run(lr)
    np.save(folder / f"{name}.npy", result)

    def once() -> float:
        run(lr)
        return result.shape[2] * result.shape[3] / 1e6

    return once


def loaded(path: Path) -> ForeignNetwork:
    network = load_model(path)
    assert isinstance(network, ForeignNetwork)
    return network


def with_torch(path: Path, lasting: bool) -> Candidate:
    """PyTorch: eager fp32, or channels_last and bf16 if the processor has it."""
    module: Any = torch_module(loaded(path))
    module = module.to(memory_format=torch.channels_last if lasting else torch.contiguous_format)
    half = lasting and torch_has_bf16()

    @torch.inference_mode()
    def run(lr: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(lr)
        x = x.contiguous(memory_format=torch.channels_last) if lasting else x
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            return module(x).float().numpy()

    return run


def with_srgan(path: Path, precision: Any) -> Candidate:
    engine = create_engine(loaded(path), EngineOptions("auto", precision))
    return lambda lr: engine(lr)


def to_ncnn(network: ForeignNetwork, folder: Path) -> bool:
    """Convert the network by pnnx, fp32 as pnnx stores it; false if that fails."""
    import ncnn  # pyright: ignore[reportMissingImports]
    import pnnx  # pyright: ignore[reportMissingImports]

    lr = torch.from_numpy(np.load(folder / "lr.npy"))
    pnnx.export(torch_module(network), str(folder / "network.pt"), lr, fp16=False)
    return ncnn.Net().load_param(str(folder / "network.ncnn.param")) == 0  # else it would crash


def with_ncnn(folder: Path) -> Candidate:
    import ncnn  # pyright: ignore[reportMissingImports]

    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    net.opt.num_threads = usable_cores()
    net.load_param(str(folder / "network.ncnn.param"))
    net.load_model(str(folder / "network.ncnn.bin"))

    def run(lr: np.ndarray) -> np.ndarray:
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(lr[0]))
        return np.array(extractor.extract("out0")[1])[None]

    return run


def with_onnxruntime(path: Path) -> Candidate:
    import onnxruntime

    network = loaded(path)
    data = exported(torch_module(network), network.channels, network.sizes, half=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return lambda lr: session.run(None, {"lr": lr})[0]


if __name__ == "__main__":
    main()
