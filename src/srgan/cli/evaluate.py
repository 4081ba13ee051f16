"""The `srgan evaluate` and `srgan degrade` commands: each parses, calls, prints."""

import shlex
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from srgan.cli.lists import LIST
from srgan.cli.run import command
from srgan.degradation.ranges import BICUBIC
from srgan.engines.options import EngineOptions
from srgan.errors import OptionError
from srgan.pictures.options import Edges, ResultOptions
from srgan.upscaling.options import DEFAULT_MODEL

if TYPE_CHECKING:
    from srgan.evaluation.results import Evaluation
    from srgan.upscaling.auto import ModelChooser

ENGINE = Parameter(name="*", group=Group("Engine", sort_key=2))
FILES = Group("Files", sort_key=1)
MANY = Parameter(consume_multiple=True, show_default=False)  # the default is an empty list
evaluate_app = command(
    "evaluate",
    epilogue="""\
Examples:

  srgan evaluate --benchmark bench/Set5 bench/Set14

  srgan evaluate --model srresnet-x4 --model mine.safetensors -b bench/Set5 --report out.html

  srgan evaluate --results theirs=their-pictures/ --benchmark bench/Set5 --metrics psnr_y lpips_alex

A benchmark is a folder with HR/ and maybe LRx4/ (LRx1/ for scale 1), or a folder of HR pictures,
which may have their LR pictures beside them (a_HR.png and a_LR.png). Without LR pictures, srgan
makes them by MATLAB-compatible bicubic.

Exit codes: 0 all pictures measured, 1 some pictures could not be measured, 2 wrong usage.
""",
)
degrade_app = command(
    "degrade",
    epilogue="""\
Examples:

  srgan degrade photos/ lr/

  srgan degrade bench/BSD100/HR blurry/BSD100/LRx4 --preset blurry --seed 0

  srgan degrade photos/HR photos/LRx1 --preset blurry --scale 1

The same seed gives the same pictures again, also in a folder with other pictures.

Exit codes: 0 all done, 1 a picture failed, 2 wrong usage.
""",
)


@evaluate_app.default
def evaluate(
    *,
    benchmark: Annotated[list[Path], Parameter(alias="-b", consume_multiple=True)],
    model: Annotated[
        list[str], Parameter(alias="-m", consume_multiple=True, show_default=False)
    ] = [],  # noqa: B006
    detail: Annotated[list[float], LIST] = [],  # noqa: B006
    results: Annotated[list[str], MANY] = [],  # noqa: B006
    metrics: Annotated[list[str], LIST] = [],  # noqa: B006
    lpips_weights: Path | None = None,
    scale: int | None = None,
    per_image: bool = False,
    json: Annotated[Path | None, Parameter(group=FILES)] = None,
    csv: Annotated[Path | None, Parameter(group=FILES)] = None,
    report: Annotated[Path | None, Parameter(group=FILES)] = None,
    examples: Annotated[int, Parameter(group=FILES)] = 2,
    overwrite: Annotated[bool, Parameter(group=FILES)] = False,
    engine: Annotated[EngineOptions, ENGINE] = EngineOptions(),
) -> int:
    """Measure models, and other programs' results, on benchmark sets, beside bicubic.

    Args:
        benchmark: Folders with HR/ and maybe LRx4/, or folders of HR pictures.
        model: Same values as in srgan upscale. Default: srgan-x4, or none with --results.
        detail: Values from 0 (faithful) to 1 (vivid), for models whose file names a partner.
        results: NAME=DIR: another program's SR pictures in DIR or DIR/SET, named like HR's.
        metrics: Metrics to compute, with spaces or commas between them. Default: psnr_y, ssim_y
            and lpips_alex. all computes all.
        lpips_weights: Folder with the weights of LPIPS and DISTS. Default: downloaded once.
        scale: Scale of the benchmark. Default: the models'. Other models' results are resized.
        per_image: Print a row for every picture, too.
        json: Write all values as JSON.
        csv: Write one line per picture and method.
        report: Write one HTML page that needs no other file: tables, a plot of perception against
            distortion, parts of pictures side by side.
        examples: Pictures of each set in the report.
        overwrite: Replace files that exist.
    """
    from srgan.cli.bars import counting
    from srgan.evaluation.benchmark import find_benchmarks
    from srgan.evaluation.evaluate import evaluate as measure
    from srgan.evaluation.registry import DEFAULT, load_metrics
    from srgan.evaluation.terminal import print_tables

    files = _Files(json, csv, report, overwrite)
    models = _load(model or ([] if results else [DEFAULT_MODEL]), detail, engine)
    folders = _named_folders(results, {BICUBIC, *models})
    scale = _common_scale(models) if scale is None else _checked_scale(scale)
    methods = {name: partial(each, scale=scale) for name, each in models.items()}
    benchmarks = find_benchmarks(benchmark, scale)
    functions, unavailable = load_metrics(metrics or DEFAULT, lpips_weights)
    shown = examples if report else 0
    with counting("pictures") as progress:
        evaluation = measure(
            benchmarks, methods, folders, functions, scale=scale, examples=shown, progress=progress
        )
    evaluation.unavailable.update(unavailable)
    print_tables(evaluation, per_image)
    files.write(evaluation, _facts(models))
    asked_for = metrics and "all" not in metrics
    return 1 if evaluation.problems or (asked_for and unavailable) else 0


