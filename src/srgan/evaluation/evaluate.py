"""`srgan evaluate`: models, bicubic and anyone's results on benchmark sets, picture by picture."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from srgan.errors import UserError
from srgan.evaluation.registry import MetricFunction
from srgan.evaluation.results import BICUBIC, Evaluation, Example, MissingResult, PictureResult
from srgan.pictures.images import PICTURE_SUFFIXES, PictureError, open_picture
from srgan.pictures.pixels import rgb_uint8
from srgan.pictures.resample import bicubic, bicubic_8bit, round_to

CROP = 96  # HR pixels of the report's examples

# LR to SR, uint8 RGB.
SuperResolve = Callable[[np.ndarray], np.ndarray]


class EvaluationError(UserError):
    """Nothing can be evaluated: one line for the user."""


@dataclass(frozen=True)
class Benchmark:
    """A set of HR pictures, with the LR ones made by others where there are some.

    Attributes:
        name: of the set.
        hr: the HR files, sorted.
        lr: the folder of LR files of the same names, or None: they are made by our bicubic.
    """

    name: str
    hr: tuple[Path, ...]
    lr: Path | None


def find_benchmark(folder: Path, scale: int) -> Benchmark:
    """A folder with HR/ and maybe LRx4/ (for scale 4), or a folder of HR pictures.

    Raises:
        EvaluationError: no such folder, or no pictures.
    """
    hr = folder / "HR" if (folder / "HR").is_dir() else folder
    lr = folder / f"LRx{scale}"
    try:
        files = sorted(p for p in hr.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES)
    except OSError as error:
        raise EvaluationError(f"{hr}: {error.strerror}: give a folder of pictures") from error
    if not files:
        raise EvaluationError(f"{hr}: no pictures: give a folder with HR/ or with HR pictures")
    name = folder.resolve().name
    return Benchmark(name, tuple(files), lr if hr != folder and lr.is_dir() else None)


def evaluate(
    benchmarks: Sequence[Benchmark],
    models: Mapping[str, SuperResolve],
    results: Mapping[str, Path],
    metrics: Mapping[str, MetricFunction],
    *,
    scale: int,
    examples: int = 0,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Evaluation:
    """Values of bicubic, every model and every folder of results on every picture.

    A picture that cannot be read, or whose sizes do not match, is a problem of the evaluation;
    the others still count. Every picture is read once.

    Args:
        results: folders of SR pictures, see `find_result`.
        metrics: functions by name, in the order of the table.
        examples: pictures of each set whose most detailed part is kept for the report.
        progress: called with the pictures done and the pictures in all.
    """
    evaluation = Evaluation([BICUBIC, *models, *results], list(metrics))
    total = sum(len(benchmark.hr) for benchmark in benchmarks)
    done = 0
    for benchmark in benchmarks:
        kept = 0
        for path in benchmark.hr:
            try:
                pair = read_pair(path, benchmark.lr, scale)
            except (PictureError, EvaluationError) as error:
                evaluation.problems.append(
                    MissingResult(benchmark.name, path.name, None, str(error))
                )
            else:
                made = _score(evaluation, benchmark.name, path, pair, models, results, metrics)
                if kept < examples:
                    evaluation.examples.append(_example(benchmark.name, path.name, pair.hr, made))
                    kept += 1
            done += 1
            progress(done, total)
    return evaluation


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
    lr_path = _same_stem(lr_folder, path, ("", f"x{scale}"))
    if lr_path is None:
        raise EvaluationError(f"{path}: no LR picture of that name in {lr_folder}")
    lr = rgb_uint8(read_8bit(lr_path))
    if lr.shape != (height, width, 3):
        raise EvaluationError(
            f"{lr_path}: {lr.shape[1]} x {lr.shape[0]} pixels, not {width} x {height} as HR's "
            f"{hr.shape[1]} x {hr.shape[0]} divided by {scale}"
        )
    return ScoredPair(cropped, lr, scale)


def find_result(folder: Path, set: str, hr: Path, scale: int) -> Path:
    """A method's SR of an HR picture: FOLDER/SET/NAME or FOLDER/NAME.

    The suffix is free, and the name may end in _xSCALE, as `srgan upscale` names pictures, or
    in _SR.

    Raises:
        EvaluationError: there is none.
    """
    for place in (folder / set, folder):
        if (path := _same_stem(place, hr, ("", f"_x{scale}", f"x{scale}", "_SR"))) is not None:
            return path
    raise EvaluationError(f"{folder}: no picture {hr.stem} of set {set} in it")


def _same_stem(folder: Path, path: Path, endings: Sequence[str]) -> Path | None:
    """The picture in a folder that has the name of `path`, but for its suffix and an ending."""
    for ending in endings:
        for suffix in (path.suffix, *sorted(PICTURE_SUFFIXES)):
            candidate = folder / f"{path.stem}{ending}{suffix}"
            if candidate.is_file():
                return candidate
    return None


def read_8bit(path: Path) -> np.ndarray:
    """A picture as uint8: RGB (H, W, 3), or (H, W, 1) of a gray file. Raises PictureError."""
    picture = open_picture(path)
    rgb = np.ascontiguousarray(rgb_uint8(picture[:, :]))
    return rgb if picture.shape[2] > 2 else rgb[..., :1]


def upscale_bicubic(lr: np.ndarray, scale: int) -> np.ndarray:
    """The bicubic row of every table: MATLAB's, rounded to 8 bits."""
    height, width = lr.shape[0] * scale, lr.shape[1] * scale
    return round_to(bicubic(lr.astype(np.float64), height, width), np.dtype(np.uint8))


