"""The `srgan video` command: parses, calls, prints."""

import json as json_text
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from srgan.cli.run import command
from srgan.engines.options import EngineOptions
from srgan.errors import need
from srgan.pictures.options import DEFAULT_MAX_PIXELS, check_max_pixels
from srgan.progress import ProgressLines
from srgan.upscaling.options import AUTO
from srgan.video.options import VideoOptions

if TYPE_CHECKING:
    from srgan.video.convert import VideoJob, VideoProgress

video_app = command(
    "video",
    epilogue="""\
Examples:

  srgan video clip.mp4

  srgan video clip.mp4 --preview --from 1:30

  srgan video film.mkv -o large.mkv --codec hevc --crf 22 --resume

Sound, subtitles, chapters and metadata are copied unchanged.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 or 143 stopped by a signal. Add --debug for
tracebacks.
""",
)
RESULT = Parameter(name="*", group=Group("Result", sort_key=1))
ENGINE = Parameter(name="*", group=Group("Engine", sort_key=2))
_JSON_SECONDS = 1.0  # between two lines of progress


@video_app.default
def video(
    clip: Path,
    /,
    *,
    output: Annotated[str | None, Parameter(alias="-o")] = None,
    model: Annotated[str, Parameter(alias="-m")] = AUTO,
    detail: float | None = None,
    result: Annotated[VideoOptions, RESULT] = VideoOptions(),
    preview: bool = False,
    resume: bool = False,
    engine: Annotated[EngineOptions, ENGINE] = EngineOptions(),
    max_pixels: int = DEFAULT_MAX_PIXELS,
    json: bool = False,
) -> int:
    """Upscale a video: clip.mp4 becomes clip_x4.mp4.

    Args:
        clip: A video file.
        output: The result, a .mp4, .mov or .mkv, or a folder. Default: clip_x4.mp4 beside
            clip.mp4.
        model: As for `srgan upscale`. auto looks at one frame from the middle.
        detail: From 0 (faithful) to 1 (all the texture that the model invents), for models with a
            partner. Default: 0.5.
        preview: Write 3 seconds of before and after, side by side.
        resume: Continue a run that was stopped: its finished parts are used.
        max_pixels: Refuse videos whose frames have more pixels.
        json: Print the progress as JSON, an object a second, for other programs.
    """
    need("video", "upscaling a video")
    from srgan.upscaling.auto import ModelChooser
    from srgan.video import convert, plan

    check_max_pixels(max_pixels)
    detail = plan.detail_for(model, detail)
    models = ModelChooser(model, detail, engine)
    job = plan.plan_video(clip, output, result, models.scale, max_pixels, preview=preview)
    choice = models.choose(plan.example_frame(job), plan.frame_size(job))
    upscaler = models.upscaler(choice.model)
    network = plan.network_identity(job, upscaler)
    job.identity.update(network, model=choice.model, detail=detail)
    compute, finish = plan.frame_upscaler(job, upscaler), plan.frame_finisher(job)
    try:
        with _progress(job, json) as report:
            notes = convert.run(job, compute, finish, report, resume=resume)
    except BaseException:
        folder = job.parts_folder
        if folder.parts:
            left = f"the finished parts are in {folder.path}: add --resume to continue"
            print(f"srgan: {left}", file=sys.stderr)
        raise
    _print_done(job, choice.model, [*job.facts.notes, *job.encoding.notes, *notes], json)
    return 0


@contextmanager
def _progress(job: "VideoJob", json: bool) -> Generator[Callable[["VideoProgress"], None]]:
    """Shows the progress: a bar on a terminal, else lines, or as JSON."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[text]}", markup=False),
        console=Console(stderr=True),
        transient=True,
        disable=json or not sys.stderr.isatty(),
    )
    task = bar.add_task(job.source.name, total=job.total, text="")
    printed, lines = time.perf_counter(), ProgressLines()

    def report(progress: "VideoProgress") -> None:
        nonlocal printed
        done = progress.earlier + progress.frames
        left = progress.left
        if json:
            if time.perf_counter() - printed > _JSON_SECONDS:
                printed = time.perf_counter()
                record: dict[str, object] = {
                    "status": "working",
                    "frames": done,
                    "total": progress.total,
                    "frames_per_second": round(progress.rate, 3),
                    "seconds_left": None if left is None else round(left),
                    "bytes": progress.bytes,
                }
                print(json_text.dumps(record), flush=True)
            return
        text = f"{done}/{progress.total} frames, {progress.rate:.2f}/s"
        if left is not None:
            text += f", {timedelta(seconds=round(left))} left"
        text += f", {progress.bytes / 1e6:.1f} MB"
        bar.update(task, completed=done, text=text)
        lines.say(f"{job.source}: {text}")

    with bar:
        yield report


def _print_done(job: "VideoJob", model: str, notes: list[str], json: bool) -> None:
    """Print the result in one line, and notes below it."""
    height, width = job.facts.size
    wanted = job.encoding.size
    size = job.target.stat().st_size
    if json:
        record = {"status": "done", "input": str(job.source), "output": str(job.target)}
        record |= {"size": (width, height), "result_size": wanted[::-1], "bytes": size}
        print(json_text.dumps({**record, "model": model, "notes": notes}), flush=True)
        return
    line = f"{job.source} -> {job.target}  {width}x{height} -> {wanted[1]}x{wanted[0]}"
    print("".join([f"{line}  {size / 1e6:.1f} MB", *(f"\n  {note}" for note in notes)]))
