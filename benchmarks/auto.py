"""Does `--model auto` take the model with the lower LPIPS? And the thresholds that it uses.

    python benchmarks/auto.py ../shared/bench/BSD100/HR --lpips-weights WEIGHTS
    python benchmarks/auto.py ../shared/train --fit --lpips-weights WEIGHTS

The first prints how often, on as many clean as degraded pictures; the second fits the thresholds to
training pictures and writes src/srgan/upscaling/auto.toml. Never fit to benchmark pictures.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import Parameter
from PIL import Image
from rich.console import Console
from rich.table import Table

from srgan.cli.bars import counting
from srgan.cli.run import run_script
from srgan.degradation.degrade import degrade_picture, fixed_rng, make_degrade
from srgan.evaluation.registry import MetricFunction, load_metrics
from srgan.pictures.images import open_picture
from srgan.training.data.crops import read_pixels
from srgan.training.data.stored import find_pictures
from srgan.upscaling.auto import THRESHOLDS, Thresholds, read_thresholds
from srgan.upscaling.condition import Condition, inspect_condition
from srgan.upscaling.options import DEFAULT_MODEL
from srgan.upscaling.upscaler import Upscaler

SCALE = 4
SIDE = 384  # HR pixels at most, so that it takes minutes
CLEAN, SAVED = "clean", "clean, saved as JPEG"
DEGRADED = ("blurry", "blurry-light")
QUALITIES = (50, 60, 70, 80, 88, 92, 95, 98)  # that every picture is saved with
STEPS = 40  # thresholds tried of each kind
CALM = 0.98  # share of the clean pictures that have less noise than its threshold


@dataclass(frozen=True)
class Sample:
    """A picture, and the LPIPS of both models' SR of it."""

    kind: str
    condition: Condition
    clean: float
    blurry: float


def main(
    folder: Annotated[Path, Parameter(required=True)],
    /,
    *,
    lpips_weights: Path | None = None,
    clean: str = DEFAULT_MODEL,
    blurry: str = "srgan-blurry-x4",
    pictures: int = 50,
    seed: int = 1,
    fit: bool = False,
) -> None:
    """Print how often auto takes the better model, or fit its thresholds.

    Args:
        folder: HR pictures; PICTURES of them, spread over all, are used.
        lpips_weights: Folder with the weights of LPIPS.
        clean: The model for clean pictures.
        blurry: The model for the others.
        pictures: How many clean and how many degraded pictures; for --fit, of every kind.
        seed: Of the degradations.
        fit: Fit the thresholds to these pictures and write them.
    """
    files = find_pictures(folder)
    files = [
        files[i] for i in np.linspace(0, len(files) - 1, min(pictures, len(files))).astype(int)
    ]
    functions, unavailable = load_metrics(["lpips_alex"], lpips_weights)
    if unavailable:
        raise SystemExit("; ".join(unavailable.values()))
    upscalers = Upscaler.load(clean), Upscaler.load(blurry)
    kinds = (CLEAN, SAVED, *DEGRADED) if fit else (CLEAN, "degraded")
    samples = []
    with counting("pictures") as progress:
        for sample in _samples(files, kinds, seed, upscalers, functions["lpips_alex"]):
            samples.append(sample)
            progress(len(samples), len(files) * sum(len(_qualities(kind)) for kind in kinds))
    thresholds = fitted(samples) if fit else read_thresholds()
    if fit:
        lines = [f"{name} = {round(value, 3)}" for name, value in asdict(thresholds).items()]
        head = "# Thresholds, fitted by benchmarks/auto.py --fit"
        THRESHOLDS.write_text("\n".join([head, *lines, ""]))
        print(f"{THRESHOLDS}: {thresholds}")
    _print(samples, thresholds, clean, blurry)


def _samples(
    files: Sequence[Path],
    kinds: Sequence[str],
    seed: int,
    upscalers: tuple[Upscaler, Upscaler],
    lpips: MetricFunction,
) -> Iterator[Sample]:
    for index, path in enumerate(files):
        hr = _middle(path)
        for kind in kinds:
            preset = DEGRADED[index % 2] if kind == "degraded" else kind
            degrade = make_degrade(preset if preset in DEGRADED else "bicubic", whole=True)
            degraded = degrade_picture(degrade, hr, SCALE, fixed_rng(seed, path.name))
            for quality in _qualities(kind):
                lr, condition = _as_file(degraded, quality)
                clean, blurry = (lpips(each(lr), hr, lr, SCALE) for each in upscalers)
                yield Sample(kind, condition, clean, blurry)


