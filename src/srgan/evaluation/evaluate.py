"""`srgan evaluate`: models, bicubic and anyone's results on benchmark sets, picture by picture."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from srgan.evaluation.benchmark import (
    Benchmark,
    EvaluationError,
    ScoredPair,
    find_result,
    read_8bit,
    read_pair,
)
from srgan.evaluation.registry import MetricFunction
from srgan.evaluation.results import BICUBIC, Evaluation, Example, MissingResult, PictureResult
from srgan.pictures.images import PictureError
from srgan.pictures.pixels import rgb_uint8
from srgan.pictures.resample import bicubic, round_to

CROP = 96  # HR pixels of the report's examples

# LR to SR, uint8 RGB.
SuperResolve = Callable[[np.ndarray], np.ndarray]


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
    the others still count. So is a metric that cannot be computed of a picture, such as SSIM of
    a small one; the other metrics of the picture still count. Every picture is read once.

    Args:
        benchmarks: of distinct names, as `find_benchmarks` gives them.
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
        except (PictureError, EvaluationError, ValueError) as error:
            evaluation.problems.append(MissingResult(set, path.name, method, str(error)))
            continue
        values: dict[str, float] = {}
        for name, metric in metrics.items():
            try:
                values[name] = metric(sr, *pair)
            except ValueError as error:
                problem = MissingResult(set, path.name, method, str(error), name)
                evaluation.problems.append(problem)
        if values or not metrics:
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
