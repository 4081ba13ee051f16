"""The presets of `blurry`: TOML files of ranges and probabilities."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

from srgan.errors import OptionError

BICUBIC = "bicubic"
FOLDER = Path(__file__).parent / "presets"
KINDS = ("isotropic", "anisotropic", "disc", "motion")

Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """The ranges and probabilities of one preset.

    Values are drawn uniformly between both ends of a range, noise log-uniformly. Lengths are in
    LR pixels, noise in 8-bit levels. A chance is a probability, 0 to 1.

    Attributes:
        clean: chance that a picture gets the bicubic reduction and nothing else.
        blur: chance that HR is blurred, as by a lens or a shaking hand.
        kinds: shares of the kinds of blur, in the order of KINDS.
        sigma: standard deviation of the Gaussian along its long axis.
        stretch: length of the anisotropic Gaussian divided by its width.
        radius: of the disc of a lens out of focus.
        length: of a straight motion.
        resize: chance of an intermediate size.
        ratio: the intermediate size as a multiple of LR's. Above 1 the picture is reduced in two
            steps, below 1 it is reduced too far and enlarged again.
        noise: chance of noise.
        gaussian: standard deviation of the noise that does not depend on the picture.
        poisson: standard deviation of the photons' noise at white. Its variance is proportional
            to the value.
        gray: chance that the noise is the same in all channels.
        jpeg: chance of JPEG compression.
        quality: of JPEG, 1 to 100, as libjpeg counts it.
        full_chroma: chance that JPEG keeps colours at full size (4:4:4); otherwise 4:2:0.
        second: chance that blur, noise and JPEG also happen at the intermediate size.
        softness: sigma of the Gaussian between both JPEGs.

    Raises:
        OptionError: a value is outside its range.
    """

    clean: float
    blur: float
    kinds: tuple[float, float, float, float]
    sigma: Range
    stretch: Range
    radius: Range
    length: Range
    resize: float
    ratio: Range
    noise: float
    gaussian: Range
    poisson: Range
    gray: float
    jpeg: float
    quality: Range
    full_chroma: float
    second: float
    softness: Range

    def __post_init__(self) -> None:
        for field in fields(self):
            value: Any = getattr(self, field.name)
            if field.type is float:
                if not isinstance(value, (float, int)) or not 0 <= value <= 1:
                    raise OptionError(f"{field.name} must be a probability, 0 to 1, not {value}")
                continue
            numbers = cast("tuple[float, ...]", value if isinstance(value, tuple) else ())
            if field.name == "kinds":
                if len(numbers) != len(KINDS) or min(numbers) < 0 or sum(numbers) <= 0:
                    raise OptionError(f"kinds must be {len(KINDS)} shares, 0 or more: {KINDS}")
            elif len(numbers) != 2 or not 0 < numbers[0] <= numbers[1]:
                raise OptionError(f"{field.name} must be [from, to], above 0, not {value}")
        if self.quality[1] > 100:
            raise OptionError(f"quality must be at most 100, not {self.quality[1]}")


def presets() -> dict[str, Path]:
    """The paths of the shipped presets by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.toml"))}


def read_ranges(preset: str) -> Ranges:
    """Read a shipped preset by its name, or a TOML file by its path.

    Raises:
        OptionError: there is no such preset or file, or its content is wrong.
    """
    path = presets().get(preset, Path(preset))
    if not path.is_file():
        known = ", ".join((BICUBIC, *presets()))
        raise OptionError(f"{preset}: no such degradation; use one of {known}, or a TOML file")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return Ranges(**_plain(table))
    except (OSError, ValueError, TypeError) as error:
        raise OptionError(f"{path}: {error}") from error


def _plain(table: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `Ranges` from a TOML table, with tuples for lists."""
    names = {field.name for field in fields(Ranges)}
    for problem, found in (("unknown", set(table) - names), ("missing", names - set(table))):
        if found:
            raise OptionError(f"{problem}: {', '.join(sorted(found))}")
    return {
        name: tuple(cast("list[float]", value)) if isinstance(value, list) else value
        for name, value in table.items()
    }
