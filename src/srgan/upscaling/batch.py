"""Picture files through the upscaler, one at a time: path to path, or bytes to bytes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from srgan.pictures.animations import (
    Animation,
    animation_of,
    frames_of_animation,
    write_animation,
)
from srgan.pictures.images import (
    FORMATS,
    WRITTEN_FORMATS,
    Picture,
    PictureError,
    check_output,
    encode_picture,
    make_folder,
    open_picture,
    output_format,
    write_picture,
)
from srgan.pictures.jobs import STREAM, PictureJob, result_size
from srgan.pictures.options import DEFAULT_MAX_PIXELS, ResultOptions
from srgan.pictures.pixels import Pixels
from srgan.upscaling.auto import ModelChooser
from srgan.upscaling.dither import Undithered, is_dithered
from srgan.upscaling.reuse import reusing
from srgan.upscaling.upscaler import Upscaler


def inspect(
    job: PictureJob,
    options: ResultOptions,
    model_scale: int,
    max_pixels: int,
    data: bytes | None = None,
) -> tuple[Picture, tuple[int, int]]:
    """Open a job's picture, and find errors that can be known before any work.

    Args:
        data: the picture's file, where the job's source is standard input.

    Returns:
        The picture, and the (height, width) of its result.

    Raises:
        PictureError: the picture cannot be read, or its result cannot be written.
    """
    if job.problem:
        raise PictureError(job.problem)
    if data is None:
        picture = open_picture(job.source, max_pixels)
    else:
        picture = open_picture(data, max_pixels, name=str(job.source))
    size = result_size(picture, options, model_scale)
    format = format_of_stream(picture, options)
    if job.target != STREAM:
        format = output_format(job.target, animated=_stays_animated(picture, options))
    check_output(format, size[1], size[0], str(job.target))
    return picture, size


def format_of_stream(picture: Picture, options: ResultOptions) -> str:
    """The format of a result without a name: --format, the picture's, or PNG."""
    if options.format is not None:
        return output_format(options.format, animated=_stays_animated(picture, options))
    known = WRITTEN_FORMATS if _stays_animated(picture, options) else FORMATS
    return picture.format if picture.format in known else "png"


def _stays_animated(picture: Picture, options: ResultOptions) -> bool:
    """Whether the result has several frames, if its format can hold them."""
    return picture.extras.frames != 1 and not options.first_frame


@dataclass(frozen=True)
class Upscaled:
    """A result: the bytes of the picture file, its (height, width), and notes for the user."""

    data: bytes
    size: tuple[int, int]
    notes: list[str]


def upscale_bytes(
    data: bytes,
    models: ModelChooser,
    options: ResultOptions,
    *,
    format: str,
    name: str = "<bytes>",
    max_pixels: int = DEFAULT_MAX_PIXELS,
    tta: bool = False,
    progress: Callable[[float], None] = lambda _rows: None,
) -> Upscaled:
    """Upscale a picture file in memory. The result has the same bytes as the file `run` writes.

    Args:
        data: the bytes of a picture file.
        models: chooses the model for the picture.
        format: of the result, a key of FORMATS.
        name: of the picture, for error messages.
        max_pixels: larger pictures are an error.
        tta, progress: see `run`.

    Raises:
        PictureError: the picture cannot be read, or its result cannot be written.
    """
    picture = open_picture(data, max_pixels, name=name)
    size = result_size(picture, options, models.scale)
    choice = models.choose(picture, size)
    upscaler = models.upscaler(choice.model)
    result, notes = run_to_bytes(
        picture, size, format, upscaler, options, tta=tta, progress=progress
    )
    return Upscaled(result, size, [*picture.notes, *notes])