def _score(
    evaluation: Evaluation,
    set: str,
    path: Path,
    pair: ScoredPair,
    models: Mapping[str, SuperResolve],
    results: Mapping[str, Path],
    metrics: Mapping[str, MetricFunction],
) -> dict[str, np.ndarray]:
    """Add every method's values for a picture; returns SR by method."""
    made: dict[str, np.ndarray] = {}
    for method in evaluation.methods:
        try:
            if method in results:
                sr = rgb_uint8(read_8bit(find_result(results[method], set, path, pair.scale)))
            elif method in models:
                sr = models[method](pair.lr)
            else:
                sr = upscale_bicubic(pair.lr, pair.scale)
            if sr.shape[:2] != pair.hr.shape[:2]:
                raise EvaluationError(
                    f"{sr.shape[1]} x {sr.shape[0]} pixels, not {pair.hr.shape[1]} x "
                    f"{pair.hr.shape[0]} as HR"
                )
            values = {name: metric(sr, *pair) for name, metric in metrics.items()}
        except (PictureError, EvaluationError, ValueError) as error:
            evaluation.problems.append(MissingResult(set, path.name, method, str(error)))
            continue
        evaluation.results.append(PictureResult(set, path.name, method, values))
        made[method] = sr
    return made


def _example(set: str, name: str, hr: np.ndarray, made: Mapping[str, np.ndarray]) -> Example:
    window = most_detailed(hr, CROP)
    pictures = {"HR": rgb_uint8(hr), **made}
    return Example(set, name, {method: image[window] for method, image in pictures.items()})


def most_detailed(image: np.ndarray, side: int) -> tuple[slice, slice]:
    """The square of `side` pixels, or less, with the largest differences between neighbours."""
    gray = image.mean(2)
    detail = np.zeros_like(gray)
    detail[:, 1:] += np.abs(np.diff(gray, axis=1))
    detail[1:] += np.abs(np.diff(gray, axis=0))
    height, width = min(side, gray.shape[0]), min(side, gray.shape[1])
    sums = np.pad(detail, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    windows = (
        sums[height:, width:]
        - sums[:-height, width:]
        - sums[height:, :-width]
        + sums[:-height, :-width]
    )
    top, left = np.unravel_index(int(windows.argmax()), windows.shape)
    return slice(int(top), int(top) + height), slice(int(left), int(left) + width)
