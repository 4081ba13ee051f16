"""Metrics by name, and what the user reads about the unavailable ones."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from srgan.errors import OptionError
from srgan.evaluation.metrics import psnr_y
from srgan.evaluation.registry import METRICS, load_metrics


def test_all_metrics_can_be_computed(astronaut: np.ndarray, tmp_path: Path) -> None:
    functions, unavailable = load_metrics(["all"], tmp_path)
    assert [*functions, *unavailable] == [
        *(metric.name for metric in METRICS if not metric.name.startswith(("lpips", "dists"))),
        "lpips_alex",
        "lpips_vgg",
        "dists",
    ]
    sr = astronaut // 2 * 2
    lr = astronaut[::4, ::4]
    values = {name: function(sr, astronaut, lr, 4) for name, function in functions.items()}
    assert values["psnr_y"] == psnr_y(sr, astronaut, 4)
    assert all(np.isfinite(value) for value in values.values())


def test_lpips_without_its_weights_says_what_to_give(tmp_path: Path) -> None:
    functions, unavailable = load_metrics(["lpips_alex"], tmp_path)
    assert not functions
    assert str(tmp_path) in unavailable["lpips_alex"]


def test_without_torch_lpips_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "srgan.evaluation.lpips", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    _, unavailable = load_metrics(["lpips_alex"], tmp_path)
    monkeypatch.delitem(sys.modules, "srgan.evaluation.lpips", raising=False)
    assert "pip install" in unavailable["lpips_alex"]


def test_pyiqas_metrics_with_and_without_reference(
    astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a stand-in with pyiqa's interface: its weights cannot be downloaded in tests."""

    class Metric:
        def __init__(self, mode: str) -> None:
            self.metric_mode = mode

        def __call__(self, *pictures: object) -> float:
            return float(len(pictures))

    def create_metric(name: str, device: str) -> Metric:
        if name not in ("dists", "niqe"):
            raise ValueError(f"no metric {name}")
        assert device == "cpu"
        return Metric("FR" if name == "dists" else "NR")

    monkeypatch.setitem(sys.modules, "pyiqa", SimpleNamespace(create_metric=create_metric))
    functions, unavailable = load_metrics(["pyiqa:dists", "pyiqa:niqe", "pyiqa:beauty"], None)
    values = {
        name: function(astronaut, astronaut, astronaut, 4) for name, function in functions.items()
    }
    assert values == {"pyiqa:dists": 2, "pyiqa:niqe": 1}
    assert "no metric beauty" in unavailable["pyiqa:beauty"]


def test_where_pyiqa_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    assert load_metrics(["pyiqa:niqe"], None)[1] == {"pyiqa:niqe": "pip install pyiqa"}


def test_unknown_names_are_refused() -> None:
    with pytest.raises(OptionError, match=r"psnr_y.*not beauty"):
        load_metrics(["beauty"], None)
