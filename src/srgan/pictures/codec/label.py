"""ICC profiles of colour spaces that a file states by numbers (ITU-T H.273, gAMA and cHRM)."""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_D65 = (0.3127, 0.329)
_SRGB = ((0.64, 0.33), (0.3, 0.6), (0.15, 0.06))
# Red, green, blue by H.273's ColourPrimaries. 1 and its kin, or unknown ones, need no label.
_PRIMARIES = {
    4: ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08)),
    9: ((0.708, 0.292), (0.17, 0.797), (0.131, 0.046)),
    11: ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06)),
    12: ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06)),
}
_WHITES = {4: (0.31, 0.316), 11: (0.314, 0.351)}
_GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0}
_HDR = {16: "PQ", 18: "HLG"}
_DIFFUSE_WHITE = 203.0  # cd/m2 (ITU-R BT.2408): the profile's white
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_LARGEST = 32_767  # that a profile's fixed-point numbers hold
_D50_XYZ = np.array([0.9642, 1.0, 0.8249])


@dataclass(frozen=True)
class ColourLabel:
    """A colour space.

    Attributes:
        primaries: chromaticities (x, y) of red, green and blue.
        white: chromaticity of white.
        gamma: exponent of the decoding curve; None for sRGB's, or for `hdr`.
        hdr: "PQ", "HLG" or None.
        cicp: H.273's code points for primaries and transfer, if the file states them.
    """

    primaries: tuple[tuple[float, float], ...] = _SRGB
    white: tuple[float, float] = _D65
    gamma: float | None = None
    hdr: str | None = None
    cicp: tuple[int, int] | None = field(default=None, compare=False)


def label_of_cicp(primaries: int, transfer: int) -> ColourLabel | None:
    """The label for H.273's code points; None if it is sRGB, or unknown."""
    label = ColourLabel(
        _PRIMARIES.get(primaries, _SRGB),
        _WHITES.get(primaries, _D65),
        _GAMMAS.get(transfer),
        _HDR.get(transfer),
        (primaries, transfer),
    )
    return None if label == ColourLabel() else label


def label_of_chunks(chunks: Mapping[bytes, bytes]) -> ColourLabel | None:
    """The label of a PNG's chunks, by their order of precedence; None if it is sRGB."""
    cicp, gamma, places = (chunks.get(name, b"") for name in (b"cICP", b"gAMA", b"cHRM"))
    if len(cicp) == 4:
        return label_of_cicp(cicp[0], cicp[1])
    if b"sRGB" in chunks:
        return None
    white, primaries, exponent = _D65, _SRGB, None
    if len(places) == 32:
        x = [value / 100_000 for value in struct.unpack(">8I", places)]
        points = list(zip(x[::2], x[1::2], strict=True))
        usual = np.abs(np.array(points) - [_D65, *_SRGB]).max() < 0.002
        if not usual and min(x[1::2]) > 0 and max(x) < 1 and _span_colours(points):
            white, primaries = points[0], tuple(points[1:])
    if len(gamma) == 4 and (stated := int.from_bytes(gamma, "big")) > 0:
        exponent = 100_000 / stated
        if abs(stated - 45455) < 500 or exponent >= _LARGEST:
            exponent = None
    label = ColourLabel(primaries, white, exponent)
    return None if label == ColourLabel() else label


def _span_colours(points: list[tuple[float, float]]) -> bool:
    """Whether chromaticities of white, red, green and blue give a profile; no line of them does."""
    with np.errstate(all="ignore"):
        try:
            found = _matrix(ColourLabel(tuple(points[1:]), points[0]))
        except np.linalg.LinAlgError:
            return False
        return all(np.abs(each).max() < _LARGEST for each in found)


def icc_profile(label: ColourLabel) -> bytes:
    """A profile (ICC.1:2010, version 4.3) of three primaries and a curve."""
    colours, adaptation = _matrix(label)
    curve = _curve(label)
    text = f"srgan: {label.hdr or 'RGB'}".encode("utf-16-be")
    words = b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(text), 28) + text
    tags: dict[bytes, bytes] = {b"desc": words, b"cprt": words, b"wtpt": _xyz(_D50_XYZ)}
    tags[b"chad"] = b"sf32" + bytes(4) + _fixed(adaptation.ravel())
    tags |= {name + b"XYZ": _xyz(colours[:, i]) for i, name in enumerate((b"r", b"g", b"b"))}
    tags |= {name + b"TRC": curve for name in (b"r", b"g", b"b")}
    table, data = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI", start + len(data), bytes(4), 0x04300000) + b"mntrRGB XYZ "
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _fixed(_D50_XYZ)
    return head + bytes(128 - len(head)) + table + data


def _matrix(label: ColourLabel) -> tuple[np.ndarray, np.ndarray]:
    """XYZ of red, green and blue, adapted to D50 by Bradford, and the matrix that adapts."""
    xyz = np.array([[x / y, 1, (1 - x - y) / y] for x, y in (*label.primaries, label.white)]).T
    white = xyz[:, 3]
    colours = xyz[:, :3] * np.linalg.solve(xyz[:, :3], white)
    gain = np.diag((_BRADFORD @ _D50_XYZ) / (_BRADFORD @ white))
    adaptation = np.linalg.solve(_BRADFORD, gain @ _BRADFORD)
    return adaptation @ colours, adaptation


def _curve(label: ColourLabel) -> bytes:
    if label.hdr is None:
        if label.gamma is not None:
            return b"para" + bytes(8) + _fixed([label.gamma])
        values = [2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045]
        return b"para" + bytes(4) + struct.pack(">HH", 3, 0) + _fixed(values)
    decode: Callable[[Any], Any] = {"PQ": _pq, "HLG": _hlg}[label.hdr]
    light = (decode(np.linspace(0, 1, 1024)) / _DIFFUSE_WHITE).clip(0, 1)
    return b"curv" + bytes(4) + struct.pack(">I1024H", 1024, *np.rint(light * 65535).astype(int))


def _pq(signal: np.ndarray) -> np.ndarray:
    """cd/m2 of a PQ signal (SMPTE ST 2084, equation 4.1)."""
    power = signal ** (1 / 78.84375)
    return 10_000 * (np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (
        1 / 0.1593017578125
    )


def _hlg(signal: np.ndarray) -> np.ndarray:
    """cd/m2 of a gray HLG signal on a display of 1,000 cd/m2 (ITU-R BT.2100, table 5)."""
    high = (np.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12
    return 1000 * np.where(signal <= 0.5, signal**2 / 3, high) ** 1.2


def _fixed(values: Any) -> bytes:
    return b"".join(struct.pack(">i", round(float(value) * 65536)) for value in values)


def _xyz(values: np.ndarray) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(values)
