"""The metrics of `srgan evaluate --metrics`: one table, a row for each.

A new metric is one more row of `METRICS`. Its function may stand in `srgan.evaluation.metrics`
(numpy alone) or in a module of its own (as LPIPS, which needs torch and weights).
"""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from srgan.errors import MissingExtraError, OptionError, UserError, need, reason_of
from srgan.evaluation import metrics
from srgan.pictures.pixels import rgb_uint8

# (SR, HR, LR, scale) to a value. Pictures are uint8 (H, W, 3) RGB; HR of a gray file has one band.
MetricFunction = Callable[[np.ndarray, np.ndarray, np.ndarray, int], float]

DEFAULT = ("psnr_y", "ssim_y", "lpips_alex")
PYIQA = "pyiqa:"  # and the name of one of its metrics


class UnavailableError(UserError):
    """A metric that cannot be computed on this machine, and what to do about it."""


@dataclass(frozen=True)
class Metric:
    """A row of the table.

    Attributes:
        name: as in `srgan evaluate --metrics` and in the files that it writes.
        title: heading of its column.
        protocol: how it is computed, in one line.
        decimals: how many are shown.
        higher_is_better: which values are better; None where that is unknown.
        load: makes its function. The argument is the folder of `--lpips-weights`, or None.
            Raises UnavailableError where a library or weights are missing.
    """

    name: str
    title: str
    protocol: str
    decimals: int
    higher_is_better: bool | None
    load: Callable[[Path | None], MetricFunction]


def _numpy(function: MetricFunction) -> Callable[[Path | None], MetricFunction]:
    """`load` of a metric that needs no weights."""
    return lambda _: function


def _lpips(net: str) -> Callable[[Path | None], MetricFunction]:
    def load(weights: Path | None) -> MetricFunction:
        from srgan.evaluation.lpips import LPIPS, LPIPSError

        try:
            distance = LPIPS("vgg" if net == "vgg" else "alex", weights)
        except (LPIPSError, MissingExtraError) as error:
            raise UnavailableError(str(error)) from error
        return lambda sr, hr, _, __: distance(sr, rgb_uint8(hr))

    return load


def _dists(weights: Path | None) -> MetricFunction:
    try:
        need("evaluate", "DISTS", also="DISTS_pytorch")
    except MissingExtraError as error:
        raise UnavailableError(str(error)) from error
    from srgan.evaluation.dists import DISTS, DISTSError

    try:
        distance = DISTS(weights)
    except DISTSError as error:
        raise UnavailableError(str(error)) from error
    return lambda sr, hr, _, __: distance(sr, rgb_uint8(hr))


METRICS = (
    Metric(
        name="psnr_y",
        title="PSNR-Y",
        protocol="PSNR in dB: Y of BT.601, 8-bit pictures, `scale` pixels cropped "
        "(Ledig et al. 2017)",
        decimals=2,
        higher_is_better=True,
        load=_numpy(lambda sr, hr, _, scale: metrics.psnr_y(sr, hr, scale)),
    ),
    Metric(
        name="ssim_y",
        title="SSIM-Y",
        protocol="SSIM: Y of BT.601, 8-bit pictures, `scale` pixels cropped, Gaussian 11x11 of "
        "sigma 1.5, valid region (Wang et al. 2004)",
        decimals=4,
        higher_is_better=True,
        load=_numpy(lambda sr, hr, _, scale: metrics.ssim_y(sr, hr, scale)),
    ),
    Metric(
        name="psnr_rgb",
        title="PSNR-RGB",
        protocol="PSNR in dB: RGB, 8 bit, `scale` pixels cropped",
        decimals=2,
        higher_is_better=True,
        load=_numpy(lambda sr, hr, _, scale: metrics.psnr_rgb(sr, rgb_uint8(hr), scale)),
    ),
    Metric(
        name="ssim_rgb",
        title="SSIM-RGB",
        protocol="SSIM: mean over R, G and B, 8 bit, `scale` pixels cropped, Gaussian 11x11 of "
        "sigma 1.5, valid region (Wang et al. 2004)",
        decimals=4,
        higher_is_better=True,
        load=_numpy(lambda sr, hr, _, scale: metrics.ssim_rgb(sr, rgb_uint8(hr), scale)),
    ),
    Metric(
        name="lpips_alex",
        title="LPIPS-Alex",
        protocol="LPIPS 0.1, AlexNet: RGB, 8 bit, nothing cropped (Zhang et al. 2018)",
        decimals=4,
        higher_is_better=False,
        load=_lpips("alex"),
    ),
    Metric(
        name="lpips_vgg",
        title="LPIPS-VGG",
        protocol="LPIPS 0.1, VGG16: RGB, 8 bit, nothing cropped (Zhang et al. 2018)",
        decimals=4,
        higher_is_better=False,
        load=_lpips("vgg"),
    ),
    Metric(
        name="dists",
        title="DISTS",
        protocol="DISTS: RGB, 8 bit, nothing cropped (Ding et al. 2020)",
        decimals=4,
        higher_is_better=False,
        load=_dists,
    ),
    Metric(
        name="colour_drift",
        title="Colour drift",
        protocol="Mean CIELAB difference (Delta E 1976, D65) of SR and HR, both reduced by "
        "`scale` with bicubic",
        decimals=2,
        higher_is_better=False,
        load=_numpy(lambda sr, hr, _, scale: metrics.colour_drift(sr, rgb_uint8(hr), scale)),
    ),
    Metric(
        name="consistency",
        title="Consistency",
        protocol="PSNR in dB between SR reduced with bicubic and LR: RGB, 8 bit, nothing cropped",
        decimals=2,
        higher_is_better=True,
        load=_numpy(lambda sr, _, lr, __: metrics.consistency(sr, lr)),
    ),
)
_BY_NAME = {metric.name: metric for metric in METRICS}


