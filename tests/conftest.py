"""Real photographs, a small network, and the `srgan` command as a user runs it."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from srgan.engines.base import EngineError
from srgan.engines.kernels import kernels
from srgan.models.file import save_checkpoint
from srgan.networks.architecture import Architecture, Checkpoint
from tests.support.command import Command
from tests.support.compiler import needs_compiler
from tests.support.networks import random_checkpoint


def pytest_configure(config: pytest.Config) -> None:
    """Compile the native engine before the workers start: a command that waits for it says so."""
    if not hasattr(config, "workerinput"):
        with suppress(EngineError):
            kernels()


@pytest.fixture
def compiled() -> None:
    """The native engine can run here; otherwise the test is skipped."""
    needs_compiler()
    kernels()


@pytest.fixture(scope="session")
def small_checkpoint() -> Checkpoint:
    """Two blocks, eight channels: quick, and every kind of layer is there."""
    return random_checkpoint(Architecture(blocks=2, channels=8))


@pytest.fixture(scope="session")
def small_model(small_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small network as a model file."""
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    save_checkpoint(path, small_checkpoint)
    return path


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """A part of a photograph with face, flag and background: (96, 120, 3) uint8."""
    return np.ascontiguousarray(data.astronaut()[40:136, 150:270])


@pytest.fixture
def photo(tmp_path: Path, astronaut: np.ndarray) -> Path:
    """The photograph as a JPEG file."""
    path = tmp_path / "photo.jpg"
    Image.fromarray(astronaut).save(path, quality=95)
    return path


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared data of the project's machines: benchmark sets, training photographs."""
    folder = os.environ.get("SRGAN_SHARED")
    if not folder or not Path(folder, "bench").is_dir():
        pytest.skip("needs the benchmark pictures: set SRGAN_SHARED to the shared folder")
    return Path(folder)


@pytest.fixture
def srgan(tmp_path: Path) -> Command:
    """Run `srgan ARGUMENTS...` in its own process, in `tmp_path`."""

    def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "srgan.cli", *map(str, arguments)]
        settings = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 120}
        return subprocess.run(command, **(settings | options), check=False)  # type: ignore[call-overload]

    return run
