"""All that libvips writes in the formats that srgan reads."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from tests.support.readers import pyvips, rgba
from tests.support.written import ALPHA, CLOSE, GRAY, LOSSY, RGB, RGBA, Written, named, one_by_one

_VIPS_COARSE = {"bitdepth", "palette", "colours", "squash"}  # options that change the pixels
VIPS_SAVERS = ("jpegsave", "pngsave", "webpsave", "tiffsave", "heifsave", "gifsave")
_VIPS_NUMBERS = {
    "Q": [1, 50, 100],
    "bitdepth": [1, 2, 4, 8, 10, 12, 16],
    "colours": [2, 16],
    "compression": [0, 9],
    "effort": [0, 9],
    "quant_table": [1, 3, 8],
    "restart_interval": [1],
    "alpha_q": [0, 50],
    "tile_width": [16],
    "tile_height": [16],
    "level": [1],
    "passes": [3],
    "target_size": [2000],
    "dither": [0.0, 1.0],
    "filter": ["none", "paeth"],
    "keep": ["none"],
}


def _vips_images() -> dict[str, Any]:
    gray = pyvips.Image.new_from_array(GRAY).copy(interpretation="b-w")
    rgb = pyvips.Image.new_from_array(RGB).copy(interpretation="srgb")
    alpha = pyvips.Image.new_from_array(ALPHA)

    def deep(image: Any, space: str) -> Any:
        return (image * 257).cast("ushort").copy(interpretation=space)

    images = {
        "b-w": gray,
        "b-w alpha": gray.bandjoin(alpha),
        "srgb": rgb,
        "srgb alpha": rgb.bandjoin(alpha),
        "grey16": deep(gray, "grey16"),
        "grey16 alpha": deep(gray.bandjoin(alpha), "grey16"),
        "rgb16": deep(rgb, "rgb16"),
        "rgb16 alpha": deep(rgb.bandjoin(alpha), "rgb16"),
    }
    spaces = ("cmyk", "lab", "labs", "labq", "lch", "xyz", "yxy", "scrgb", "hsv", "cmc", "oklab")
    images |= {space: rgb.colourspace(space) for space in spaces}
    types = ("short", "uint", "int", "float", "double", "complex", "dpcomplex")
    return images | {f"srgb {kind}": rgb.cast(kind) for kind in types}


VIPS_IMAGES = tuple(_vips_images())


def _vips_options(saver: str) -> dict[str, list[Any]]:
    """Each optional argument of a saver with values of its type."""
    found: dict[str, list[Any]] = {}
    details = pyvips.Introspect.get(f"{saver}_buffer")
    for name in details.optional_input:
        kind = details.details[name]["type"]
        if kind == pyvips.GValue.gbool_type:
            found[name] = [True]
        elif pyvips.gobject_lib.g_type_fundamental(kind) == pyvips.GValue.genum_type:
            found[name] = list(pyvips.values_for_enum(kind))
        elif name in _VIPS_NUMBERS:
            found[name] = _VIPS_NUMBERS[name]
    return found


def written_by_vips(saver: str, kind: str) -> Iterator[Written]:
    """The files that one saver of libvips writes of one kind of image."""
    image = _vips_images()[kind]
    mono = "b-w" in kind or "grey16" in kind
    pixels = rgba(np.dstack([GRAY, ALPHA]) if mono else RGBA)
    if "alpha" not in kind:
        pixels[..., 3] = 255
    if saver == "jpegsave" and "alpha" in kind:  # on black
        pixels[..., :3] *= pixels[..., 3:] / 255
        pixels[..., 3] = 255
    options: Iterable[dict[str, Any]] = [{}]
    if kind.removesuffix(" alpha") in ("b-w", "srgb", "grey16", "rgb16"):
        options = one_by_one(_vips_options(saver))
    if saver == "tiffsave":
        if kind == "hsv":
            return  # libvips writes it as if it were RGB
        options = itertools.chain(options, _vips_tiffs())
    for each in options:
        try:
            av1 = {"compression": "av1", "effort": 0} if saver == "heifsave" else {}
            file = getattr(image, f"{saver}_buffer")(**av1 | each)
        except pyvips.Error:
            continue  # libvips does not write this
        exact = saver in ("pngsave", "tiffsave") and not set(each) & _VIPS_COARSE
        lossy = not exact or kind == "cmyk" or each.get("compression") in ("jpeg", "webp", "jp2k")
        yield Written(named(saver, kind, each), file, pixels, LOSSY if lossy else CLOSE)


def _vips_tiffs() -> Iterator[dict[str, Any]]:
    for compression in ("none", "lzw", "deflate", "packbits", "jpeg", "webp", "zstd", "ccittfax4"):
        yield {"compression": compression, "tile": True, "tile_width": 16, "tile_height": 16}
        for predictor in ("none", "horizontal"):
            yield {"compression": compression, "predictor": predictor}
