"""Kitchen: the service's upscaler. It checks and computes orders with the models on offer."""

import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from srgan.engines.options import EngineOptions
from srgan.errors import OptionError
from srgan.pictures.images import (
    FORMATS,
    PICTURE_SUFFIXES,
    Picture,
    PictureError,
    check_output,
    formats_that_hold,
    open_picture,
)
from srgan.pictures.options import ResultOptions
from srgan.serve.jobs import Result
from srgan.serve.problems import Problem, from_picture_error
from srgan.upscaling import auto, batch
from srgan.upscaling.upscaler import Upscaler

LONGEST_NAME = 100  # characters of a client's name for its picture


def public_name(model: str) -> str:
    """The name of a model for clients: without the folder and suffix of its file."""
    return Path(model).name.removesuffix(".safetensors")


class OfferedModels:
    """The models that clients can choose, by their public names. A client never names a file."""

    def __init__(self, models: Iterable[str], engine: EngineOptions) -> None:
        """Load the models.

        Args:
            models: "auto", names of shipped models, or paths of model files. The first is the
                default.
            engine: options of all engines.

        Raises:
            CheckpointError: a model cannot be loaded.
            OptionError: two models have the same public name.
        """
        self._offered: dict[str, auto.ModelChooser] = {}
        upscalers: dict[str, Upscaler] = {}
        for model in models:
            name = public_name(model)
            if name in self._offered:
                raise OptionError(f"--model: there are two models named {name}")
            self._offered[name] = auto.ModelChooser(model, None, engine, upscalers)
        self.names = list(self._offered)
        self.default = self.names[0]

    def __getitem__(self, name: str) -> auto.ModelChooser:
        """The models behind a public name. Not for upscaling in two threads at once."""
        return self._offered[name]


@dataclass(frozen=True)
class Order:
    """A client's order: a picture, and how to upscale it."""

    data: bytes
    name: str  # the client's name for it, for messages and for the result's name; never opened
    model: str  # a public name
    scale: float | None = None  # by default the model's
    format: str | None = None  # a key of FORMATS, by default the picture's own


@dataclass(frozen=True)
class OrderPlan:
    """The result of an order, as the picture's header predicts it."""

    name: str  # of the client's file
    format: str  # a key of FORMATS
    source_size: tuple[int, int]  # width, height
    size: tuple[int, int]  # width, height


class Kitchen:
    """Checks orders, and computes them."""

    def __init__(self, models: OfferedModels, folder: Path, max_pixels: int) -> None:
        """Make a kitchen.

        Args:
            folder: for results, each in a folder named after its job.
            max_pixels: larger pictures are a problem.
        """
        self.models = models
        self.folder = folder
        self._max_pixels = max_pixels
        # One thread reads all headers: libvips' error texts are global to the process, so two
        # threads could swap theirs.
        self.inspector = ThreadPoolExecutor(1, "srgan-inspector")

    def plan(self, order: Order) -> OrderPlan:
        """Check an order, and predict its result, from the picture's header.

        Raises:
            Problem: the order cannot be computed.
        """
        return self._open(order)[1]

    def upscale(self, order: Order, identifier: str, progress: Callable[[float], None]) -> Result:
        """Compute an order. Only the worker's thread may call it.

        Args:
            identifier: of the job; the name of the result's folder.
            progress: called after every tile with the fraction done. An exception that it raises
                ends the work.

        Raises:
            Problem: the picture is damaged, or the disk is full.
        """
        progress(0.0)
        picture, plan = self._open(order)
        models = self.models[order.model]
        size = plan.size[1], plan.size[0]
        folder = self.folder / identifier
        target = folder / f"result{FORMATS[plan.format].suffixes[0]}"
        try:
            choice = models.choose(picture, size)
            notes = batch.run(
                picture,
                size,
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

    def _open(self, order: Order) -> tuple[Picture, OrderPlan]:
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
                f"{order.name}: the result has {width:,} x {height:,} pixels, but a side of "
                f"{format.upper()} holds at most {FORMATS[format].max_side:,}: choose "
                f"{formats_that_hold(max(width, height))}",
            ) from None
        name = _result_name(order.name, format, order.scale or model_scale)
        source_size = picture.shape[1], picture.shape[0]
        return picture, OrderPlan(name, format, source_size, (width, height))


def client_name(name: str | None) -> str:
    """A client's name for its picture, without folders and control characters, cut if too long."""
    name = (name or "").replace("\\", "/").rpartition("/")[2]
    name = "".join(character for character in name if character.isprintable()).strip(" .")
    return name[-LONGEST_NAME:] or "picture"


def _result_name(name: str, format: str, scale: float) -> str:
    """photo_x4.jpg for photo.jpg, as in `srgan upscale`, with a suffix that fits the format."""
    path = Path(name)
    suffixes = FORMATS[format].suffixes
    suffix = path.suffix if path.suffix.lower() in suffixes else suffixes[0]
    known = path.suffix.lower() in PICTURE_SUFFIXES
    stem = path.stem if known else name
    return f"{stem}_x{scale:g}{suffix}"
