"""The native engine against the other ones, where it is taken, and where it cannot run."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from srgan.engines import create, kernels, openvino, precision
from srgan.engines.base import EngineError
from srgan.engines.create import create_engine
from srgan.engines.native import NativeEngine
from srgan.engines.options import EngineOptions, Precision
from srgan.models.load import load_checkpoint
from srgan.networks.architecture import Architecture, Checkpoint
from srgan.upscaling.upscaler import Upscaler
from tests.support.networks import random_checkpoint
from tests.support.reference import network

ARCHITECTURES = {
    "x2": Architecture(2, 16, scale=2),
    "x3": Architecture(2, 16, scale=3),
    "x4": Architecture(2, 64, scale=4),
    "x8": Architecture(2, 16, scale=8),
    "same-size": Architecture(2, 16, scale=1, unshuffle=4, bilinear=True, output="clamp"),
    "unshuffled": Architecture(2, 32, scale=2, unshuffle=2),
}


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((1, 3, height, width), np.float32)


def test_the_order_in_memory_does_not_matter(astronaut: np.ndarray, compiled: None) -> None:
    """As in files of MATLAB. A tile inside the picture is a view of it."""
    upscaler = Upscaler.load("srgan-x2", engine="native", tile=64)
    picture = np.tile(astronaut, (2, 1, 1))
    assert np.array_equal(upscaler(np.asfortranarray(picture)), upscaler(picture))


FORK = """
import multiprocessing, sys
import numpy as np
from srgan import Upscaler
upscaler = Upscaler.load("srgan-x2", engine="native", threads=2)
picture = np.zeros((40, 40, 3), np.uint8)
upscaler(picture)
process = multiprocessing.get_context("fork").Process(target=upscaler, args=(picture,))
process.start()
process.join(20)
print(process.exitcode)
process.kill()
upscaler(picture)
"""


def test_a_forked_process_has_threads_of_its_own(compiled: None) -> None:
    result = subprocess.run(
        [sys.executable, "-c", FORK], capture_output=True, text=True, check=True
    )
    assert result.stdout == "0\n"


@pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=list(ARCHITECTURES))
def test_agrees_with_the_network(architecture: Architecture, compiled: None) -> None:
    """At sizes of whole tiles of 6 x 6, of parts of tiles, of one place, and of several blocks."""
    checkpoint = random_checkpoint(architecture)
    engine = NativeEngine(checkpoint, EngineOptions())
    for size in ((48, 24), (33, 47), (1, 1), (2, 90), (130, 70), (33, 47)):
        lr = picture(*size)
        sr = engine(lr)
        assert sr.dtype == np.float32
        np.testing.assert_allclose(sr, network(checkpoint, lr), atol=1e-4)


@pytest.mark.parametrize("name", ["srgan-x4", "srgan-blurry-x4", "srgan-x2", "srgan-blurry-x1"])
def test_shipped_models_agree_with_openvino(
    name: str, astronaut: np.ndarray, compiled: None
) -> None:
    """To within a tenth of an 8-bit level. 16-bit pictures take it, too."""
    checkpoint = load_checkpoint(name)
    lr = (astronaut.astype(np.float32) / 255).transpose(2, 0, 1)[None]
    found, expected = (
        create_engine(checkpoint, EngineOptions(engine, "fp32"))(lr)
        for engine in ("native", "openvino")
    )
    assert np.abs(found - expected).max() < 0.1 / 255


def test_a_part_of_the_features_gives_that_part(compiled: None) -> None:
    engine = NativeEngine(random_checkpoint(ARCHITECTURES["same-size"]), EngineOptions())
    features = engine.features(picture(64, 80))
    whole = engine.reconstruct(features)
    halo = engine.tiling.tail_halo
    part = engine.reconstruct(features[..., 3:12, 5:17])
    inside = slice(4 * halo, -4 * halo)
    expected = whole[..., 12:48, 20:68][..., inside, inside]
    np.testing.assert_allclose(part[..., inside, inside], expected, atol=2e-5)


def test_threads_give_the_same_bits(compiled: None) -> None:
    checkpoint, lr = random_checkpoint(ARCHITECTURES["x4"]), picture(70, 90)
    one, three = (NativeEngine(checkpoint, EngineOptions(threads=count))(lr) for count in (1, 3))
    assert np.array_equal(one, three)


@pytest.mark.parametrize(
    ("wanted", "auto", "amx", "expected"),
    [
        ("auto", "fp32", False, "native"),
        ("fp32", "bf16", True, "native"),  # as for 16-bit pictures
        ("auto", "int8", False, "openvino"),
        ("auto", "bf16", True, "openvino"),
        ("auto", "bf16", False, "native"),  # Zen 4
        ("bf16", "bf16", False, "openvino"),
    ],
)
def test_auto_takes_it_where_it_is_faster(
    wanted: Precision,
    auto: Precision,
    amx: bool,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    compiled: None,
) -> None:
    monkeypatch.setattr(create, "cpu_precision", lambda _info: auto)
    monkeypatch.setattr(precision, "has_amx", lambda: amx)
    monkeypatch.setattr(openvino, "resolve", lambda wanted: wanted)
    monkeypatch.setattr(create, "_torch_has_gpu", lambda: False)
    checkpoint = random_checkpoint(ARCHITECTURES["x4"])
    assert create_engine(checkpoint, EngineOptions(precision=wanted)).name == expected


@pytest.mark.parametrize(
    "architecture",
    [
        Architecture(2, 24, scale=4),
        Architecture(2, 16, scale=2, unshuffle=2, input="imagenet", hr_conv=True, bilinear=True),
    ],
    ids=["channels", "another project's"],
)
def test_other_networks_run_by_openvino(architecture: Architecture, compiled: None) -> None:
    checkpoint = random_checkpoint(architecture)
    assert create_engine(checkpoint, EngineOptions(precision="fp32")).name != "native"
    with pytest.raises(EngineError, match="cannot run this architecture; use openvino"):
        create_engine(checkpoint, EngineOptions("native"))


@pytest.mark.parametrize(
    "options",
    [EngineOptions("native", "bf16"), EngineOptions("native", device="gpu")],
    ids=["bf16", "gpu"],
)
def test_nothing_but_fp32_on_the_cpu(small_checkpoint: Checkpoint, options: EngineOptions) -> None:
    with pytest.raises(EngineError, match="fp32 on the CPU; use --engine openvino"):
        create_engine(small_checkpoint, options)


SCRIPT = """
from srgan.engines.create import create_engine
from srgan.engines.options import EngineOptions
from srgan.models.load import load_checkpoint
import sys
options = EngineOptions(sys.argv[1], "fp32")
try:
    print(create_engine(load_checkpoint("srresnet-x4"), options).name)
