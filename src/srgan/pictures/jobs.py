"""Which pictures to process, and where each result goes: known before any work."""

import glob
import os
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from srgan.errors import OptionError
from srgan.pictures.folders import picture_names
from srgan.pictures.images import (
    FORMATS,
    Picture,
    PictureError,
    output_format,
)
from srgan.pictures.options import MAX_SCALE, ResultOptions


@dataclass(frozen=True)
class PictureJob:
    """One picture to do. `problem` says why it cannot be done, known before any work."""

    source: Path
    target: Path
    problem: str | None = None


@dataclass(frozen=True)
class _Found:
    """A picture, the folder it was found in if that was searched, or a problem."""

    path: Path
    root: Path | None = None
    problem: str | None = None


def plan(
    inputs: Iterable[str], output: str | None, options: ResultOptions, model_scale: int
) -> list[PictureJob]:
    """Find the pictures and name their results; problems become jobs that say so.

    Args:
        inputs: files, folders (searched recursively) and globs; each picture counts once.
        output: a file for one picture, a folder, or None: beside each picture.

    Raises:
        OptionError: the options contradict each other or the output name, or srgan cannot write
            the format.
    """
    folder, file = _check_output_name(output, options)
    results = folder.resolve() if folder else None
    unique = {_key(found.path): found for name in inputs for found in _find(name, results)}
    if file is not None and (len(unique) != 1 or any(f.root for f in unique.values())):
        raise OptionError(f"{output}: one file cannot hold several pictures; name a folder")
    jobs: list[PictureJob] = []
    taken: dict[str, Path] = {}
    for key, found in unique.items():
        target = file or _target(found, folder, options, model_scale)
        first = taken.setdefault(_key(target), found.path)
        problem = found.problem
        if problem is None and first is not found.path:
            problem = f"{found.path}: {same_result(target, first)}"
        jobs.append(
            PictureJob(found.path, target, problem or _obstacle(key, target, unique, options))
        )
    return jobs


def _check_output_name(
    output: str | None, options: ResultOptions
) -> tuple[Path | None, Path | None]:
    """Output as (folder, None) or (None, file): a folder exists, ends in a slash, or has no
    suffix."""
    try:
        if options.format is not None:
            output_format(options.format)
        if output is None:
            return None, None
        if not output:
            raise OptionError("the name after -o is empty")
        path = Path(output)
        if output.endswith(("/", os.sep)) or os.path.isdir(output) or not path.suffix:  # noqa: PTH112
            return path, None
        if options.format and output_format(options.format) != output_format(path):
            raise OptionError(
                f"{output} has another format than --format {options.format}: leave out --format"
            )
        output_format(path)
    except PictureError as error:
        raise OptionError(str(error)) from error
    if options.suffix is not None:
        raise OptionError(f"{output} is the result's whole name; leave out --suffix")
    return None, path


def _key(path: Path) -> str:
    """Equal for names that the file system may take for the same file."""
    return os.path.normcase(path.absolute())


def _obstacle(
    source: str, target: Path, sources: Container[str], options: ResultOptions
) -> str | None:
    if not os.path.lexists(target):
        return None
    if _key(target) == source or (target.exists() and os.path.samefile(source, target)):  # noqa: PTH121
        return f"{target}: the result would replace its own picture; use -o or --suffix"
    if _key(target) in sources:
        return f"{target}: the result would replace another picture to upscale; use -o"
    return None if options.overwrite else f"{target}: exists; use --overwrite or -o"


def _find(name: str, results: Path | None) -> Iterator[_Found]:
    """The pictures of an input.

    Skip the results folder, so that earlier results are not upscaled again.
    """
    path = Path(name)
    if not name:
        yield _Found(path, problem="an empty name among the inputs: give a picture or a folder")
    elif os.path.isdir(name):  # noqa: PTH112 - unlike Path's, these never raise
        yield from _search(path, results)
    elif os.path.lexists(name):
        yield _Found(path)
    else:
        magic = glob.has_magic(name)
        matches = sorted(glob.glob(name, recursive=True)) if magic else []  # noqa: PTH207
        for match in matches:
            yield from _find(match, results)
        if not matches:
            yield _Found(path, problem=f"{name}: no such file or folder")


def _search(root: Path, results: Path | None) -> Iterator[_Found]:
    unreadable: list[OSError] = []
    without = [] if results is None else [results]
    empty = True
    for name in picture_names(root, unreadable=unreadable.append, without=without):
        empty = False
        yield _Found(Path(name), root)
    for error in unreadable:
        path = Path(error.filename)
        yield _Found(path, problem=f"{path}: this folder cannot be read ({error.strerror})")
    if empty and not unreadable:
        yield _Found(root, problem=f"{root}: no pictures in this folder")


def _target(found: _Found, folder: Path | None, options: ResultOptions, model_scale: int) -> Path:
    tag = f"_x{options.scale or model_scale:g}"
    if options.width or options.height:
        sides = (("w", options.width), ("h", options.height))
        tag = "_" + "".join(f"{side}{pixels}" for side, pixels in sides if pixels)
    if folder is None and found.root is not None:
        root = found.root.resolve()
        if not root.name:
            raise OptionError(f"cannot write beside {root}: choose a folder with -o")
        folder = root.with_name(root.name + tag)
    if folder is None:
        folder = found.path.parent
        suffix = tag if options.suffix is None else options.suffix
    else:
        folder /= found.path.parent.relative_to(found.root) if found.root else ""
        suffix = options.suffix or ""
    return folder / result_name(found.path, suffix, options.format)


def same_result(target: Path | str, first: Path | str) -> str:
    """The reason to leave out a picture: its result has the name of another picture's."""
    return (
        f"its result {target} is also the result of {first}: rename one picture or use another "
        "folder"
    )


def result_name(picture: PurePath, suffix: str, format: str | None) -> str:
    """The file name of a picture's result, PNG where srgan does not write the picture's format."""
    extension = picture.suffix
    if format is not None:
        extension = FORMATS[output_format(format)].suffixes[0]
    elif extension.lower() not in {s for each in FORMATS.values() for s in each.suffixes}:
        extension = ".png"
    return f"{picture.stem}{suffix}{extension}"


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
            f"{picture.name}: enlarging {width} x {height} pixels {scale:.3g} times is not "
            f"possible, at most {MAX_SCALE}: ask for a smaller --width or --height"
        )
    return max(round(height * scale), 1), max(round(width * scale), 1)
