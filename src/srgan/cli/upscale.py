"""The `srgan upscale` command: parses, calls, prints."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, TextIO

from cyclopts import Group, Parameter

from srgan.cli.run import command
from srgan.engines.options import EngineOptions
from srgan.errors import OptionError
from srgan.pictures.options import DEFAULT_MAX_PIXELS, ResultOptions, check_max_pixels
from srgan.upscaling.options import AUTO

if TYPE_CHECKING:
    from srgan.pictures.images import Picture
    from srgan.pictures.jobs import PictureJob
    from srgan.upscaling.upscaler import Upscaler

RESULT = Parameter(name="*", group=Group("Result", sort_key=1))
VERB = {False: "done", True: "can be done"}  # by dry_run
upscale_app = command(
    "upscale",
    epilogue="""\
Examples:

  srgan upscale photo.jpg

  srgan upscale holiday/ -o large/

  srgan upscale "scans/*.png" --scale 2 --format webp --quality 85

  srgan upscale blurry.jpg --scale 1 -o sharper.jpg

  srgan upscale - -o - --format png < photo.jpg > large.png

Exit codes: 0 all done, 1 a picture failed, 2 wrong usage, 130 or 143 stopped by a signal. Add
--debug for tracebacks.
""",
)
ENGINE = Parameter(name="*", group=Group("Engine", sort_key=2))


@upscale_app.default
def upscale(
    inputs: Annotated[list[str], Parameter(name="input", required=True)],
    /,
    *,
    output: Annotated[str | None, Parameter(alias="-o")] = None,
    model: Annotated[str, Parameter(alias="-m")] = AUTO,
    detail: float | None = None,
    result: Annotated[ResultOptions, RESULT] = ResultOptions(),
    engine: Annotated[EngineOptions, ENGINE] = EngineOptions(),
    tta: bool = False,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    skip_existing: bool = False,
    dry_run: bool = False,
    verbose: Annotated[bool, Parameter(alias="-v")] = False,
    json: bool = False,
) -> int:
    """Upscale pictures: photo.jpg becomes photo_x4.jpg.

    Args:
        inputs: Pictures, globs, or folders (searched recursively); - reads standard input.
        output: A file for one picture, or a folder; it is created if it does not exist. - writes
            one picture to standard output, and messages to standard error. Default: photo_x4.jpg
            beside photo.jpg, FOLDER_x4 beside a folder.
        model: A name (see `srgan models`), a model file, any super-resolution network as .onnx or,
            with PyTorch, .pth or .safetensors, or hf:USER/NAME. auto uses the blurry models for
            blurry, noisy and compressed pictures, and the scale that fits.
        detail: From 0 (faithful) to 1 (all the texture that the model invents), for models with a
            partner. Default: 0.95 for srgan-x4, 1 for the others.
        tta: Average over the 8 flips and rotations: 8 times slower, slightly better.
        max_pixels: Refuse pictures with more pixels.
        skip_existing: Skip pictures whose results exist, to continue after a stop.
        dry_run: Print the plan and write nothing.
        verbose: Print which model each picture gets, and why.
        json: Print one JSON object per picture, for other programs. Not with -o -.
    """
    from srgan.cli.console import Reporter
    from srgan.pictures import jobs
    from srgan.upscaling import batch
    from srgan.upscaling.auto import ModelChooser

    check_max_pixels(max_pixels)
    models = ModelChooser(model, detail, engine)
    planned = jobs.plan(inputs, output, result, models.scale, skip_existing=skip_existing)
    data, out = _streams(planned[0], json) if planned else (None, None)
    if not dry_run and not all(job.problem or job.kept for job in planned):
        models.upscaler()  # what cannot run here fails before any work
    with Reporter(len(planned), verb=VERB[dry_run], json=json, out=out) as reporter:
        for job in planned:
            if job.kept:
                reporter.keep(job)
                continue
            with reporter.job(job) as report:
                picture, size = batch.inspect(job, result, models.scale, max_pixels, data)
                report.opened(picture, size)
                choice = models.choose(picture, size)
                report.chosen(choice.model, choice.why, explain=verbose)
                if not dry_run:
                    upscaler = models.upscaler(choice.model)
                    report.done(_write(picture, size, job, upscaler, result, tta, report.progress))
    return reporter.exit_code


def _streams(job: "PictureJob", json: bool) -> tuple[bytes | None, TextIO | None]:
    """The picture on standard input, and where messages go if it is not standard output."""
    from srgan.pictures.jobs import STREAM

    if job.target == STREAM:
        if json:
            raise OptionError("-o - and --json would both write to standard output")
        if sys.stdout.isatty():
            raise OptionError("-o - writes a picture: redirect standard output to a file or pipe")
    data = None
    if job.source == STREAM and not job.problem:
        if not sys.stdin or sys.stdin.isatty():
            raise OptionError("- reads a picture from standard input: pipe or redirect one there")
        data = sys.stdin.buffer.read()
    return data, sys.stderr if job.target == STREAM else None


def _write(
    picture: "Picture",
    size: tuple[int, int],
    job: "PictureJob",
    upscaler: "Upscaler",
    options: ResultOptions,
    tta: bool,
    progress: Callable[[float], None],
) -> list[str]:
    """Upscale one picture to its file, or to standard output; returns notes."""
    from srgan.pictures.files import PictureError
    from srgan.pictures.jobs import STREAM
    from srgan.upscaling import batch

    if job.target != STREAM:
        try:
            return batch.run(
                picture, size, job.target, upscaler, options, tta=tta, progress=progress
            )
        except PictureError:
            if not job.kept:
                raise
            return ["another process has made it meanwhile"]
    format = batch.format_of_stream(picture, options)
    result, notes = batch.run_to_bytes(
        picture, size, format, upscaler, options, tta=tta, progress=progress
    )
    rest = memoryview(result)
    while rest:  # with PYTHONUNBUFFERED, a part is written and its length returned
        rest = rest[sys.stdout.buffer.write(rest) :]
    sys.stdout.buffer.flush()
    return notes
