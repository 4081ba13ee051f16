"""What clients order and get: plain data, which the store keeps on disk as JSON."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Order:
    """A client's order: how to upscale its picture. The options are those of `srgan upscale`.

    Attributes:
        model: a public name.
        name: the client's name for the picture, for messages and the result's name; never opened.
    """

    model: str
    detail: float | None = None
    scale: float | None = None
    width: int | None = None
    height: int | None = None
    format: str | None = None  # a key of FORMATS, by default the picture's own
    quality: int | None = None
    tta: bool = False
    name: str = "picture"


@dataclass(frozen=True)
class OrderPlan:
    """The result of an order, as the picture's header predicts it."""

    name: str  # of the client's file
    format: str  # a key of FORMATS
    source_size: tuple[int, int]  # width, height
    size: tuple[int, int]  # width, height
    bytes: int  # estimate of the result's file, seldom exceeded


@dataclass(frozen=True)
class Result:
    """A finished picture."""

    file: str  # in the job's folder
    name: str  # of the client's file
    media_type: str
    bytes: int
    source_size: tuple[int, int]  # width, height
    size: tuple[int, int]  # width, height
    model: str  # the model that made it, by its public name
    why: str  # that model was chosen
    signs: tuple[str, ...]  # what the choice saw in the picture: "blurred", "noisy", ...
    notes: tuple[str, ...]  # for people: what was left out or converted

    @classmethod
    def from_json(cls, members: dict[str, Any]) -> "Result":
        """The result whose attributes JSON has kept, tuples as lists."""
        tuples = ("source_size", "size", "signs", "notes")
        values: dict[str, Any] = members | {name: tuple(members[name]) for name in tuples}
        return cls(**values)
