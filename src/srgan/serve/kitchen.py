"""Kitchen: the service's upscaler. It checks and computes orders with the models on offer."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from srgan.engines.options import EngineOptions
from srgan.errors import OptionError
from srgan.pictures.animations import frames_of_result
from srgan.pictures.images import (
    PICTURE_SUFFIXES,
    WRITTEN_FORMATS,
    Picture,
    PictureError,
    check_output,
    formats_that_hold,
    open_picture,
    output_format,
)
from srgan.pictures.options import ResultOptions
from srgan.pictures.sizes import size_tag
from srgan.serve.jobs import Job
from srgan.serve.orders import Order, Result, Size, result_file
from srgan.serve.problems import Problem, from_picture_error, wrong_parameter
from srgan.upscaling import auto, batch
from srgan.upscaling.upscaler import Upscaler

LONGEST_NAME = 100  # characters of a client's name for its picture
MIXED_MODELS = 4  # details held in memory at once, beside each model's own
SMALL_RESULT = 20_000_000  # pixels
METADATA_BYTES = 100_000  # of a result, seldom more
# Bytes that a pixel of the result takes in a file, seldom more: from noise, the worst of pictures.
LOSSY_BYTES = {"jpeg": 2.0, "webp": 1.5, "avif": 1.5, "gif": 1.5}
LEAST_FRAME = 4096  # pixels that a frame of an animation counts at least: tiny ones take time, too


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
        self._engine = engine
        self._files: dict[str, str] = {}
        self._offered: dict[str, auto.ModelChooser] = {}
        self._mixed: OrderedDict[tuple[str, float], auto.ModelChooser] = OrderedDict()
        upscalers: dict[str, Upscaler] = {}
        for model in models:
            name = public_name(model)
            if name in self._offered:
                raise OptionError(f"--model: there are two models named {name}")
            self._files[name] = model
            self._offered[name] = auto.ModelChooser(model, None, engine, upscalers)
        self.names = list(self._offered)
        self.default = self.names[0]

    def __getitem__(self, name: str) -> auto.ModelChooser:
        """The models behind a public name. Not for upscaling in two threads at once."""
        return self._offered[name]

    def with_detail(self, name: str, detail: float | None) -> auto.ModelChooser:
        """The models behind a public name, mixed. Not for two threads at once."""
        if detail is None or detail == self._offered[name].detail:
            return self._offered[name]
        if (name, detail) not in self._mixed:
            while len(self._mixed) >= MIXED_MODELS:
                self._mixed.popitem(last=False)
            mixed = auto.ModelChooser(self._files[name], detail, self._engine)
            self._mixed[name, detail] = mixed
        self._mixed.move_to_end((name, detail))
        return self._mixed[name, detail]


class Plan(NamedTuple):
    """The result of an order, as the picture's header predicts it."""

    name: str  # of the client's file
    format: str  # a key of FORMATS
    size: tuple[int, int]  # height, width
    frames: int  # of an animation; 1 for a still picture
    bytes: int  # estimate of the result's file, seldom exceeded

    @property
    def pixels(self) -> int:
        """Of all frames."""
        return self.size[0] * self.size[1] * self.frames


