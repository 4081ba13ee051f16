"""The `srgan` command: each function parses, calls, prints; the work is done elsewhere."""

import io
import json as json_lines
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

from cyclopts import App, CycloptsError, Group, Parameter

import srgan
from srgan.cli_cluster import cluster
from srgan.cli_evaluate import DEGRADE_EXAMPLES, EVALUATE_EXAMPLES, degrade, evaluate
from srgan.cli_models import (
    CONVERT_EXAMPLES,
    EXPORT_EXAMPLES,
    MIX_EXAMPLES,
    PUSH_EXAMPLES,
    convert,
    export,
    mix,
    push,
)
from srgan.cli_serve import SERVE_EXAMPLES, serve
from srgan.cli_train import train
from srgan.config import (
    AUTO,
    DEFAULT_MAX_PIXELS,
    EngineOptions,
    OptionError,
    PreparedFormat,
    ResultOptions,
)

app = App(
    name="srgan",
    help="Super-resolution of photographs with SRResNet and SRGAN.",
    version=srgan.__version__,
    help_epilogue="Start with: srgan upscale photo.jpg",
    default_parameter=Parameter(negative=()),
)

app.command(train)
app.command(cluster)
app.command(evaluate, help_epilogue=EVALUATE_EXAMPLES)
app.command(degrade, help_epilogue=DEGRADE_EXAMPLES)
app.command(convert, help_epilogue=CONVERT_EXAMPLES)
app.command(mix, help_epilogue=MIX_EXAMPLES)
app.command(export, help_epilogue=EXPORT_EXAMPLES)
app.command(push, help_epilogue=PUSH_EXAMPLES)
app.command(serve, help_epilogue=SERVE_EXAMPLES)

RESULT = Parameter(name="*", group=Group("Result", sort_key=1))
UPSCALE_EXAMPLES = """\
Examples:

  srgan upscale photo.jpg

  srgan upscale holiday/ -o large/

  srgan upscale "scans/*.png" --scale 2 --format webp --quality 85

  srgan upscale blurry.jpg --scale 1 -o sharper.jpg

Exit codes: 0 all done, 1 a picture failed, 2 wrong usage. Add --debug for tracebacks.
"""
PREPARE_EXAMPLES = """\
Examples:

  srgan prepare photos/ sub-images/

  srgan train srresnet --data-folder sub-images/

  srgan prepare photos/ shards/ --format parquet

Exit codes: 0 all done, 1 a picture was left out, 2 wrong usage.
"""
ENGINE = Parameter(name="*", group=Group("Engine", sort_key=2))


def main() -> NoReturn:
    """Entry point of the `srgan` command."""
    run(app)


def run_script(function: Callable[..., Any], config: Callable[..., None] | None = None) -> NoReturn:
    """Run a typed function as a script of its own, as `run` does.

    Args:
        config: fills in options that were not given, as of `cyclopts.App`.
    """
    script = App(
        help=function.__doc__,
        version=srgan.__version__,
        default_parameter=Parameter(negative=()),
        config=config,
    )
    script.default(function)
    run(script)


def run(app: App) -> NoReturn:
    """Exit codes: 0 done, 1 something failed, 2 wrong usage, 130 or 143 stopped by a signal."""
    _leave_cleanly_on_signals()
    _print_whatever_the_streams()
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    try:
        code = app(arguments, exit_on_error=False, result_action="return_value")
    except CycloptsError:
        code = 2  # cyclopts has said what is wrong
    except KeyboardInterrupt:
        code = 130
    except OptionError as error:
        print(f"srgan: {error}", file=sys.stderr)
        code = 2
    except BrokenPipeError:  # the reader of our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        from srgan.console import one_line

        print(f"srgan: {one_line(error)}", file=sys.stderr)
        code = 1
    sys.exit(code or 0)


def _leave_cleanly_on_signals() -> None:
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # no SIGHUP on Windows
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda received, _: sys.exit(128 + received))


