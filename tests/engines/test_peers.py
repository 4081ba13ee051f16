"""The files of other projects in shared/peers: every engine against spandrel's own result."""

from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from spandrel import ImageModelDescriptor, ModelLoader

from srgan.engines.base import EngineError
from srgan.engines.create import create_engine
from srgan.engines.foreign.figures import Figures
from srgan.engines.kernels import kernels
from srgan.engines.options import EngineOptions
from srgan.models.load import load_model
from srgan.networks.foreign import ForeignNetwork

FILES = (
    "DCTLSA_x4",
    "RealESRGAN_x4plus",
    "realesr-animevideov3",
    "realesr-general-wdn-x4v3",
    "realesr-general-x4v3",
)


@pytest.mark.parametrize("name", FILES)
def test_all_engines_agree_with_spandrel(
    name: str, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SRGAN_CACHE", str(tmp_path))
    network = load_model(shared / "peers" / f"{name}.safetensors")
    assert isinstance(network, ForeignNetwork)
    # Measuring takes longer than all of this.
    sizes = replace(network.sizes, multiple=16)
    network = replace(network, info={"halo": 16, "openvino sizes": asdict(sizes)})
    Figures(network.digest).put("native cpu speed", 2.0)
    for backend in ("native cpu", "openvino cpu", "torch cpu"):
        for stage in ("", "trunk "):
            Figures(network.digest).put(f"{backend} fp32 {stage}bytes per pixel", 10_000)
    lr = np.random.default_rng(0).random((1, 3, 32, 16), np.float32)
    model = ModelLoader().load_from_file(shared / "peers" / f"{name}.safetensors").float()
    assert isinstance(model, ImageModelDescriptor)
    expected = model(torch.from_numpy(lr.copy())).numpy()
    engines = ["openvino", "torch"]
    if name != "DCTLSA_x4":
        with suppress(EngineError):  # where it cannot run
            kernels()
            engines.append("native")
    for engine in engines:
        sr = create_engine(network, EngineOptions(engine, "fp32"))(lr)  # type: ignore[arg-type]
        assert np.abs(sr - expected).max() <= 1e-4, engine