def _qualities(kind: str) -> tuple[int | None, ...]:
    """Of JPEG, that a picture of this kind is saved with; None for PNG."""
    return QUALITIES if kind == SAVED else (None,)


def _middle(path: Path) -> np.ndarray:
    hr = read_pixels(path, SCALE)
    height, width = (min(side, SIDE) // SCALE * SCALE for side in hr.shape[:2])
    top, left = (hr.shape[0] - height) // 2, (hr.shape[1] - width) // 2
    return np.ascontiguousarray(hr[top : top + height, left : left + width])


def _as_file(lr: np.ndarray, quality: int | None) -> tuple[np.ndarray, Condition]:
    """As PNG, or as JPEG of a quality: the pixels that are read again, and the condition."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "lr.jpg" if quality else "lr.png")
        Image.fromarray(lr).save(path, quality=quality or -1)  # PNG has none
        picture = open_picture(path)
        return np.ascontiguousarray(picture[:, :]), inspect_condition(picture)


def fitted(samples: Sequence[Sample]) -> Thresholds:
    """The thresholds with the most right choices, and among those with the lowest mean LPIPS.

    Every kind of picture has the same weight. Each step changes the threshold that gains most,
    until none gains. The threshold of noise is one that hardly any clean picture passes, fine
    texture included: the presets seldom degrade by noise alone, so scores cannot decide it.
    """
    noises = [sample.condition.noise for sample in samples if sample.kind == CLEAN]
    noise = float(np.quantile(noises, CALM))
    best = Thresholds(quality=0, traces=np.inf, blur=np.inf, noise=noise)
    tried = {name: _candidates(samples, name) for name in ("quality", "traces", "blur")}
    while True:
        changed = (
            replace(best, **{name: value}) for name, values in tried.items() for value in values
        )
        found = max((best, *changed), key=lambda thresholds: _score(samples, thresholds))
        if found is best:
            return best
        best = found


def _candidates(samples: Sequence[Sample], name: str) -> list[float]:
    values = [getattr(sample.condition, name) for sample in samples]
    known = [value for value in values if value is not None]
    return np.quantile(known, np.linspace(0, 1, STEPS)).tolist() if known else []


def _score(samples: Sequence[Sample], thresholds: Thresholds) -> tuple[float, float]:
    groups = _by_kind(samples).values()
    right = np.mean([np.mean([_is_right(each, thresholds) for each in group]) for group in groups])
    lpips = np.mean([np.mean([_chosen(each, thresholds) for each in group]) for group in groups])
    return float(right), -float(lpips)


def _by_kind(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    kinds = dict.fromkeys(sample.kind for sample in samples)
    return {kind: [sample for sample in samples if sample.kind == kind] for kind in kinds}


def _is_right(sample: Sample, thresholds: Thresholds) -> bool:
    return _chosen(sample, thresholds) == min(sample.clean, sample.blurry)


def _chosen(sample: Sample, thresholds: Thresholds) -> float:
    return sample.blurry if thresholds.passed_by(sample.condition) else sample.clean


def _print(samples: Sequence[Sample], thresholds: Thresholds, clean: str, blurry: str) -> None:
    table = Table(title=f"LPIPS (AlexNet) of {clean}, of {blurry} and of auto's choice")
    for column in ("", "pictures", "auto is right", "clean model", "blurry model", "auto", "best"):
        table.add_column(column)
    for kind, group in {**_by_kind(samples), "all": samples}.items():
        right = np.mean([_is_right(sample, thresholds) for sample in group])
        means = [
            np.mean([sample.clean for sample in group]),
            np.mean([sample.blurry for sample in group]),
            np.mean([_chosen(sample, thresholds) for sample in group]),
            np.mean([min(sample.clean, sample.blurry) for sample in group]),
        ]
        figures = (f"{mean:.4f}" for mean in means)
        table.add_row(kind, str(len(group)), f"{100 * right:.1f} %", *figures)
    Console().print(table)


if __name__ == "__main__":
    run_script(main)
