"""What comes of one picture."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from srgan.auto import Choice


@dataclass(frozen=True)
class Result:
    """A finished picture, in a folder of the server's own that holds nothing else."""

    path: Path
    name: str  # for the client's file
    media_type: str
    bytes: int
    source_size: tuple[int, int]  # width, height
    size: tuple[int, int]
    choice: Choice  # the model that made it
    notes: tuple[str, ...]  # for people: what was left out or converted

    @property
    def stored(self) -> int:
        """Bytes on disk, what else lies in the folder included."""
        return sum(file.stat().st_size for file in self.path.parent.iterdir())

    def discard(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path.parent, ignore_errors=True)
