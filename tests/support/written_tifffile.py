"""All that tifffile writes without further codecs."""

import io
import itertools
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from tests.support.readers import pyvips, rgba
from tests.support.written import ALPHA, CLOSE, GRAY, ICC, LOSSY, RGB, Written, named, one_by_one

TIFF_TYPES = (
    *("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32"),
    *("float16", "float32", "float64", "complex64"),
)
TIFF_KINDS = (
    *("minisblack", "miniswhite", "rgb", "palette", "separated", "ycbcr", "cielab", "icclab"),
    *("itulab", "logluv", "cfa"),
)
_TIFF_LAYOUTS: dict[str, list[Any]] = {
    "compression": [None, "zlib", "lzma"],
    "tile": [None, (16, 16)],
    "planarconfig": ["contig", "separate"],
    "predictor": [None, True],
}
_TIFF_OPTIONS: dict[str, list[Any]] = {
    "byteorder": ["<", ">"],
    "compression": ["deflate"],
    "bigtiff": [True],
    "rowsperstrip": [1, 16, 1000],
    "imagej": [True],
    "ome": [True],
    "resolution": [(300, 300)],
    "metadata": [None],
    "subfiletype": [1],
    "iccprofile": [ICC],
}
_EXTRAS: list[list[str]] = [
    [],
    ["unspecified"],
    ["assocalpha"],
    ["unassalpha"],
    ["unassalpha", "unspecified"],
    ["unspecified", "unassalpha"],
]


def written_by_tifffile(dtype: str, kind: str) -> Iterator[Written]:
    """The files of one number type and photometric interpretation that tifffile writes."""
    layouts = [
        dict(zip(_TIFF_LAYOUTS, values, strict=True))
        for values in itertools.product(*_TIFF_LAYOUTS.values())
    ]
    if dtype not in ("uint8", "uint16") or kind == "separated":  # almost all are refused, or slow
        layouts = layouts[::7]
    cases = [(layout, _EXTRAS[0]) for layout in layouts]
    options = _TIFF_OPTIONS | ({"imagej": []} if kind == "palette" else {})  # it has no palettes
    cases += [(each, _EXTRAS[0]) for each in one_by_one(options)]
    cases += [(layout, extra) for layout in layouts[::5] for extra in _EXTRAS[1:]]
    for each, extra in cases:
        if kind == "miniswhite" and extra == ["assocalpha"]:
            continue  # it has no agreed meaning
        array, pixels = _tiff_pixels(dtype, kind, extra)
        if each.get("planarconfig") == "separate":
            array = np.ascontiguousarray(np.moveaxis(np.atleast_3d(array), -1, 0))
        more: dict[str, Any] = {"extrasamples": extra} if extra else {}
        if kind == "palette":
            more["colormap"] = np.stack([np.arange(255, -1, -1, dtype=np.uint16) * 257] * 3)
        buffer = io.BytesIO()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tifffile.imwrite(buffer, array, photometric=kind, **each, **more)
        except Exception:
            continue  # tifffile does not write this
        chosen = {name: value for name, value in each.items() if value is not None}
        name = named("tifffile", dtype, kind, *extra, chosen)
        close = LOSSY if kind == "separated" else CLOSE
        yield Written(name, buffer.getvalue(), pixels, close)


_MONO = ("minisblack", "miniswhite", "palette", "cfa")


def _tiff_pixels(dtype: str, kind: str, extra: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The array to write, and the picture that it shows."""
    shown = rgba(GRAY[..., None] if kind in _MONO else RGB)
    if kind == "cielab" and dtype.startswith("float"):  # in CIELAB's own units
        return pyvips.Image.new_from_array(RGB).colourspace("lab").numpy().astype(dtype), shown
    array = _tiff_colours(kind, wide=dtype not in ("bool", "uint8", "int8"))
    top = 1 << 8 * array.dtype.itemsize
    for name in extra:
        band = (ALPHA if name != "unspecified" else ALPHA[::-1]).astype(array.dtype) * (top // 255)
        if name == "assocalpha":
            scale = ALPHA / 255 if array.ndim == 2 else ALPHA[..., None] / 255
            array = (array * scale).astype(array.dtype)
        if name != "unspecified":
            shown[..., 3] = ALPHA
        array = np.dstack([array, band])
    if dtype == "bool":
        shown[..., :3] = np.where(GRAY[..., None] > 127, 255, 0)
        return array > 127, shown
    with np.errstate(over="ignore"):
        return array.astype(dtype), shown


def _tiff_colours(kind: str, wide: bool) -> np.ndarray:
    """The photograph as samples of a photometric interpretation, 8 or 16 bits."""
    if kind == "ycbcr":
        return np.asarray(Image.fromarray(RGB).convert("YCbCr")) * (
            np.uint16(257) if wide else np.uint8(1)
        )
    if kind in ("cielab", "icclab", "itulab", "logluv"):
        lab = pyvips.Image.new_from_array(RGB).colourspace("lab").numpy()
        scale = np.array([65535 / 100, 256, 256] if wide else [2.55, 1, 1])
        return (lab * scale).round().astype(np.int32).astype(np.uint16 if wide else np.uint8)
    array = GRAY if kind in _MONO else RGB
    if kind == "separated":
        array = np.dstack([255 - RGB, np.zeros_like(GRAY)])
    if kind in ("miniswhite", "palette"):
        array = 255 - array
    return array.astype(np.uint16) * 257 if wide and kind != "palette" else array
