"""The picture formats srgan reads and writes, and what each of them can hold."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from srgan.pictures.files import PictureError


@dataclass(frozen=True)
class Format:
    """A format srgan writes: the usual suffix first, sides in pixels, libvips' saver."""

    suffixes: tuple[str, ...]
    saver: str
    options: dict[str, Any] = field(default_factory=dict)
    quality: int | None = None  # the default; None where the format loses nothing
    max_side: int | None = None
    max_bits: int = 8
    alpha: bool = True


# Measured on a photograph: PNG at level 3 after "sub" comes within 2 % of level 6's best size in
# half the time; WebP and AVIF encode only after the last row, so they get a fast effort.
FORMATS: dict[str, Format] = {
    "jpeg": Format(
        (".jpg", ".jpeg", ".jpe", ".jfif"), "jpegsave", quality=95, max_side=65_500, alpha=False
    ),
    "png": Format((".png",), "pngsave", {"compression": 3, "filter": "sub"}, max_bits=16),
    "webp": Format((".webp",), "webpsave", {"effort": 2}, quality=90, max_side=16_383),
    "tiff": Format(
        (".tif", ".tiff"),
        "tiffsave",
        {"compression": "lzw", "predictor": "horizontal"},
        max_bits=16,
    ),
    "avif": Format(
        (".avif",),
        "heifsave",
        {"compression": "av1", "effort": 1},
        quality=90,
        max_side=16_384,
        max_bits=12,
    ),
}
_BY_SUFFIX = {suffix: name for name, each in FORMATS.items() for suffix in each.suffixes}

PICTURE_SUFFIXES = frozenset((*_BY_SUFFIX, ".gif", ".bmp", ".heic", ".heif"))
"""The suffixes, in lower case, that a scan of a folder picks up."""


def output_format(path_or_name: Path | str) -> str:
    """The format, a key of FORMATS, that a file's suffix or a name ("jpg", "tiff") stands for.

    Raises PictureError for any that srgan does not write.
    """
    suffix = Path(path_or_name).suffix or f".{path_or_name}"
    found = _BY_SUFFIX.get(suffix.lower())
    if found is None:
        usual = ", ".join(each.suffixes[0] for each in FORMATS.values())
        raise PictureError(
            f"{path_or_name}: srgan writes no such format: use one of {usual}, or --format"
        )
    return found


def check_output(format: str, width: int, height: int, name: str = "the result") -> None:
    """Raise PictureError where `format` cannot hold width x height pixels."""
    limit = FORMATS[format].max_side
    if limit is not None and max(width, height) > limit:
        jpeg_limit = FORMATS["jpeg"].max_side or 0
        instead = "--format png or tiff"
        if format != "jpeg" and max(width, height) <= jpeg_limit:
            instead = "--format jpeg, png or tiff"
        raise PictureError(
            f"{name}: {width:,} x {height:,} pixels, but {format.upper()} holds at most "
            f"{limit:,} a side: use {instead}"
        )