class Kitchen:
    """Checks orders, and computes them."""

    def __init__(self, models: OfferedModels, max_pixels: int) -> None:
        """Make a kitchen.

        Args:
            max_pixels: larger pictures are a problem.
        """
        self.models = models
        self._max_pixels = max_pixels
        # One thread reads all headers: libvips' error texts are global to the process, so two
        # threads could swap theirs.
        self.inspector = ThreadPoolExecutor(1, "srgan-inspector")

    def checked(self, order: Order) -> Order:
        """An order with the default model and the format's full name.

        Raises:
            Problem: options contradict each other, or the model is not on offer.
        """
        name = order.model or self.models.default
        if name not in self.models.names:
            raise wrong_parameter(f"model: use one of {', '.join(self.models.names)}")
        if order.detail is not None and self.models[name].detail is None:
            raise wrong_parameter(f"detail: {name} has no partner to be mixed with")
        _options(order)
        format = output_format(order.format) if order.format else None
        changes = {"model": name, "format": format, "name": client_name(order.name)}
        return order.model_copy(update=changes)

    def plan(self, order: Order, upload: Path) -> Plan:
        """Check an order, and predict its result, from the picture's header.

        Raises:
            Problem: the order cannot be computed.
        """
        return self._open(order, upload)[1]

    def upscale(
        self, job: Job, progress: Callable[[float], None], computed: Callable[[], None]
    ) -> Result:
        """Compute a job. Not for two threads at once, until the one before has called `computed`.

        Args:
            progress: called after every tile with the fraction done. An exception that it raises
                ends the work.
            computed: called when the models are free, before a small result is encoded. Two large
                ones at once would need twice the memory.

        Raises:
            Problem: the picture is damaged, or the disk is full.
        """
        progress(0.0)
        order = self.checked(job.order)  # it may be older than the server's models
        picture, plan = self._open(order, job.upload)
        models = self.models.with_detail(order.model, order.detail)
        target = job.folder / result_file(plan.name)
        try:
            choice = models.choose(picture, plan.size)
            notes = batch.run(
                picture,
                plan.size,
                target,
                models.upscaler(choice.model),
                ResultOptions(quality=order.quality, overwrite=True),
                tta=order.tta,
                progress=lambda rows: progress(rows / plan.size[0]),
                computed=computed if plan.pixels < SMALL_RESULT else lambda: None,
            )
        except PictureError as error:
            raise from_picture_error(error) from error
        return Result(
            name=plan.name,
            bytes=target.stat().st_size,
            type=f"image/{plan.format}",
            source_size=Size(width=picture.shape[1], height=picture.shape[0]),
            size=Size(width=plan.size[1], height=plan.size[0]),
            frames=plan.frames,
            model=public_name(choice.model),
            why=choice.why,
            signs=list(choice.signs),
            notes=[*picture.notes, *notes],
        )

    def _open(self, order: Order, upload: Path) -> tuple[Picture, Plan]:
        model_scale = self.models[order.model].scale
        options = _options(order)
        try:
            # As bytes, so that messages have the client's name.
            picture = open_picture(upload.read_bytes(), self._max_pixels, name=order.name)
            height, width = batch.result_size(picture, options, model_scale)
        except PictureError as error:
            raise from_picture_error(error) from error
        format = batch.format_of_stream(picture, options)
        frames = self._frames(picture, format)
        try:
            check_output(format, width, height)
        except PictureError:
            raise Problem(
                422,
                "format-too-small",
                f"{order.name}: the result has {width:,} x {height:,} pixels, but a side of "
                f"{format.upper()} holds at most {WRITTEN_FORMATS[format].max_side:,}: choose "
                f"{formats_that_hold(max(width, height))}",
            ) from None
        raw = picture.shape[2] * picture.dtype.itemsize if frames == 1 else 4  # at most RGBA
        size = int(width * height * frames * LOSSY_BYTES.get(format, raw * 1.01)) + METADATA_BYTES
        name = _result_name(order, format, model_scale)
        return picture, Plan(name, format, (height, width), frames, size)

    def _frames(self, picture: Picture, format: str) -> int:
        """How many frames the result has; raises Problem if that is more work than one picture."""
        frames = frames_of_result(picture, format)
        height, width, _ = picture.shape
        if frames == 1:
            return 1
        if not 0 < frames * max(height * width, LEAST_FRAME) <= self._max_pixels:
            raise Problem(
                413,
                "too-many-pixels",
                f"{picture.name}: {frames or 'unknown many'} frames of {width:,} x {height:,} are "
                f"more than the {self._max_pixels:,} pixels that this server takes (a frame "
                f"counts at least {LEAST_FRAME:,}): send a part of the animation, or choose jpeg "
                "for its first frame",
            )
        return frames


def _options(order: Order) -> ResultOptions:
    """Size and quality of an order; raises Problem if they contradict each other."""
    try:
        return ResultOptions(order.scale, order.width, order.height, order.format, order.quality)
    except OptionError as error:
        raise wrong_parameter(str(error).replace("--", "")) from None


def client_name(name: str | None) -> str:
    """A client's name for its picture, without folders and control characters, cut if too long."""
    name = (name or "").replace("\\", "/").rpartition("/")[2]
    name = "".join(character for character in name if character.isprintable()).strip(" .")
    return name[-LONGEST_NAME:] or "picture"


def _result_name(order: Order, format: str, model_scale: int) -> str:
    """photo_x4.jpg for photo.jpg, as in `srgan upscale`, with a suffix that fits the format."""
    path = Path(order.name)
    suffixes = WRITTEN_FORMATS[format].suffixes
    suffix = path.suffix if path.suffix.lower() in suffixes else suffixes[0]
    stem = path.stem if path.suffix.lower() in PICTURE_SUFFIXES else order.name
    return f"{stem}{size_tag(_options(order), model_scale)}{suffix}"
