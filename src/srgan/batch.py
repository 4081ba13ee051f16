"""Many pictures: which files, where their results go, and one at a time through the upscaler."""

import glob
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from srgan.config import MAX_SCALE, OptionError, ResultOptions
from srgan.images import (
    FORMATS,
    PICTURE_SUFFIXES,
    Picture,
    PictureError,
    check_output,
    open_picture,
    output_format,
    write_picture,
)
from srgan.upscaler import Upscaler


@dataclass(frozen=True)
class Job:
    """One picture to do. `problem` says why it cannot be done, known before any work."""

    source: Path
    target: Path
    problem: str | None = None


def plan(
    inputs: Iterable[str], output: Path | None, options: ResultOptions, model_scale: int
) -> list[Job]:
    """Find the pictures and name their results; problems become jobs that say so.

    Args:
        inputs: files, folders (searched recursively) and globs.
        output: a file for one picture, a folder, or None: beside each picture.

    Raises:
        OptionError: what cannot be, whatever the pictures.
    """
    try:
        for name in (options.format, None if output is None or _is_folder(output) else output):
            output_format(name or "png")
    except PictureError as error:
        raise OptionError(str(error)) from error
    found = [entry for name in inputs for entry in _find(name)]
    suffix = f"_x{options.scale or model_scale:g}"
    single = len(found) == 1 and found[0][1] is None
    if output is not None and not _is_folder(output) and not single:
        raise OptionError(f"{output}: one file cannot hold several pictures; name a folder")
    jobs = []
    taken: dict[Path, Path] = {}
    for source, root, problem in found:
        target = _target(source, root, output, options, suffix)
        if problem is None:
            first = taken.setdefault(target.absolute(), source)
            if first is not source:
                problem = f"{source}: its result {target} would be that of {first} too"
            elif target.exists() and target.samefile(source):
                problem = f"{source}: the result would replace it; use -o or --suffix"
            elif target.exists() and not options.overwrite:
                problem = f"{target}: exists; use --overwrite or -o"
        jobs.append(Job(source, target, problem))
    return jobs


def _find(name: str) -> Iterator[tuple[Path, Path | None, str | None]]:
    """(picture, the folder it was found in if it was searched, problem)."""
    path = Path(name)
    if path.is_dir():
        pictures = [
            Path(folder, file)
            for folder, folders, files in os.walk(path)
            for file in (folders.sort(), sorted(files))[1]
            if Path(file).suffix.lower() in PICTURE_SUFFIXES
        ]
        yield from ((picture, path, None) for picture in pictures)
        if not pictures:
            yield path, path, f"{name}: no pictures in this folder"
    elif path.exists():
        yield path, None, None
    else:
        magic = glob.has_magic(name)
        matches = sorted(glob.glob(name, recursive=True)) if magic else []  # noqa: PTH207
        for match in matches:
            yield from _find(match)
        if not matches:
            yield path, None, f"{name}: no such file or folder"


def _is_folder(output: Path) -> bool:
    """Whether -o names a folder: one that exists, or a name without a suffix."""
    return output.is_dir() or not output.suffix


def _target(
    source: Path, root: Path | None, output: Path | None, options: ResultOptions, suffix: str
) -> Path:
    extension = source.suffix
    if options.format is not None:
        extension = FORMATS[output_format(options.format)].suffixes[0]
    elif extension.lower() not in {s for each in FORMATS.values() for s in each.suffixes}:
        extension = ".png"
    if output is not None and not _is_folder(output):
        return output
    if output is None and root is not None:
        output = root.resolve().with_name(root.resolve().name + suffix)
    if output is None:
        folder = source.parent
        tag = suffix if options.suffix is None else options.suffix
    else:
        folder = output / (source.parent.relative_to(root) if root else "")
        tag = options.suffix or ""
    return folder / f"{source.stem}{tag}{extension}"


def result_size(picture: Picture, options: ResultOptions, model_scale: int) -> tuple[int, int]:
    """(height, width) of the result, aspect kept.

    Raises:
        PictureError: the size asked for is out of reach.
    """
    height, width, _ = picture.shape
    scales = [float(options.scale or model_scale)]
    if options.width or options.height:
        wanted = ((options.width, width), (options.height, height))
        scales = [target / side for target, side in wanted if target]
    scale = min(scales)
    if scale > MAX_SCALE:
        raise PictureError(
            f"{picture.name}: {width}x{height} would have to grow {scale:.3g} times, "
            f"at most {MAX_SCALE} is possible; ask for a smaller --width or --height"
        )
    return max(round(height * scale), 1), max(round(width * scale), 1)


def inspect(
    job: Job, options: ResultOptions, model_scale: int, max_pixels: int
) -> tuple[Picture, tuple[int, int]]:
    """Open a job's picture and check all that can be known before work.

    Returns:
        The picture, and the (height, width) of its result.

    Raises:
        PictureError: with the reason.
    """
    if job.problem:
        raise PictureError(job.problem)
    picture = open_picture(job.source, max_pixels)
    size = result_size(picture, options, model_scale)
    check_output(output_format(job.target), size[1], size[0], str(job.target))
    return picture, size


def run(
    picture: Picture,
    size: tuple[int, int],
    target: Path,
    upscaler: Upscaler,
    options: ResultOptions,
    *,
    tta: bool = False,
    progress: Callable[[int], None] = lambda _rows: None,
) -> list[str]:
    """Upscale one picture into a file.

    Args:
        size: (height, width) of the result.
        progress: called with the number of rows that are done.

    Returns:
        Notes for the user on what the file could not hold.

    Raises:
        PictureError: with the reason; no partial file stays behind.
    """
    target.parent.mkdir(parents=True, exist_ok=True)

    def rows() -> Iterator[np.ndarray]:
        done = 0
        for block in upscaler.rows(picture, size=size, tta=tta):
            yield block
            done += len(block)
            progress(done)

    return write_picture(
        target,
        rows(),
        (*size, picture.shape[2]),
        picture.dtype,
        format=output_format(target),
        quality=options.quality,
        source=picture,
        overwrite=options.overwrite,
    )
