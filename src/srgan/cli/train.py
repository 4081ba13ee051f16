"""The `srgan train` and `srgan prepare` commands: each parses, calls, prints."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, ArgumentCollection, Group, Parameter
from cyclopts.config import Dict

from srgan.cli.run import command
from srgan.engines.processor import wait_passively
from srgan.errors import OptionError, need
from srgan.training.config import (
    FAST,
    METHODS,
    TrainingConfig,
    check_method,
    check_resumed,
    parse_config,
    preset_file,
    presets,
)
from srgan.training.options import (
    DataOptions,
    OptimizerOptions,
    PreparedFormat,
    RunOptions,
    ScheduleOptions,
    SRGANData,
    SRGANOptimizer,
    SRGANOptions,
    SRGANSchedule,
    SRResNetOptions,
)
from srgan.training.whole_numbers import check_whole_numbers

train = command("train")

DATA = Parameter(name="*", group=Group("Data", sort_key=1))
SCHEDULE = Parameter(name="*", group=Group("Schedule", sort_key=2))
MODEL = Parameter(name="*", group=Group("Model", sort_key=3))
RUN = Parameter(name="*", group=Group("Run", sort_key=5))
RUN_FOLDER = """\
The run folder holds config.toml, metrics.jsonl, TensorBoard events, sample grids, the models
best.safetensors and last.safetensors (use them with srgan upscale --model), and the training
state. --preset takes a TOML file that sets any option by its name. Ctrl-C and SIGTERM save and
stop; --resume continues exactly.

Exit codes: 0 trained, 1 failed, 2 wrong usage, 130 or 143 stopped by a signal.
"""
PLAN_EXAMPLES = """\
Examples:

  srgan train plan --data-folder photos/

  srgan train plan srgan --data-folder photos/ --srresnet srresnet-x4 --minutes 600

It takes the options of srgan train srresnet or srgan train srgan, and measures a few iterations,
a validation and a save.
"""
prepare_app = command(
    "prepare",
    epilogue="""\
Examples:

  srgan prepare photos/ sub-images/

  srgan train srresnet --data-folder sub-images/

  srgan prepare photos/ shards/ --format parquet

Start an interrupted run again to continue it.

