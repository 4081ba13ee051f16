"""One upload through the upscaler into a file of the server's own, as `srgan upscale` does it."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from srgan import batch
from srgan.config import ResultOptions
from srgan.images import FORMATS, Picture, PictureError, check_output, open_picture
from srgan.serve.models import Models, public_name
from srgan.serve.problems import Problem, from_picture_error
from srgan.serve.result import Result

LONGEST_NAME = 100  # characters of a client's name for its picture


@dataclass(frozen=True)
class Order:
    """A picture and what its client wants of it."""

    data: bytes
    name: str  # the client's, for messages and for the result's name; never opened
    model: str
    scale: float | None = None  # by default the model's
    format: str | None = None  # a key of FORMATS, by default the picture's own


@dataclass(frozen=True)
class Plan:
    """What will come of an order, known from the picture's header."""

    name: str
    format: str
    source_size: tuple[int, int]  # width, height
    size: tuple[int, int]


class Kitchen:
    """Checks orders and carries them out."""

    def __init__(self, models: Models, folder: Path, max_pixels: int) -> None:
        """folder: for results, each in a folder named after its job."""
        self.models = models
        self.folder = folder
        self._max_pixels = max_pixels
        # libvips' error texts are global to the process: two headers at once could swap theirs.
        self.inspector = ThreadPoolExecutor(1, "srgan-inspector")

    def plan(self, order: Order) -> Plan:
        """Check all that can be known before work.

        Raises:
            Problem: the picture cannot be upscaled as asked.
        """
        return self._open(order)[1]

    def upscale(self, order: Order, identifier: str, progress: Callable[[float], None]) -> Result:
        """Carry out an order. In the worker's thread alone.

        Args:
            identifier: the job's, which the result's folder is named after.
            progress: called after every tile with the fraction done; what it raises ends the work.

        Raises:
            Problem: the picture is damaged, or the disk full.
        """
        progress(0.0)
        picture, plan = self._open(order)
        models = self.models[order.model]
        same_size = plan.size == plan.source_size
        folder = self.folder / identifier
        target = folder / f"result{FORMATS[plan.format].suffixes[0]}"
        try:
            choice = models.choose(picture, same_size=same_size)
            notes = batch.run(
                picture,
                (plan.size[1], plan.size[0]),
                target,
                models.upscaler(choice.model),
                ResultOptions(overwrite=True),
                progress=lambda rows: progress(rows / plan.size[1]),
            )
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, PictureError):
                raise from_picture_error(error) from error
            raise
        return Result(
            target,
            plan.name,
            f"image/{plan.format}",
            target.stat().st_size,
            plan.source_size,
            plan.size,
            choice._replace(model=public_name(choice.model)),
            (*picture.notes, *notes),
        )

    def _open(self, order: Order) -> tuple[Picture, Plan]:
        model_scale = self.models[order.model].scale
        try:
            picture = open_picture(order.data, self._max_pixels, name=order.name)
            options = ResultOptions(scale=order.scale)
            height, width = batch.result_size(picture, options, model_scale)
        except PictureError as error:
            raise from_picture_error(error) from error
        format = order.format or (picture.format if picture.format in FORMATS else "png")
        try:
            check_output(format, width, height)
        except PictureError:
            raise Problem(
                422,
                "format-too-small",
                f"{order.name}: the result has {width:,} x {height:,} pixels, more a side than "
                f"the {FORMATS[format].max_side:,} that {format.upper()} holds: choose png or tiff",
            ) from None
        name = _result_name(order.name, format, order.scale or model_scale)
        source_size = picture.shape[1], picture.shape[0]
        return picture, Plan(name, format, source_size, (width, height))


def client_name(name: str | None) -> str:
    """A client's name for its picture without folders, control characters and excess."""
    name = (name or "").replace("\\", "/").rpartition("/")[2]
    name = "".join(character for character in name if character.isprintable()).strip(" .")
    return name[-LONGEST_NAME:] or "picture"


def _result_name(name: str, format: str, scale: float) -> str:
    """photo.jpg -> photo_x4.jpg, as `srgan upscale` names it; the suffix fits the format."""
    path = Path(name)
    suffixes = FORMATS[format].suffixes
    suffix = path.suffix if path.suffix.lower() in suffixes else suffixes[0]
    known = path.suffix.lower() in batch.PICTURE_SUFFIXES
    stem = path.stem if known else name
    return f"{stem}_x{scale:g}{suffix}"