def run_to_bytes(
    picture: Picture,
    size: tuple[int, int],
    format: str,
    upscaler: Upscaler,
    options: ResultOptions,
    *,
    tta: bool = False,
    progress: Callable[[float], None] = lambda _rows: None,
) -> tuple[bytes, list[str]]:
    """The bytes of the file that `run` would write, and its notes.

    Args:
        format: of the result, a key of FORMATS. The others are as in `run`.
    """
    animation = None if options.first_frame else animation_of(picture, format)
    if animation is not None:
        frames = upscaled_frames(picture, animation, size, upscaler, tta, progress)
        return write_animation(
            None, frames, animation, picture, format=format, quality=options.quality
        )
    pixels, notes = _continuous(picture)
    data, lost = encode_picture(
        picture.name,
        _rows(pixels, size, upscaler, tta, progress),
        (*size, picture.shape[2]),
        picture.dtype,
        format=format,
        quality=options.quality,
        source=picture,
    )
    return data, [*notes, *lost]


def run(
    picture: Picture,
    size: tuple[int, int],
    target: Path,
    upscaler: Upscaler,
    options: ResultOptions,
    *,
    tta: bool = False,
    progress: Callable[[float], None] = lambda _rows: None,
    computed: Callable[[], None] = lambda: None,
) -> list[str]:
    """Upscale one picture into a file.

    Args:
        size: (height, width) of the result.
        target: the result's file; its suffix chooses the format.
        tta: average over the 8 flips and rotations.
        progress: called after every tile with the number of result rows that are done, started
            ones by their fraction. An exception that it raises ends the work.
        computed: called when the upscaler is free, while the file is still being encoded.

    Returns:
        Notes for the user on what was changed, and what the file could not hold.

    Raises:
        PictureError: the picture is damaged, or the result cannot be written, not even in part.
    """
    make_folder(target.parent)
    format = output_format(target, animated=True)
    animation = None if options.first_frame else animation_of(picture, format)
    if animation is not None:
        frames = upscaled_frames(picture, animation, size, upscaler, tta, progress)
        return write_animation(
            target,
            _then(frames, computed),
            animation,
            picture,
            format=format,
            quality=options.quality,
            overwrite=options.overwrite,
        )[1]
    pixels, notes = _continuous(picture)
    lost = write_picture(
        target,
        _then(_rows(pixels, size, upscaler, tta, progress), computed),
        (*size, picture.shape[2]),
        picture.dtype,
        format=format,
        quality=options.quality,
        source=picture,
        overwrite=options.overwrite,
    )
    return [*notes, *lost]


def _continuous(picture: Picture) -> tuple[Pixels, list[str]]:
    """The pixels for the network, and a note if they are not the picture's own."""
    if is_dithered(picture):
        return Undithered(picture), ["dithered with two levels: smoothed before the network"]
    return picture, []


def _then(blocks: Iterator[np.ndarray], call: Callable[[], None]) -> Iterator[np.ndarray]:
    yield from blocks
    call()


def _rows(
    picture: Pixels,
    size: tuple[int, int],
    upscaler: Upscaler,
    tta: bool,
    progress: Callable[[float], None],
) -> Iterator[np.ndarray]:
    return upscaler.rows(
        picture, size=size, tta=tta, progress=lambda fraction: progress(fraction * size[0])
    )


def upscaled_frames(
    picture: Picture,
    animation: Animation,
    size: tuple[int, int],
    upscaler: Upscaler,
    tta: bool,
    progress: Callable[[float], None],
) -> Iterator[np.ndarray]:
    """The frames of an animation, upscaled; what does not change from frame to frame, once.

    Args:
        size: (height, width) of the results.
        progress: called with the fraction of all frames that is done, times the rows of one.
    """
    done = 0

    def report(fraction: float) -> None:
        progress((done + fraction) / animation.frames * size[0])

    frame_size = picture.shape[0], picture.shape[1]
    dtype = np.dtype(np.uint8)
    reuse = reusing(upscaler, frame_size, size, dtype, tta=tta, progress=report)
    for done, frame in enumerate(frames_of_animation(picture, animation)):  # noqa: B007
        report(0)  # also for a frame that equals the one before, and is not computed
        yield reuse(Undithered(frame)[:, :] if is_dithered(frame) else frame)
