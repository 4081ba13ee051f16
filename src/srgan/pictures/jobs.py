"""Which pictures to process, and where each result goes: known before any work."""

import errno
import functools
import glob
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from srgan.errors import OptionError
from srgan.pictures.folders import picture_names
from srgan.pictures.images import (
    FORMATS,
    WRITTEN_FORMATS,
    Picture,
    PictureError,
    is_animated_gif,
    output_format,
)
from srgan.pictures.options import ResultOptions
from srgan.pictures.sizes import enlarged_size, size_tag

# A job's source or target that is standard input or output.
STREAM = Path("-")
_STANDARD_INPUT = ("-", "/dev/stdin", "/dev/fd/0")
_STANDARD_OUTPUT = ("-", "/dev/stdout", "/dev/fd/1")
_MAX_NAME = 255  # bytes, on nearly every file system


@dataclass(frozen=True)
class PictureJob:
    """One picture to do.

    Attributes:
        problem: why it cannot be done, known before any work.
        keeps: a result that exists is kept.
    """

    source: Path
    target: Path
    problem: str | None = None
    keeps: bool = False

    @property
    def kept(self) -> bool:
        """Whether its result exists by now and is kept. Another process may have made it."""
        return self.keeps and self.problem is None and os.path.lexists(self.target)


@dataclass(frozen=True)
class _Found:
    """A picture, the folder it was found in if that was searched, or a problem."""

    path: Path
    root: Path | None = None
    problem: str | None = None


def plan(
    inputs: Sequence[str],
    output: str | None,
    options: ResultOptions,
    model_scale: int,
    *,
    skip_existing: bool = False,
) -> list[PictureJob]:
    """Find the pictures and name their results; problems become jobs that say so.

    Args:
        inputs: files, folders (searched recursively) and globs; each picture counts once. Or "-"
            alone: one picture from standard input.
        output: a file for one picture, a folder, or None: beside each picture. "-" is standard
            output, for one picture.
        skip_existing: a result that exists is kept, instead of being a problem.

    Raises:
        OptionError: the options contradict each other or the output name, or srgan cannot write
            the format.
    """
    if skip_existing and options.overwrite:
        raise OptionError("give either --overwrite or --skip-existing")
    if output in _STANDARD_OUTPUT or any(name in _STANDARD_INPUT for name in inputs):
        return [_stream_job(inputs, output, options, skip_existing)]
    several = len(inputs) > 1 or any(os.path.isdir(n) or glob.has_magic(n) for n in inputs)  # noqa: PTH112
    folder, file = _check_output_name(output, options, several=several)
    results = Path(os.path.realpath(folder)) if folder else None
    unique = {_key(found.path): found for name in inputs for found in _find(name, results)}
    if file is not None and (len(unique) != 1 or any(f.root for f in unique.values())):
        raise OptionError(f"{output}: one file cannot hold several pictures; name a folder")
    jobs: list[PictureJob] = []
    taken: dict[str, Path] = {}
    real = functools.cache(lambda: {os.path.realpath(path) for path in unique})
    for key, found in unique.items():
        target = file or _target(found, folder, options, model_scale)
        first = taken.setdefault(_key(target), found.path)
        problem = found.problem
        if problem is None and first is not found.path:
            problem = _collision(found.path, target, first)
        problem = problem or _obstacle(key, target, unique, real)
        jobs.append(_job(found.path, target, problem, options, skip_existing))
    return jobs


def _job(
    source: Path, target: Path, problem: str | None, options: ResultOptions, skip_existing: bool
) -> PictureJob:
    exists = problem is None and os.path.lexists(target)
    if exists and not (options.overwrite or skip_existing):
        problem = f"{target}: exists; use --overwrite, --skip-existing or another place"
    return PictureJob(source, target, problem, keeps=skip_existing)


def _stream_job(
    inputs: Sequence[str], output: str | None, options: ResultOptions, skip_existing: bool
) -> PictureJob:
    """The job of standard input, standard output, or both."""
    if len(inputs) != 1 or os.path.isdir(inputs[0]) or glob.has_magic(inputs[0]):  # noqa: PTH112
        raise OptionError("standard input and output hold one picture: give no others")
    source = STREAM if inputs[0] in _STANDARD_INPUT else Path(inputs[0])
    if output in _STANDARD_OUTPUT:
        if options.format is not None:
            _check_output_name(None, options, several=False)
        return PictureJob(source, STREAM)
    _, file = _check_output_name(output, options, several=False)
    if file is None:
        raise OptionError("standard input has no name: give -o FILE, or -o - for standard output")
    return _job(source, file, _obstacle("", file, (), set), options, skip_existing)


def _collision(picture: Path, target: Path, first: Path) -> str:
    """Why a result cannot have a name that the result of `first` has, and the way out."""
    if picture.name != first.name:
        return f"{picture}: {same_result(target, first)}"
    way = "give the folder above them, which keeps subfolders, or another -o for each"
    return f"{picture}: {same_result(target, first, way)}"