except Exception as error:
    print(error)
"""


def run(engine: str, cache: Path, compiler: str) -> str:
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "CXX": compiler}
    command = [sys.executable, "-c", SCRIPT, engine]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert result.stderr == ""
    return result.stdout


def test_without_a_compiler_openvino_stays(tmp_path: Path, compiled: None) -> None:
    """In silence where nobody asked for the native engine."""
    assert run("auto", tmp_path, "missing-compiler") == "openvino\n"
    said = run("native", tmp_path, "missing-compiler")
    assert said.startswith("the native engine needs a C++ compiler: ") and said.count("\n") == 1
    (tmp_path / "file").write_text("")
    assert run("auto", tmp_path / "file", os.environ.get("CXX", "c++")) == "openvino\n"


COMPILE = "from srgan.engines.kernels import kernels; print(kernels().srgan_lanes() > 0)"


def test_two_processes_compile_at_once_and_a_third_takes_it(tmp_path: Path, compiled: None) -> None:
    """As all that is compiled (networks/compiled.py)."""

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", COMPILE],
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
            stdout=subprocess.PIPE,
            text=True,
        )

    for process in [start(), start()]:
        assert process.communicate(timeout=240)[0] == "True\n"
    (library,) = (tmp_path / "srgan").iterdir()  # and nothing else is left
    written = library.stat().st_mtime_ns
    assert start().communicate(timeout=60)[0] == "True\n"
    assert library.stat().st_mtime_ns == written


def test_a_compiler_that_fails_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiled: None
) -> None:
    script = tmp_path / "failing"
    script.write_text(f"#!/bin/sh\necho >> {tmp_path}/calls\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("CXX", f"{script} with arguments")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(kernels, "_kernels", functools.cache(kernels._kernels.__wrapped__))
    for _ in range(2):
        with pytest.raises(EngineError, match="needs a C\\+\\+ compiler"):
            kernels.kernels()
    assert (tmp_path / "calls").read_text() == "\n"


def test_a_damaged_library_is_compiled_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiled: None
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "first"))
    assert kernels._kernels.__wrapped__()[0] is not None
    (library,) = tmp_path.glob("first/srgan/native-*.so")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "second"))
    (tmp_path / "second/srgan").mkdir(parents=True)
    (tmp_path / "second/srgan" / library.name).write_bytes(b"damaged")
    assert "cannot be loaded" in kernels._kernels.__wrapped__()[1]
    assert kernels._kernels.__wrapped__()[0] is not None


def test_no_home_folder(monkeypatch: pytest.MonkeyPatch, compiled: None) -> None:
    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", unknown)
    assert "Set XDG_CACHE_HOME" in kernels._kernels.__wrapped__()[1]


def test_on_another_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "processor_flags", lambda: {"sse4_2"})
    assert "needs Linux and a processor with AVX2" in kernels._kernels.__wrapped__()[1]
