"""Figures by name, ready to be applied: what `srgan evaluate --metrics` chooses from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from srgan.errors import OptionError, UserError
from srgan.evaluation import metrics
from srgan.pictures.pixels import rgb_uint8

# (SR, HR, LR, scale), uint8 RGB, HR of a gray file with one band, to a figure such as PSNR.
Measure = Callable[[np.ndarray, np.ndarray, np.ndarray, int], float]

DEFAULT = ("psnr_y", "ssim_y", "lpips_alex")
PYIQA = "pyiqa:"  # and the name of one of its metrics

_NUMPY: dict[str, Measure] = {
    "psnr_y": lambda sr, hr, _, scale: metrics.psnr_y(sr, hr, scale),
    "ssim_y": lambda sr, hr, _, scale: metrics.ssim_y(sr, hr, scale),
    "psnr_rgb": lambda sr, hr, _, scale: metrics.psnr_rgb(sr, rgb_uint8(hr), scale),
    "ssim_rgb": lambda sr, hr, _, scale: metrics.ssim_rgb(sr, rgb_uint8(hr), scale),
    "colour_drift": lambda sr, hr, _, scale: metrics.colour_drift(sr, rgb_uint8(hr), scale),
    "consistency": lambda sr, _, lr, __: metrics.consistency(sr, lr),
}


def make_measures(
    names: Sequence[str], lpips_weights: Path | None
) -> tuple[dict[str, Measure], dict[str, str]]:
    """The measures of these names, and for those that cannot be had here, what to do.

    Args:
        names: of `FIGURES`, or "pyiqa:NAME"; "all" is all of the former.
        lpips_weights: folder with the weights of LPIPS; None downloads the networks'.

    Raises:
        OptionError: an unknown name.
    """
    known = [figure.name for figure in FIGURES]
    if "all" in names:
        names = [*known, *(name for name in names if name.startswith(PYIQA))]
    measures: dict[str, Measure] = {}
    unavailable: dict[str, str] = {}
    for name in dict.fromkeys(names):
        try:
            if name in _NUMPY:
                measures[name] = _NUMPY[name]
            elif name in known:
                measures[name] = _lpips(name.removeprefix("lpips_"), lpips_weights)
            elif name.startswith(PYIQA):
                measures[name] = _pyiqa(name.removeprefix(PYIQA))
            else:
                raise OptionError(f"--metrics must be of {', '.join(known)}, or all: not {name}")
        except UnavailableError as error:
            unavailable[name] = str(error)
    return measures, unavailable


class UnavailableError(UserError):
    """A figure that cannot be computed here, and what to do about it."""


def _lpips(net: str, weights: Path | None) -> Measure:
    from srgan.evaluation.lpips import LPIPS, LPIPSError

    try:
        distance = LPIPS("vgg" if net == "vgg" else "alex", weights)
    except LPIPSError as error:
        raise UnavailableError(str(error)) from error
    return lambda sr, hr, _, __: distance(sr, rgb_uint8(hr))


def _pyiqa(name: str) -> Measure:
    """A metric of pyiqa (https://github.com/chaofengc/IQA-PyTorch), with or without reference."""
    try:
        import pyiqa  # pyright: ignore[reportMissingImports]
        import torch
    except ImportError as error:
        raise UnavailableError("pip install pyiqa") from error
    try:
        metric = pyiqa.create_metric(name, device="cpu")
    except Exception as error:  # an unknown name, or weights that cannot be downloaded
        raise UnavailableError(f"pyiqa: {' '.join(str(error).split())}") from error

    def measure(sr: np.ndarray, hr: np.ndarray, _: np.ndarray, __: int) -> float:
        pictures = [torch.from_numpy(x).permute(2, 0, 1)[None] / 255 for x in (sr, rgb_uint8(hr))]
        with torch.inference_mode():
            return float(metric(*pictures[: 2 if metric.metric_mode == "FR" else 1]))

    return measure


@dataclass(frozen=True)
class Figure:
    """What a table says about a figure.

    Attributes:
        name: as in `srgan evaluate --metrics` and in the files it writes.
        title: heading of a column.
        protocol: how it is computed, in one line.
        decimals: shown.
        higher_is_better: or lower.
    """

    name: str
    title: str
    protocol: str
    decimals: int
    higher_is_better: bool


FIGURES = (
    Figure(
        "psnr_y",
        "PSNR-Y",
        "PSNR in dB: Y of BT.601, 8-bit pictures, `scale` pixels cropped (Ledig et al. 2017)",
        2,
        True,
    ),
    Figure(
        "ssim_y",
        "SSIM-Y",
        "SSIM: Y of BT.601, 8-bit pictures, `scale` pixels cropped, Gaussian 11x11 of sigma 1.5, "
        "valid region (Wang et al. 2004)",
        4,
        True,
    ),
    Figure("psnr_rgb", "PSNR-RGB", "PSNR in dB: RGB, 8 bit, `scale` pixels cropped", 2, True),
    Figure(
        "ssim_rgb",
        "SSIM-RGB",
        "SSIM: mean over R, G and B, 8 bit, `scale` pixels cropped, Gaussian 11x11 of sigma 1.5, "
        "valid region (Wang et al. 2004)",
        4,
        True,
    ),
    Figure(
        "lpips_alex",
        "LPIPS-Alex",
        "LPIPS 0.1, AlexNet: RGB, 8 bit, nothing cropped (Zhang et al. 2018)",
        4,
        False,
    ),
    Figure(
        "lpips_vgg",
        "LPIPS-VGG",
        "LPIPS 0.1, VGG16: RGB, 8 bit, nothing cropped (Zhang et al. 2018)",
        4,
        False,
    ),
    Figure(
        "colour_drift",
        "Colour drift",
        "Mean CIELAB difference (Delta E 1976, D65) of SR and HR, both reduced by `scale` with "
        "bicubic",
        2,
        False,
    ),
    Figure(
        "consistency",
        "Consistency",
        "PSNR in dB between SR reduced with bicubic and LR: RGB, 8 bit, nothing cropped",
        2,
        True,
    ),
)
PROTOCOLS = {figure.name: figure.protocol for figure in FIGURES}