def _check_output_name(
    output: str | None, options: ResultOptions, *, several: bool
) -> tuple[Path | None, Path | None]:
    """Output as (folder, None) or (None, file).

    A folder exists, ends in a slash, or has no suffix. A suffix that is not a picture's, as in
    out/2024.06.01, is part of a folder's name if there are several pictures.
    """
    try:
        if options.format is not None:
            output_format(options.format, animated=True)
        if output is None:
            return None, None
        if not output:
            raise OptionError("the name after -o is empty")
        path = Path(output)
        if output.endswith(("/", os.sep)) or os.path.isdir(output) or not path.suffix:  # noqa: PTH112
            return path, None
        try:
            output_format(path, animated=True)
        except PictureError as error:
            if several:
                return path, None
            raise OptionError(f"{error}; for a folder of that name, write {output}/") from error
        if options.format and output_format(options.format, animated=True) != output_format(
            path, animated=True
        ):
            raise OptionError(
                f"{output} has another format than --format {options.format}: leave out --format"
            )
    except PictureError as error:
        raise OptionError(str(error)) from error
    if options.suffix is not None:
        raise OptionError(f"{output} is the result's whole name; leave out --suffix")
    return None, path


def _key(path: Path) -> str:
    """Equal for names that the file system may take for the same file."""
    return os.path.normcase(path.absolute())


def _obstacle(
    source: str, target: Path, sources: Collection[str], real_sources: Callable[[], set[str]]
) -> str | None:
    """Why a result cannot have this name, whether or not results may be replaced.

    Args:
        real_sources: gives the sources with all links followed, which takes a while.
    """
    try:
        os.lstat(target)
    except OSError as error:
        excess = len(os.fsencode(target.name)) - _MAX_NAME
        if error.errno == errno.ENAMETOOLONG or excess > 0:
            return f"{target}: the name is too long: give a shorter one"
        return None  # there is nothing; or it cannot be reached, as writing will say
    if _key(target) == source or _is_same_file(source, target):
        return f"{target}: the result would replace its own picture; choose another place"
    if _key(target) in sources:
        return f"{target}: the result would replace another picture; choose another place"
    if os.path.exists(target) and not os.path.isfile(target):  # noqa: PTH110, PTH113
        return f"{target}: it is not an ordinary file; choose another place"
    if os.path.islink(target):  # noqa: PTH114 - it would be written through
        real = os.path.realpath(target)
        if real in real_sources():
            return f"{target}: the result would replace {real}; choose another place"
    return None


def _is_same_file(a: str, b: Path) -> bool:
    try:
        return os.path.samefile(a, b)  # noqa: PTH121
    except OSError:  # a link that is broken, or a loop
        return False


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
    tag = size_tag(options, model_scale)
    if folder is None and found.root is not None:
        root = _upright(found.root)
        if not root.name:
            raise OptionError(f"cannot write beside {root}: choose a folder with -o")
        folder = root.with_name(root.name + tag)
    if folder is None:
        folder = found.path.parent
        suffix = tag if options.suffix is None else options.suffix
    else:
        folder /= found.path.parent.relative_to(found.root) if found.root else ""
        suffix = options.suffix or ""
    keep, format = options.keep_extension, options.format
    if format is None and not options.first_frame and is_animated_gif(found.path):
        format = "gif"
    return folder / result_name(found.path, suffix, format, keep_extension=keep)


def same_result(
    target: Path | str,
    first: Path | str,
    way: str = "use --keep-extension, or rename one of them",
) -> str:
    """The reason to leave out a picture: its result has the name of another picture's.

    Args:
        way: out of it.
    """
    return f"its result {target} is also the result of {first}: {way}"


def _upright(folder: Path) -> Path:
    """A folder by its own name, even if it is a link, in the real folder that it lies in."""
    if folder.name in ("", ".."):
        return folder.resolve()
    return folder.parent.resolve() / folder.name


def result_name(
    picture: PurePath, suffix: str, format: str | None, *, keep_extension: bool = False
) -> str:
    """The file name of a picture's result, PNG where srgan does not write the picture's format.

    Args:
        keep_extension: a changed extension is added: a.jpg becomes a.jpg.webp, not a.webp.
    """
    extension = picture.suffix
    if format is not None:
        extension = WRITTEN_FORMATS[output_format(format, animated=True)].suffixes[0]
        same = extension == picture.suffix.lower()
        extension = picture.suffix if same else extension
    elif extension.lower() not in {s for each in FORMATS.values() for s in each.suffixes}:
        extension = ".png"
    stem = picture.stem
    if keep_extension and extension.lower() != picture.suffix.lower():
        stem = picture.name
    return f"{stem}{suffix}{extension}"


def result_size(picture: Picture, options: ResultOptions, model_scale: int) -> tuple[int, int]:
    """(height, width) of the result, aspect kept.

    Raises:
        SizeError: the size asked for is out of reach.
    """
    height, width, _ = picture.shape
    return enlarged_size(picture.name, (height, width), options, model_scale)