def find_metric(name: str) -> Metric:
    """The row of a metric: of the table, or made for "pyiqa:NAME".

    Raises:
        OptionError: no metric has this name.
    """
    if name in _BY_NAME:
        return _BY_NAME[name]
    if name.startswith(PYIQA):
        return _pyiqa(name)
    raise OptionError(f"--metrics must be of {', '.join(_BY_NAME)}, or all: not {name}")


def load_metrics(
    names: Sequence[str], lpips_weights: Path | None
) -> tuple[dict[str, MetricFunction], dict[str, str]]:
    """Functions of the metrics with these names.

    Args:
        names: of `METRICS`, or "pyiqa:NAME"; "all" stands for all of `METRICS`.
        lpips_weights: folder with the weights of LPIPS and DISTS. None downloads them.

    Returns:
        The functions by name, and for metrics that are unavailable here, what to do about it.

    Raises:
        OptionError: no metric has one of the names.
    """
    if "all" in names:
        names = [*_BY_NAME, *(name for name in names if name.startswith(PYIQA))]
    functions: dict[str, MetricFunction] = {}
    unavailable: dict[str, str] = {}
    for name in dict.fromkeys(names):
        try:
            functions[name] = find_metric(name).load(lpips_weights)
        except UnavailableError as error:
            unavailable[name] = str(error)
    return functions, unavailable


def _pyiqa(name: str) -> Metric:
    """A metric of pyiqa (https://github.com/chaofengc/IQA-PyTorch), with or without reference."""
    own_name = name.removeprefix(PYIQA)

    def load(_: Path | None) -> MetricFunction:
        try:
            pyiqa: Any = importlib.import_module("pyiqa")  # in no extra: it is large
            import torch
        except ImportError as error:
            raise UnavailableError("pip install pyiqa") from error
        try:
            metric: Any = pyiqa.create_metric(own_name, device="cpu")
        except Exception as error:  # an unknown name, or weights that cannot be downloaded
            raise UnavailableError(f"pyiqa: {reason_of(error)}") from error

        def function(sr: np.ndarray, hr: np.ndarray, _: np.ndarray, __: int) -> float:
            tensors = [
                torch.as_tensor(image).permute(2, 0, 1)[None] / 255 for image in (sr, rgb_uint8(hr))
            ]
            try:
                with torch.inference_mode():
                    return float(metric(*tensors[: 2 if metric.metric_mode == "FR" else 1]))
            except Exception as error:  # of pictures that are too small, for example
                raise ValueError(f"pyiqa: {reason_of(error)}") from error

        return function

    protocol = f"{own_name} as pyiqa computes it: RGB, 8 bit"
    return Metric(name, name, protocol, decimals=4, higher_is_better=None, load=load)