def _print_whatever_the_streams() -> None:
    """They may be closed by who started us, or unable to write a file's name."""
    nowhere = Path(os.devnull)
    sys.stdout = sys.stdout or nowhere.open("w")
    sys.stderr = sys.stderr or nowhere.open("w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@app.command(help_epilogue=UPSCALE_EXAMPLES)
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
        inputs: Pictures, folders (searched recursively, tree kept) or globs.
        output: A file for one picture, or a folder, made if it does not exist. Without it the
            result lies beside the picture as photo_x4.jpg, beside a folder as FOLDER_x4.
        model: A shipped model (see `srgan models`), a model file, another project's SRResNet
            checkpoint (see `srgan convert`), or hf:USER/NAME on the Hugging Face hub. auto looks
            at each picture: blurry, noisy and compressed ones get the model made for them.
        detail: From 0, faithful to the picture, to 1, with all the texture that the model
            invents; by default the model's own, 0.95 of srgan-x4, 1 of srgan-blurry-x4. For models
            whose file names a partner.
        tta: Average over the 8 flips and turns: 8 times slower, a little better.
        max_pixels: Refuse pictures of more pixels.
        dry_run: Say what would be done, and do nothing.
        verbose: Say which model each picture gets, and why.
        json: One JSON object a picture on standard output, for machines.
    """
    from srgan import batch
    from srgan.auto import Models
    from srgan.console import Reporter

    models = Models(model, detail, engine)
    jobs = batch.plan(inputs, output, result, models.scale)
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


@app.command(help_epilogue=PREPARE_EXAMPLES)
def prepare(
    folder: Path,
    output: Path,
    /,
    *,
    size: int = 480,
    step: int = 240,
    format: PreparedFormat = "png",
    workers: int | None = None,
) -> int:
    """Cut large pictures into sub-images for training: decoding them is then no bottleneck.

    A run that was interrupted goes on when it is started again.

    Args:
        folder: Pictures, searched recursively.
        output: Folder for the sub-images, as PNG; the tree is kept.
        format: png for files; parquet or webdataset for few large files that hold them, which
            copy faster and are read from object stores as well.
        size: Side of the sub-images in pixels; smaller pictures stay whole.
        step: Pixels from one sub-image to the next.
        workers: Processes; by default as many as there are cores.
    """
    from srgan.cli_train import need_train_extra
    from srgan.console import counting
    from srgan.prepare import prepare

    need_train_extra()
    with counting("pictures") as progress:
        report = prepare(
            folder, output, size=size, step=step, format=format, workers=workers, progress=progress
        )
    for path, reason in report.skipped:
        print(f"{path}: {reason}; left out", file=sys.stderr)
    kept = f", {report.kept} were there" if report.kept else ""
    done = report.pictures - len(report.skipped)
    print(f"{done} of {report.pictures} pictures: {report.written} sub-images written{kept}")
    return 1 if report.skipped else 0


@app.command
def models(*, json: bool = False) -> None:
    """List the models that come with srgan, with their cards.

    Args:
        json: One JSON object a model on standard output.
    """
    from srgan.checkpoint import load_checkpoint, shipped_models

    for name, path in shipped_models().items():
        checkpoint = load_checkpoint(name)
        if json:
            print(json_lines.dumps({"name": name, "path": str(path), **checkpoint.info}))
        else:
            _print_markdown(path.with_suffix(".md").read_text(encoding="utf-8"))


@app.command
def info(*, json: bool = False) -> None:
    """Show versions, engines, and what this processor can do.

    Args:
        json: One JSON object on standard output.
    """
    from srgan.system import describe

    facts = describe()
    if json:
        print(json_lines.dumps(facts))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        text = ", ".join(value) if isinstance(value, list) else value
        print(f"{name:<{width}}  {text}")


def _print_markdown(text: str) -> None:
    from rich.console import Console
    from rich.markdown import Markdown

    console: Any = Console()
    console.print(Markdown(text))


if __name__ == "__main__":
    main()
