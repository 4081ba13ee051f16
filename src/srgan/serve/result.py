"""What comes of one picture."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Result:
    """A finished picture in a file of the server's own."""

    path: Path
    name: str  # for the client's file
    media_type: str
    bytes: int
    source_size: tuple[int, int]  # width, height
    size: tuple[int, int]
    notes: tuple[str, ...]  # for people: what was left out or converted
