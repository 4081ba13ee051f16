"""A run's whole configuration: from the command line, a preset, or the run that is resumed.

One flat TOML table holds all options of a run by their names, in a preset as in the `config.toml`
of a run folder.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

from srgan.errors import OptionError
from srgan.training.options import (
    DataOptions,
    OptimizerOptions,
    RunOptions,
    ScheduleOptions,
    SRGANOptions,
    SRResNetOptions,
)

PRESETS = Path(__file__).parent / "presets"
FAST = "fast"  # the defaults of the options: it has no file
METHODS = ("srresnet", "srgan")
# An option of each method that the other lacks; a run always has it.
OWN = {"srresnet": "blocks", "srgan": "features"}
COMMAND_LINE = ("preset", "resume")  # no file of options has them
# A resumed run cannot change these: they decide its networks and its samples.
FIXED = (
    "blocks",
    "channels",
    "scale",
    "discriminator",
    "layer",  # the discriminator has a head for each
    "seed",
    "crop",
    "candidates",
    "flat_share",
    "degradation",
    "gray",
    "batch_size",
    "validation_pictures",
    "optimizer",
)

STARTED_FROM = ("init", "srresnet", "from_scratch")  # a resumed run starts from its state


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides the results of a run."""

    data: DataOptions
    schedule: ScheduleOptions
    optimizer: OptimizerOptions
    run: RunOptions
    method: SRResNetOptions | SRGANOptions

    def __post_init__(self) -> None:
        method = self.method
        if isinstance(method, SRGANOptions) and method.from_scratch and self.optimizer.freeze_bn:
            raise OptionError("--from-scratch has no BN statistics to keep: add --no-freeze-bn")

    @property
    def name(self) -> str:
        """The method: srresnet or srgan."""
        return "srresnet" if isinstance(self.method, SRResNetOptions) else "srgan"

    def table(self) -> dict[str, Any]:
        """All options by name, as TOML values; options that are None are left out."""
        options: dict[str, Any] = {}
        for part in (self.method, self.data, self.schedule, self.optimizer, self.run):
            for field in fields(part):
                value = getattr(part, field.name)
                if value is not None:
                    options[field.name] = _plain(value)
        return options


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in cast(tuple[Any, ...], value)]
    return value


def presets(method: str) -> dict[str, str]:
    """The names of a method's presets, and what each is for: the first line of its file."""
    found = {FAST: "Our method, the default; --help-all shows its values."}
    for path in sorted(PRESETS.glob(f"{method}-*.toml")):
        first, *_ = path.read_text(encoding="utf-8").splitlines()
        found[path.stem.removeprefix(f"{method}-")] = first.removeprefix("# ")
    return found


def preset_file(method: str, preset: str) -> Path | None:
    """The TOML file of a preset; None for "fast", which is the defaults.

    Raises:
        OptionError: there is no such preset and no such file.
    """
    if preset == FAST:
        return None
    for path in (PRESETS / f"{method}-{preset}.toml", Path(preset)):
        if path.is_file():
            return path
    known = ", ".join(presets(method))
    raise OptionError(f"--preset must be a TOML file or one of {known}; not {preset}")


def parse_config(path: Path) -> dict[str, Any]:
    """The options in a TOML file, whose paths need not be UTF-8.

    Raises:
        OptionError: it cannot be read, or it holds what only the command line can say.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"not TOML: {error}"
        raise OptionError(f"{path}: cannot be read ({reason}): correct the file") from error
    for name in COMMAND_LINE:
        if name in table:
            raise OptionError(f"{path}: {name} is for the command line only: remove it")
    return table


def check_method(path: Path, table: Mapping[str, Any], method: str) -> None:
    """Check that the options of a run are of this method. Raises OptionError."""
    for other, option in OWN.items():
        if other != method and option in table:
            raise OptionError(
                f"{path.parent}: holds a run of {other}: "
                f"resume it with srgan train {other} --resume"
            )


def check_resumed(saved: Mapping[str, Any], config: TrainingConfig) -> None:
    """Check that a resumed run keeps its networks and its data.

    Args:
        saved: the options that the run was started with.

    Raises:
        OptionError: an option of `FIXED` or of `STARTED_FROM` differs.
    """
    now = config.table()
    for name in (*FIXED, *STARTED_FROM):
        before = saved.get(name)
        if before != now.get(name) and (name in saved or name in STARTED_FROM):
            option = f"--{name.replace('_', '-')}"
            raise OptionError(
                f"{option} is {before} in this run and cannot change: "
                "leave it out or start a new run"
            )
