"""Benchmark sets: which HR, LR and SR files belong together."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from srgan.errors import UserError
from srgan.pictures.images import PICTURE_SUFFIXES, open_picture
from srgan.pictures.pixels import rgb_uint8
from srgan.pictures.resample import bicubic_8bit

# Endings of names that tell HR from LR: img_001_SRF_4_HR, Canon_001_LR4, 0001x4. An x needs a
# digit or a mark before it: box4 is a name.
_HR_ENDING = re.compile(r"[-_](HR|GT)$", re.IGNORECASE)
_LR_ENDING = re.compile(r"[-_](LR|LQ)([-_]?x?\d)?$", re.IGNORECASE)
_SCALE_ENDING = re.compile(r"([-_]|(?<=\d))x\d$", re.IGNORECASE)


class EvaluationError(UserError):
    """Nothing can be evaluated: one line for the user."""


@dataclass(frozen=True)
class Benchmark:
    """A set of HR pictures, with the LR ones made by others where there are some.

    Attributes:
        name: of the set.
        hr: the HR files, sorted.
        lr: the folder of LR files, see `find_lr`, or None: they are made by our bicubic.
    """

    name: str
    hr: tuple[Path, ...]
    lr: Path | None


def find_benchmarks(folders: Sequence[Path], scale: int) -> list[Benchmark]:
    """The benchmark of each folder. Names are distinct, and a folder named twice counts once.

    Folders of one name are told apart by those above them: A/HR and B/HR.

    Raises:
        EvaluationError: see `find_benchmark`.
    """
    unique = list({folder.resolve(): folder for folder in folders}.items())
    names = distinct_names([path for path, _ in unique])
    return [
        replace(find_benchmark(folder, scale), name=name)
        for (_, folder), name in zip(unique, names, strict=True)
    ]


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """The last part of each path, with as many parts before it as make the names distinct.

    Args:
        paths: absolute and distinct.
    """
    lengths = [1] * len(paths)
    while True:
        names = [Path(*p.parts[-n:]).as_posix() for p, n in zip(paths, lengths, strict=True)]
        shared = [names.count(name) > 1 for name in names]
        if not any(shared):
            return names
        lengths = [n + more for n, more in zip(lengths, shared, strict=True)]


def find_benchmark(folder: Path, scale: int) -> Benchmark:
    """A folder with HR/ and maybe LRx4/ (for scale 4), or a folder of HR pictures.

    In a folder without HR/, each HR picture may have its LR picture beside it:
    img_001_SRF_4_HR.png and img_001_SRF_4_LR.png, or 0001.png and 0001x4.png. Hidden files are
    left out.

    Raises:
        EvaluationError: no such folder, or no pictures.
    """
    hr = folder / "HR" if (folder / "HR").is_dir() else folder
    lr = folder / f"LRx{scale}"
    try:
        files = sorted(_pictures(hr))
    except OSError as error:
        raise EvaluationError(f"{hr}: {error.strerror}: give a folder of pictures") from error
    if not files:
        raise EvaluationError(f"{hr}: no pictures: give a folder with HR/ or with HR pictures")
    name = folder.resolve().name
    if hr != folder:
        return Benchmark(name, tuple(files), lr if lr.is_dir() else None)
    large = _large_of_pairs(files, scale)
    return Benchmark(name, tuple(large or files), folder if large else None)


def _pictures(folder: Path) -> Iterable[Path]:
    """The picture files in a folder, but for hidden ones: macOS adds ._a.png to a.png."""
    for path in folder.iterdir():
        if path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith("."):
            yield path


def _large_of_pairs(files: Sequence[Path], scale: int) -> list[Path]:
    """The HR files of a folder that holds LR beside HR; none if it does not."""
    large = [path for path in files if _HR_ENDING.search(path.stem)]
    small = {_LR_ENDING.sub("", p.stem).casefold() for p in files if _LR_ENDING.search(p.stem)}
    if any(_HR_ENDING.sub("", path.stem).casefold() in small for path in large):
        return large
    names = {path.stem.casefold() for path in files}
    ending = f"x{scale}"
    large = [path for path in files if not path.stem.casefold().endswith(ending)]
    whole = len(large) * 2 == len(files)
    if whole and all(path.stem.casefold() + ending in names for path in large):
        return large
    return []


class ScoredPair(NamedTuple):
    """uint8: HR (scale * h, scale * w, 3), or 1 band of a gray file, and LR (h, w, 3)."""

    hr: np.ndarray
    lr: np.ndarray
    scale: int


def read_pair(path: Path, lr_folder: Path | None, scale: int) -> ScoredPair:
    """An HR picture, cropped to a multiple of the scale, and its LR: a file, or our bicubic.

    Raises:
        PictureError: a file cannot be read.
        EvaluationError: there is no LR, or its size is not HR's divided by the scale.
    """
    hr = read_8bit(path)
    height, width = hr.shape[0] // scale, hr.shape[1] // scale
    if min(height, width) == 0:
        raise EvaluationError(f"{path}: smaller than {scale} x {scale} pixels")
    cropped = hr[: height * scale, : width * scale]
    if lr_folder is None:
        return ScoredPair(cropped, rgb_uint8(bicubic_8bit(cropped, height, width)), scale)
    lr_path = find_lr(lr_folder, path, scale)
    lr = rgb_uint8(read_8bit(lr_path))
    if lr.shape != (height, width, 3):
        raise EvaluationError(
            f"{lr_path}: {lr.shape[1]} x {lr.shape[0]} pixels, not {width} x {height} as HR's "
            f"{hr.shape[1]} x {hr.shape[0]} divided by {scale}"
        )
    return ScoredPair(cropped, lr, scale)


def find_lr(folder: Path, hr: Path, scale: int, present: Mapping[str, Path] | None = None) -> Path:
    """The LR file of an HR file: of the same name, but for the suffix and the usual endings.

    The name of HR may end in _HR, _GT, x4 or _x4, that of LR in x4, _x4, _LR, _LR4, _LRx4 or _LQ.
    Upper and lower case are alike.

    Args:
        present: the folder's `listing`, for a caller that asks for many pictures.

    Raises:
        EvaluationError: there is none.
    """
    endings = ("", f"x{scale}", f"_x{scale}", "_LR", f"_LR{scale}", f"_LRx{scale}", "_LQ")
    found = _same_stem(folder, hr, endings, without=hr, present=present)
    if found is None:
        raise EvaluationError(f"{hr}: no LR picture of that name in {folder}")
    return found


def listing(folder: Path) -> dict[str, Path]:
    """The picture files in a folder by their names in lower case."""
    return {path.name.casefold(): path for path in sorted(_pictures(folder))}


def find_result(folder: Path, set: str, hr: Path, scale: int) -> Path:
    """A method's SR of an HR picture: FOLDER/SET/NAME or FOLDER/NAME.

    The suffix is free, and the name may end in _xSCALE, as `srgan upscale` names pictures, or
    in _SR. Of a set Set5/HR, FOLDER/Set5/NAME will do, too.

    Raises:
        EvaluationError: there is none.
    """
    endings = ("", f"_x{scale}", f"x{scale}", "_SR")
    for place in dict.fromkeys((folder / set, folder / Path(set).parts[0], folder)):
        if (path := _same_stem(place, hr, endings)) is not None:
            return path
    raise EvaluationError(f"{folder}: no picture {hr.stem} of set {set} in it")


def _same_stem(
    folder: Path,
    hr: Path,
    endings: Sequence[str],
    without: Path | None = None,
    present: Mapping[str, Path] | None = None,
) -> Path | None:
    """The picture in a folder that has the name of `hr`, but for its suffix and an ending.

    The whole name goes first, then the name without HR's own ending, in any case.
    """
    suffixes = (hr.suffix, *sorted(PICTURE_SUFFIXES))
    for ending in endings:
        for suffix in suffixes:
            candidate = folder / f"{hr.stem}{ending}{suffix}"
            if candidate != without and candidate.is_file():
                return candidate
    if not folder.is_dir():
        return None
    stems = dict.fromkeys((hr.stem, _HR_ENDING.sub("", hr.stem), _SCALE_ENDING.sub("", hr.stem)))
    present = listing(folder) if present is None else present
    for stem in stems:
        # Beside img_HR.png, img.png may be anything: img_LR.png goes first.
        for ending in endings if stem == hr.stem else (*endings[1:], ""):
            for suffix in suffixes:
                path = present.get(f"{stem}{ending}{suffix}".casefold())
                if path is not None and path != without and path.is_file():
                    return path
    return None


def read_8bit(path: Path) -> np.ndarray:
    """A picture as uint8: RGB (H, W, 3), or (H, W, 1) of a gray file. Raises PictureError."""
    picture = open_picture(path)
    rgb = np.ascontiguousarray(rgb_uint8(picture[:, :]))
    return rgb if picture.shape[2] > 2 else rgb[..., :1]
