"""The picture formats: how to recognise the ones srgan reads, and the table of the ones it writes.

A row in `FORMATS` is all that a new output format needs. The command, the service and the cluster
take their formats from here.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from srgan.pictures.files import PictureError

Kind = Literal["EXIF", "XMP", "IPTC", "ICC"]  # of metadata


@dataclass(frozen=True)
class Format:
    """An output format: how libvips writes it, and what it can hold.

    Attributes:
        suffixes: of its files, in lower case; the usual one first.
        saver: name of libvips' saver.
        options: arguments of the saver.
        options_16_bit: further arguments for pictures with 16 bits per channel.
        options_huge: further arguments for pictures of more than 3.5 GB before compression.
        quality: default quality, 1 to 100; None for a lossless format.
        max_side: longest side in pixels; None for no limit.
        max_bits: bits per channel that it can hold.
        alpha: whether it holds transparency. Otherwise pictures are put on white.
        lost: kinds of metadata that it cannot hold. A note tells the user if a picture has them.
        added: kinds that libvips does not write, or not whole, so that srgan adds them.
    """

    suffixes: tuple[str, ...]
    saver: str
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    options_16_bit: dict[str, Any] = field(default_factory=dict[str, Any])
    options_huge: dict[str, Any] = field(default_factory=dict[str, Any])
    quality: int | None = None
    max_side: int | None = None
    max_bits: int = 8
    alpha: bool = True
    lost: tuple[Kind, ...] = ()
    added: tuple[Kind, ...] = ()

    def takes(self, kind: Kind) -> bool:
        """Whether libvips writes this kind of metadata into it."""
        return kind not in (*self.lost, *self.added)


# Measured on a photograph: PNG at level 3 after "sub" is within 2 % of the best size of level 6,
# in half the time. WebP and AVIF start to encode only after the last row, so their effort is low.
FORMATS: dict[str, Format] = {
    "jpeg": Format(
        (".jpg", ".jpeg", ".jpe", ".jfif"), "jpegsave", quality=95, max_side=65_500, alpha=False
    ),
    "png": Format(
        (".png",), "pngsave", {"compression": 3, "filter": "sub"}, max_bits=16, lost=("IPTC",)
    ),
    "webp": Format(
        (".webp",),
        "webpsave",
        {"effort": 2, "exact": True},
        quality=90,
        max_side=16_383,
        lost=("IPTC",),
    ),
    "tiff": Format(
        (".tif", ".tiff"),
        "tiffsave",
        {"compression": "lzw", "predictor": "horizontal"},
        options_huge={"bigtiff": True},  # a classic TIFF ends at 4 GiB
        max_bits=16,
        added=("EXIF", "IPTC"),
    ),
    "avif": Format(
        (".avif",),
        "heifsave",
        {"compression": "av1", "effort": 1},
        options_16_bit={"bitdepth": 12},
        quality=90,
        max_side=16_384,
        max_bits=12,
        lost=("IPTC",),
    ),
}

# Written for animations alone: a still picture would lose its colours.
_GIF = Format((".gif",), "gifsave", max_side=65_535, lost=("EXIF", "XMP", "IPTC", "ICC"))
WRITTEN_FORMATS = FORMATS | {"gif": _GIF}
"""The formats of results: FORMATS, and GIF for animations."""

LOSSY_FORMATS = tuple(name for name, each in FORMATS.items() if each.quality is not None)
"""The output formats that take a quality."""

# The first bytes of every format that srgan reads, as regular expressions, tried in this order.
# libvips' loader is named after the format, with exceptions in decode.py.
_SIGNATURES = {
    "jpeg": rb"\xff\xd8\xff",
    "png": rb"\x89PNG\r\n\x1a\n",
    "webp": rb"RIFF....WEBP",
    "tiff": rb"II[*+]\0|MM\0[*+]",
    "avif": rb"....ftyp.*(avif|avis)",
    "gif": rb"GIF8",
    "bmp": rb"BM",
    "heic": rb"....ftyp.*(heic|heix|hevc|hevx|mif1)",
    "jxl": rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n",
}
_INPUT_SUFFIXES = {"gif": (".gif",), "bmp": (".bmp",), "heic": (".heic", ".heif"), "jxl": (".jxl",)}

INPUT_FORMATS = tuple(name for name in _SIGNATURES if name not in ("heic", "jxl"))
"""The formats that srgan reads. HEIC and JPEG XL need a plugin of Pillow."""

_BY_SUFFIX = {suffix: name for name, each in FORMATS.items() for suffix in each.suffixes}

PICTURE_SUFFIXES = frozenset(
    suffix
    for name in _SIGNATURES
    for suffix in (
        *_INPUT_SUFFIXES.get(name, ()),
        *(FORMATS[name].suffixes if name in FORMATS else ()),
    )
)
"""The suffixes, in lower case, of the files that a search of a folder finds."""


def recognise(head: bytes) -> str | None:
    """The format of a picture file by its first 64 bytes; None if srgan does not read it."""
    if head[4:8] == b"ftyp":  # the brands of AVIF and HEIC end with their box
        head = head[: int.from_bytes(head[:4], "big")]
    for name, signature in _SIGNATURES.items():
        if re.match(signature, head, re.DOTALL):
            return name
    return None


def output_format(path_or_name: Path | str, *, animated: bool = False) -> str:
    """The output format, a key of FORMATS, of a file's suffix or of a name such as "jpg" or "tiff".

    Args:
        animated: it is, or may be, an animation's result: GIF is a format, too.

    Raises:
        PictureError: srgan cannot write this format.
    """
    suffix = Path(path_or_name).suffix or f".{path_or_name}"
    found = _BY_SUFFIX.get(suffix.lower())
    if animated and suffix.lower() == ".gif":
        return "gif"
    if found is None:
        suffixes = [each.suffixes[0] for each in FORMATS.values()]
        known = ", ".join(suffixes if Path(path_or_name).suffix else FORMATS)
        still = "a still picture in " if suffix.lower() == ".gif" else ""
        raise PictureError(
            f"{path_or_name}: srgan cannot write {still}this format: use one of {known}"
        )
    return found


def formats_that_hold(side: int) -> str:
    """The output formats that can hold a side of so many pixels: "jpeg, png or tiff"."""
    *others, last = [
        name for name, each in FORMATS.items() if each.max_side is None or side <= each.max_side
    ]
    return f"{', '.join(others)} or {last}" if others else last


def check_output(format: str, width: int, height: int, name: str = "the result") -> None:
    """Check that a picture of width x height pixels fits into a format.

    Args:
        name: the picture's, for the error.

    Raises:
        PictureError: it does not fit.
    """
    limit = WRITTEN_FORMATS[format].max_side
    if limit is not None and max(width, height) > limit:
        raise PictureError(
            f"{name}: {width:,} x {height:,} pixels, but {format.upper()} holds at most "
            f"{limit:,} a side: use --format {formats_that_hold(max(width, height))}"
        )