@dataclass(frozen=True)
class _Files:
    """The files to write. One that exists, or has no folder, is an error before any work."""

    json: Path | None
    csv: Path | None
    report: Path | None
    overwrite: bool

    def __post_init__(self) -> None:
        for path in (self.json, self.csv, self.report):
            if path is not None and path.exists() and not self.overwrite:
                raise OptionError(f"{path}: exists; use --overwrite")
            if path is not None and not path.parent.is_dir():
                raise OptionError(f"{path}: its folder does not exist: make it first")

    def write(self, evaluation: "Evaluation", facts: dict[str, str]) -> None:
        from srgan.evaluation.files import write_csv, write_json
        from srgan.evaluation.report import write_report

        if self.json is not None:
            write_json(evaluation, self.json, facts, overwrite=self.overwrite)
        if self.csv is not None:
            write_csv(evaluation, self.csv, overwrite=self.overwrite)
        if self.report is not None:
            title = "Evaluation on " + ", ".join(evaluation.sets)
            write_report(evaluation, self.report, title, facts, overwrite=self.overwrite)


def _named_folders(results: Sequence[str], taken: Collection[str]) -> dict[str, Path]:
    """The folders of --results by name; each name is a row of the tables, and none is `taken`."""
    folders: dict[str, Path] = {}
    for entry in results:
        name, equals, folder = entry.partition("=")
        if not (name and equals and folder):
            raise OptionError(f"--results takes NAME=DIR, not {entry}")
        if not Path(folder).is_dir():
            raise OptionError(f"--results {entry}: {folder} is not a folder")
        if name in taken or name in folders:
            raise OptionError(f"--results {entry}: another row is named {name}; choose another")
        folders[name] = Path(folder)
    return folders


def _load(
    models: Sequence[str], details: Sequence[float], engine: EngineOptions
) -> "dict[str, ModelChooser]":
    from srgan.upscaling.auto import ModelChooser

    loaded: dict[str, ModelChooser] = {}
    short = [Path(model).stem if Path(model).suffix else model for model in models]
    for model, name in zip(models, short, strict=True):
        # runs/a/best.safetensors, runs/b/best.safetensors; or a file named bicubic
        key = model if name == BICUBIC or short.count(name) > 1 else name
        for step in details or [None]:
            at = "" if step is None else f" detail {step:g}"
            loaded[f"{key}{at}"] = ModelChooser(model, step, engine)
    return loaded


def _checked_scale(scale: int) -> int:
    if scale < 1:
        raise OptionError("--scale must be at least 1")
    return scale


def _common_scale(models: "Mapping[str, ModelChooser]") -> int:
    scales = {each.scale for each in models.values()}
    if len(scales) > 1:
        raise OptionError(f"the models have the scales {sorted(scales)}: choose one with --scale")
    return scales.pop() if scales else 4


def _facts(models: "Mapping[str, ModelChooser]") -> dict[str, str]:
    import numpy as np

    from srgan.cli.info import describe

    facts = {
        name: value if isinstance(value, str) else ", ".join(value)
        for name, value in describe().items()
    }
    for name, each in models.items():
        engine = each.engine_for(np.dtype(np.uint8))
        facts[name] = f"{engine.name} {engine.precision}"
    facts["command"] = shlex.join(["srgan", *sys.argv[1:]])
    return facts


@degrade_app.default
def degrade(
    folder: Path,
    output: Path,
    /,
    *,
    preset: str = BICUBIC,
    seed: int = 0,
    scale: int = 4,
    edges: Edges = "replicate",
    overwrite: bool = False,
    skip_existing: bool = False,
) -> int:
    """Write the LR pictures of a folder as 8-bit PNG: by MATLAB's bicubic, or blurry.

    Args:
        folder: HR pictures, searched recursively.
        output: Folder for the LR pictures; subfolders are kept.
        preset: bicubic; blurry (out of focus or shaken, noisy, saved as JPEG); blurry-light; or a
            TOML file of ranges. All but bicubic need PyTorch. Of several,
            with commas between them, each picture gets one.
        seed: The seed and the picture's name decide the blur, the noise and the JPEG quality.
        scale: HR pixels per LR pixel; HR is cropped to a multiple of it.
        edges: Values beyond a picture's edges: replicate makes the published benchmark sets,
            symmetric matches current MATLAB.
        overwrite: Replace files that exist.
        skip_existing: Skip the pictures whose results exist: continue after a stop.
    """
    from srgan.cli.console import Reporter
    from srgan.degradation.files import make_reduction, open_hr, write_lr
    from srgan.pictures import jobs as batch

    if seed < 0:
        raise OptionError("--seed must be 0 or more")
    if _checked_scale(scale) == 1 and preset == BICUBIC:
        raise OptionError("--scale 1 --preset bicubic would copy the pictures: add --preset blurry")
    reduction = make_reduction(preset, scale, edges=edges, seed=seed)
    options = ResultOptions(format="png", suffix="", overwrite=overwrite)
    jobs = batch.plan([str(folder)], f"{output}/", options, scale, skip_existing=skip_existing)
    with Reporter(len(jobs), verb="done", json=False) as reporter:
        for job in jobs:
            if job.kept:
                reporter.keep(job)
                continue
            with reporter.job(job) as report:
                picture, size = open_hr(job, scale)
                report.opened(picture, size)
                report.done(write_lr(picture, job, reduction, output, overwrite=overwrite))
    return reporter.exit_code
