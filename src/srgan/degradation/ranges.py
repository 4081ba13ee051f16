"""What `blurry` may do to a picture: ranges and probabilities, each preset a TOML file."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from srgan.errors import OptionError

BICUBIC = "bicubic"
FOLDER = Path(__file__).parent / "presets"
KINDS = ("isotropic", "anisotropic", "disc", "motion")

Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """Values are uniform between both ends, noise log-uniform. Lengths are in LR pixels, noise in
    8-bit levels, chances are probabilities.

    Attributes:
        clean: chance that nothing happens but the bicubic reduction.
        blur: chance that HR is blurred, as optics and hands do it.
        kinds: shares of the kinds of blur, see KINDS.
        sigma: of the Gaussian, along its long axis.
        stretch: how many times longer the anisotropic Gaussian is than wide.
        radius: of the disc of a lens out of focus.
        length: of a straight motion.
        resize: chance of a size between HR's and LR's.
        ratio: that size, as a multiple of LR's: above 1 a reduction in two steps, below 1 a
            picture that was enlarged.
        noise: chance of noise.
        gaussian: its standard deviation where it does not depend on the picture.
        poisson: that of the photons' part, at white; its variance is proportional to the value.
        gray: chance that noise is the same in all channels.
        jpeg: chance of JPEG compression.
        quality: of JPEG, as libjpeg counts it.
        full_chroma: chance that JPEG keeps colours at full size (4:4:4, else 4:2:0).
        second: chance that blur, noise and JPEG come already at the size in between.
        softness: sigma of the Gaussian between both JPEGs.
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
            value = getattr(self, field.name)
            if field.name == "kinds":
                if len(value) != len(KINDS) or min(value) < 0 or sum(value) <= 0:
                    raise OptionError(f"kinds must be {len(KINDS)} shares, 0 or more: {KINDS}")
            elif isinstance(value, tuple):
                if len(value) != 2 or not 0 < value[0] <= value[1]:
                    raise OptionError(f"{field.name} must be [from, to], above 0, not {value}")
            elif not 0 <= value <= 1:
                raise OptionError(f"{field.name} must be a probability, not {value}")
        if self.quality[1] > 100:
            raise OptionError(f"quality must be at most 100, not {self.quality[1]}")


def presets() -> dict[str, Path]:
    """The shipped presets by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.toml"))}


def read_ranges(preset: str) -> Ranges:
    """A shipped preset by name, or a TOML file by path.

    Raises:
        OptionError: there is none, or it is not as it should be.
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
    names = {field.name for field in fields(Ranges)}
    for problem, found in (("unknown", set(table) - names), ("missing", names - set(table))):
        if found:
            raise OptionError(f"{problem}: {', '.join(sorted(found))}")
    return {name: tuple(v) if isinstance(v, list) else v for name, v in table.items()}