Exit codes: 0 all done, 1 a picture was left out, 2 wrong usage.
""",
)
prepare_app.config = check_whole_numbers


def _fill_in(method: Literal["srresnet", "srgan"]) -> Callable[..., None]:
    """Options that the command line leaves out come from the resumed run or the preset."""

    def fill_in(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        if "--preset" not in arguments:  # those of `run` itself, such as --debug
            return
        if _given(arguments, "--resume") is not None:
            if _given(arguments, "--preset") is not None:
                raise OptionError("--preset cannot change in a resumed run: leave it out")
            need("train", "training")
            wait_passively()
            from srgan.training.run.folder import CONFIG, existing_folder

            folder = _given(arguments, "--run-folder")
            path = existing_folder(method, Path(folder) if folder else None) / CONFIG
            table = parse_config(path)
            check_method(path, table, method)
        else:
            path = preset_file(method, _given(arguments, "--preset") or FAST)
            table = parse_config(path) if path is not None else {}
        options = Dict(table, source=str(path), use_commands_as_keys=False)
        options(app, commands, arguments)
        check_whole_numbers(app, commands, arguments)

    return fill_in


def _given(arguments: ArgumentCollection, name: str) -> str | None:
    tokens = arguments[name].tokens if name in arguments else ()
    return tokens[0].value if tokens else None


SRRESNET_CONFIG = _fill_in("srresnet")
SRGAN_CONFIG = _fill_in("srgan")

plan = App(
    name="plan",
    help="Say what a run would take on this machine: time, memory, disk. Nothing is trained.",
    help_epilogue=PLAN_EXAMPLES,
    config=SRRESNET_CONFIG,
)
train.command(plan)


@train.command(config=SRRESNET_CONFIG, help_epilogue=RUN_FOLDER)
def srresnet(
    *,
    method: Annotated[SRResNetOptions, MODEL] = SRResNetOptions(),
    data: Annotated[DataOptions, DATA] = DataOptions(),
    schedule: Annotated[ScheduleOptions, SCHEDULE] = ScheduleOptions(),
    optimizer: Annotated[OptimizerOptions, SCHEDULE] = OptimizerOptions(),
    run: Annotated[RunOptions, RUN] = RunOptions(),
    preset: str = FAST,  # noqa: ARG001 (fill_in reads it)
    run_folder: Path | None = None,
    resume: bool = False,
) -> None:
    """Train an SRResNet: srgan train srresnet --data-folder photos/ --minutes 60

    Args:
        preset: fast (the defaults below), paper (Ledig et al. 2017), blurry (continues
            srresnet-x4 for blurry, noisy and compressed pictures), or a TOML file of options.
        run_folder: Folder of the run. Default: runs/srresnet, runs/srresnet-2, ...
        resume: Continue the newest run, or the run in --run-folder, with its saved options.
            Options on the command line override them.
    """
    config = TrainingConfig(data, schedule, optimizer, run, method)
    _train(config, run_folder, resume)


@train.command(config=SRGAN_CONFIG, help_epilogue=RUN_FOLDER)
def srgan(
    *,
    method: Annotated[SRGANOptions, MODEL] = SRGANOptions(),
    data: Annotated[SRGANData, DATA] = SRGANData(),
    schedule: Annotated[SRGANSchedule, SCHEDULE] = SRGANSchedule(),
    optimizer: Annotated[SRGANOptimizer, SCHEDULE] = SRGANOptimizer(),
    run: Annotated[RunOptions, RUN] = RunOptions(),
    preset: str = FAST,  # noqa: ARG001 (fill_in reads it)
    run_folder: Path | None = None,
    resume: bool = False,
) -> None:
    """Train an SRGAN: srgan train srgan --data-folder photos/ --srresnet srresnet-x4

    Args:
        preset: fast (the defaults below), paper (Ledig et al. 2017), blurry (continues an
            SRResNet of the preset blurry), or a TOML file of options.
        run_folder: Folder of the run. Default: runs/srgan, runs/srgan-2, ...
        resume: Continue the newest run, or the run in --run-folder, with its saved options.
            Options on the command line override them.
    """
    method = method if resume else _started(method)
    config = TrainingConfig(data, schedule, optimizer, run, method)
    _train(config, run_folder, resume)


def _started(method: SRGANOptions) -> SRGANOptions:
    """The options of a new SRGAN, which say where it starts."""
    if method.srresnet is not None or method.from_scratch:
        return method
    return replace(method, srresnet=_newest_srresnet())


def _newest_srresnet() -> str:
    need("train", "training")
    wait_passively()
    from srgan.training.run.folder import newest_model

    model = newest_model("srresnet")
    if model is None:
        raise OptionError(
            "--srresnet is missing: SRGAN starts from a trained SRResNet, such as --srresnet "
            "srresnet-x4 (shipped); --from-scratch starts without one"
        )
    return str(model)


def _check_ready(config: TrainingConfig) -> None:
    if config.data.data_folder is None:
        raise OptionError("--data-folder is missing: give a folder of training pictures")
    need("train", "training")
    wait_passively()


def _train(config: TrainingConfig, folder: Path | None, resume: bool) -> None:
    _check_ready(config)
    from srgan.training.run.folder import existing_folder, read_config
    from srgan.training.train import train

    if resume:
        check_resumed(read_config(existing_folder(config.name, folder)), config)
    train(config, folder, resume=resume)


@plan.default
@plan.command(name="srresnet")
def plan_srresnet(
    *,
    method: Annotated[SRResNetOptions, MODEL] = SRResNetOptions(),
    data: Annotated[DataOptions, DATA] = DataOptions(),
    schedule: Annotated[ScheduleOptions, SCHEDULE] = ScheduleOptions(),
    optimizer: Annotated[OptimizerOptions, SCHEDULE] = OptimizerOptions(),
    run: Annotated[RunOptions, RUN] = RunOptions(),
    preset: str = FAST,  # noqa: ARG001 (fill_in reads it)
) -> None:
    """What training an SRResNet would take: srgan train plan --data-folder photos/

    Args:
        preset: As in srgan train srresnet; srgan train presets lists them.
    """
    _plan(TrainingConfig(data, schedule, optimizer, run, method))


@plan.command(name="srgan", config=SRGAN_CONFIG)
def plan_srgan(
    *,
    method: Annotated[SRGANOptions, MODEL] = SRGANOptions(),
    data: Annotated[SRGANData, DATA] = SRGANData(),
    schedule: Annotated[SRGANSchedule, SCHEDULE] = SRGANSchedule(),
    optimizer: Annotated[SRGANOptimizer, SCHEDULE] = SRGANOptimizer(),
    run: Annotated[RunOptions, RUN] = RunOptions(),
    preset: str = FAST,  # noqa: ARG001 (fill_in reads it)
) -> None:
    """What training an SRGAN would take: srgan train plan srgan --data-folder photos/

    Args:
        preset: As in srgan train srgan; srgan train presets lists them.
    """
    _plan(TrainingConfig(data, schedule, optimizer, run, _started(method)))


def _plan(config: TrainingConfig) -> None:
    _check_ready(config)
    from srgan.training.plan import make_plan

    print(make_plan(config).text())


@train.command
def plot(
    runs: list[Path], /, *, output: Annotated[Path | None, Parameter(alias="-o")] = None
) -> None:
    """Draw the curves of a run, or of several to compare: srgan train plot runs/srresnet

    Args:
        runs: Run folders.
        output: PNG file to write; by default curves.png in the first run folder.
    """
    from srgan.training.run.plot import plot_runs

    print(plot_runs(runs, output))


@train.command(name="presets")
def list_presets() -> None:
    """List the values that --preset takes, with one line each."""
    for method in METHODS:
        print(f"srgan train {method} --preset")
        found = presets(method)
        width = max(map(len, found))
        for name, purpose in found.items():
            print(f"  {name:<{width}}  {purpose}")


@prepare_app.default
def prepare(
    folder: Path,
    output: Path,
    /,
    *,
    size: int = 480,
    step: int = 240,
    format: PreparedFormat = "png",
    workers: int | None = None,
) -> int:
    """Cut large pictures into sub-images, which training decodes faster.

    Args:
        folder: Pictures, searched recursively.
        output: Folder for the sub-images; subfolders are kept.
        size: Side of the sub-images in pixels; pictures down to 96 pixels stay whole, smaller
            ones are left out.
        step: Pixels from one sub-image to the next.
        format: png writes a file for each; parquet and webdataset write a few large files, which
            copy faster and can be read from object stores.
        workers: Processes. Default: one for each core.
    """
    from srgan.cli.bars import counting
    from srgan.training.data.prepare import prepare

    need("train", "training")
    with counting("pictures") as progress:
        report = prepare(
            folder, output, size=size, step=step, format=format, workers=workers, progress=progress
        )
    for path, reason in report.skipped:
        print(f"{path}: {reason}; left out", file=sys.stderr)
    kept = f", {report.kept} were there" if report.kept else ""
    done = report.pictures - len(report.skipped)
    print(f"{done} of {report.pictures} pictures: {report.written} sub-images written{kept}")
    return 1 if report.skipped else 0
