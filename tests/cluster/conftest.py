from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def pictures(tmp_path: Path, astronaut: np.ndarray) -> Path:
    """Eleven photographs in a tree, and a file that is none."""
    folder = tmp_path / "in"
    (folder / "inner").mkdir(parents=True)
    for number in range(11):
        name = f"inner/{number:02d}.png" if number % 3 == 0 else f"{number:02d}.jpg"
        Image.fromarray(astronaut[number : number + 60]).save(folder / name)
    (folder / "bad.png").write_text("no picture")
    (folder / "notes.txt").write_text("passed over")
    (folder / ".hidden.png").write_bytes((folder / "01.jpg").read_bytes())
    return folder


@pytest.fixture
def memory() -> Iterator[str]:
    """A URL that this process alone can see, so that no cluster is needed."""
    fs = fsspec.filesystem("memory")
    yield "memory://bulk"
    fs.rm("/", recursive=True)
