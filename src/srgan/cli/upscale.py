"""The `srgan upscale` command: parses, calls, prints."""

from typing import Annotated

from cyclopts import Group, Parameter

from srgan.engines.options import EngineOptions
from srgan.pictures.options import DEFAULT_MAX_PIXELS, ResultOptions
from srgan.upscaling.options import AUTO

RESULT = Parameter(name="*", group=Group("Result", sort_key=1))
UPSCALE_EXAMPLES = """\
Examples:

  srgan upscale photo.jpg

  srgan upscale holiday/ -o large/

  srgan upscale "scans/*.png" --scale 2 --format webp --quality 85

  srgan upscale blurry.jpg --scale 1 -o sharper.jpg

Exit codes: 0 all done, 1 a picture failed, 2 wrong usage, 130 or 143 stopped by a signal. Add
--debug for tracebacks.
"""
ENGINE = Parameter(name="*", group=Group("Engine", sort_key=2))


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
    dry_run: bool = False,
    verbose: Annotated[bool, Parameter(alias="-v")] = False,
    json: bool = False,
) -> int:
    """Upscale pictures: photo.jpg becomes photo_x4.jpg.

    Args:
        inputs: Pictures, globs, or folders, which are searched recursively; subfolders are kept.
        output: A file for one picture, or a folder; it is created if it does not exist. Default:
            photo_x4.jpg beside photo.jpg, FOLDER_x4 beside a folder.
        model: A shipped model (see `srgan models`), a model file, another project's SRResNet
            checkpoint (see `srgan convert`), or hf:USER/NAME on the Hugging Face hub. auto looks
            at each picture and uses the blurry model for blurry, noisy and compressed ones.
        detail: From 0 (faithful to the picture) to 1 (all the texture that the model invents).
            Default: the model's own, 0.95 for srgan-x4, 1 for srgan-blurry-x4. Only for models
            whose file names a partner.
        tta: Average over the 8 flips and rotations: 8 times slower, slightly better.
        max_pixels: Refuse pictures with more pixels.
        dry_run: Print the plan and write nothing.
        verbose: Print which model each picture gets, and why.
        json: Print one JSON object per picture, for other programs.
    """
    from srgan.cli.console import Reporter
    from srgan.pictures import jobs
    from srgan.upscaling import batch
    from srgan.upscaling.auto import ModelChooser

    models = ModelChooser(model, detail, engine)
    jobs = jobs.plan(inputs, output, result, models.scale)
    verb = "can be done" if dry_run else "done"
    if not dry_run and not all(job.problem for job in jobs):
        models.upscaler()  # what cannot run here fails before any work
    with Reporter(len(jobs), verb=verb, json=json) as reporter:
        for job in jobs:
            with reporter.job(job) as report:
                picture, size = batch.inspect(job, result, models.scale, max_pixels)
                report.opened(picture, size)
                choice = models.choose(picture, same_size=size == picture.shape[:2])
                report.chosen(*choice, explain=verbose)
                if not dry_run:
                    upscaler, progress = models.upscaler(choice.model), report.progress
                    notes = batch.run(
                        picture, size, job.target, upscaler, result, tta=tta, progress=progress
                    )
                    report.done(notes)
    return reporter.exit_code
