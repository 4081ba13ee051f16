"""Plans the job of one video: its name, size, encoding and model."""

import os
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from srgan.errors import OptionError
from srgan.models.file import shipped_models
from srgan.models.foreign import digest_of
from srgan.models.load import load_model
from srgan.networks.architecture import Checkpoint
from srgan.networks.foreign import ForeignNetwork
from srgan.pictures.files import make_folder
from srgan.pictures.sizes import enlarged_size, size_tag
from srgan.upscaling.options import AUTO, DEFAULT_MODEL
from srgan.upscaling.reuse import reusing
from srgan.upscaling.upscaler import Upscaler
from srgan.video.convert import Compute, Finish, VideoJob, no_frame
from srgan.video.encoder import choose_encoding
from srgan.video.facts import inspect_video
from srgan.video.options import CONTAINERS, DEFAULT_DETAIL, VideoOptions
from srgan.video.preview import PREVIEW_SECONDS, beside_bicubic
from srgan.video.source import frames_of
from srgan.video.steady import Steady


def plan_video(
    source: Path,
    output: str | None,
    options: VideoOptions,
    model_scale: int,
    max_pixels: int,
    *,
    preview: bool = False,
) -> VideoJob:
    """Look at a video, and decide everything about its result but the model.

    Args:
        output: the result's name, or a folder; None: beside the video.
        preview: 3 seconds, before and after side by side.

    Raises:
        OptionError: the options contradict each other or the output's name.
        VideoError: the video cannot be read, or its result cannot be made.
    """
    facts = inspect_video(source, max_pixels, options.last)
    if preview and options.last is None:
        options = replace(options, end=str(float(options.first + PREVIEW_SECONDS)))
    height, width = enlarged_size(str(source), facts.size, options.result, model_scale)
    # 4:2:0 has no odd sizes.
    size = height + height % 2, (width + width % 2) * (2 if preview else 1)
    tag = size_tag(options.result, model_scale) + ("_preview" if preview else "")
    target = _target(source, output, tag, options)
    encoding = choose_encoding(source, facts, options, size)
    return VideoJob(source, facts, target, encoding, options, {"preview": preview})


def _target(source: Path, output: str | None, tag: str, options: VideoOptions) -> Path:
    """The name of the result, in a container that holds its codec."""
    suffix = source.suffix.lower()
    if suffix.removeprefix(".") not in CONTAINERS:
        suffix = ".mp4" if suffix == ".m4v" else ".mkv"
    if (options.codec, suffix) in (("prores", ".mp4"), ("ffv1", ".mov"), ("ffv1", ".mp4")):
        suffix = ".mov" if options.codec == "prores" else ".mkv"
    target = source.with_name(f"{source.stem}{tag}{suffix}")
    if output is not None:
        if not output:
            raise OptionError("the name after -o is empty")
        path = Path(output)
        folder = output.endswith(("/", os.sep)) or path.is_dir() or not path.suffix
        target = path / f"{source.stem}{suffix}" if folder else path
    if target.suffix.lower().removeprefix(".") not in CONTAINERS:
        known = ", ".join(f".{each}" for each in CONTAINERS)
        raise OptionError(f"{target}: srgan cannot write this format: use one of {known}")
    if target.exists() and target.samefile(source):
        raise OptionError(f"{target}: the result would replace the video itself: choose another")
    make_folder(target.parent)
    return target


def example_frame(job: VideoJob) -> np.ndarray:
    """A frame (H, W, 3) from the middle of what is to be upscaled, to choose the model by."""
    first = job.options.first
    last = min(job.options.last or job.facts.end, job.facts.end)
    for at in (Fraction(first + last) / 2, first):
        with closing(frames_of(job.source, job.facts, at, None)) as frames:
            for frame in frames:
                return frame.pixels
    raise no_frame(job)


def frame_size(job: VideoJob) -> tuple[int, int]:
    """(height, width) of an upscaled frame; a preview shows two of them side by side."""
    height, width = job.encoding.size
    return height, width // 2 if job.identity["preview"] else width


def detail_for(model: str, detail: float | None) -> float | None:
    """The value of --detail: a video's default is lower than a picture's.

    Raises:
        CheckpointError: the model does not exist, or its file is damaged.
    """
    if detail is None:
        loaded = load_model(DEFAULT_MODEL if model == AUTO else model)
        if isinstance(loaded, Checkpoint) and loaded.info.get("partner") in shipped_models():
            return DEFAULT_DETAIL
    return detail


def frame_upscaler(job: VideoJob, upscaler: Upscaler) -> Compute:
    """What upscales the frames of a job, one after the other."""
    return reusing(upscaler, job.facts.size, frame_size(job), _frame_type(job))


def network_identity(job: VideoJob, upscaler: Upscaler) -> dict[str, object]:
    """What a network adds to a job's identity: a file of the same name can hold other weights."""
    model = upscaler.model
    digest = model.digest if isinstance(model, ForeignNetwork) else digest_of(model.tensors)
    precision = upscaler.engine_for(_frame_type(job)).precision
    return {"weights": digest[:12], "--precision": precision}


def _frame_type(job: VideoJob) -> np.dtype:
    return np.dtype(np.uint8 if job.facts.colour.bits <= 8 else np.uint16)


def frame_finisher(job: VideoJob) -> Finish:
    """What makes of a frame and its result what is stored."""
    steady: Finish = Steady() if job.options.steady else lambda _, result: result
    if not job.identity["preview"]:
        return steady
    return lambda frame, result: beside_bicubic(frame, steady(frame, result))
