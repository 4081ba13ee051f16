from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srgan.cli import models as cli_models
from srgan.engines.library import shared_core
from srgan.engines.openvino import OpenVINOEngine, calibrate, calibration_tiles
from srgan.engines.options import EngineOptions
from srgan.errors import OptionError
from srgan.models import file as checkpoints
from srgan.models.file import save_checkpoint
from srgan.models.load import load_checkpoint
from srgan.models.mix import interpolate, mix, with_detail
from srgan.networks.architecture import Architecture, Checkpoint
from srgan.networks.batch_norm import without_bn
from srgan.networks.folding import fold
from srgan.upscaling.upscaler import Upscaler
from tests.support.command import Command
from tests.support.networks import random_checkpoint

SMALL = Architecture(blocks=2, channels=8)
FP32 = EngineOptions(engine="openvino", precision="fp32")


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Checkpoint, Checkpoint]:
    """A folder of shipped models, "faithful" and "vivid", whose partner the first one is."""
    faithful, vivid = random_checkpoint(SMALL, 1), random_checkpoint(SMALL, 2)
    faithful.info["name"] = "faithful"
    vivid.info.update(name="vivid", partner="faithful", detail=0.5)
    folder = tmp_path / "pretrained"
    folder.mkdir()
    for checkpoint in (faithful, vivid):
        save_checkpoint(folder / f"{checkpoint.info['name']}.safetensors", checkpoint)
    monkeypatch.setattr(checkpoints, "WEIGHTS", folder)
    return folder, faithful, vivid


def super_resolve(checkpoint: Checkpoint, picture: np.ndarray) -> np.ndarray:
    lr = picture.astype(np.float32).transpose(2, 0, 1)[None] / 255
    return OpenVINOEngine(checkpoint, FP32)(lr)


def test_without_bn_is_the_same_network(astronaut: np.ndarray) -> None:
    checkpoint = random_checkpoint(SMALL)
    folded = without_bn(checkpoint)
    assert not np.array_equal(
        folded.tensors["trunk.conv.weight"], checkpoint.tensors["trunk.conv.weight"]
    )
    np.testing.assert_allclose(
        super_resolve(folded, astronaut), super_resolve(checkpoint, astronaut), atol=1e-5
    )


def test_weights_between_are_means_of_the_folded_ones(
    pair: tuple[Path, Checkpoint, Checkpoint],
) -> None:
    _, faithful, vivid = pair
    mixed = fold(interpolate(faithful, vivid, 0.25))
    for name in ("head", "trunk"):
        start, end = getattr(fold(faithful), name), getattr(fold(vivid), name)
        found = getattr(mixed, name)
        np.testing.assert_allclose(
            found.weight, 0.75 * start.weight + 0.25 * end.weight, rtol=1e-5, atol=1e-6
        )
        np.testing.assert_allclose(
            found.bias, 0.75 * start.bias + 0.25 * end.bias, rtol=1e-5, atol=1e-6
        )
    assert mixed.blocks[1][0].slope == pytest.approx(
        0.75 * (fold(faithful).blocks[1][0].slope or 0)
        + 0.25 * (fold(vivid).blocks[1][0].slope or 0)
    )


def test_a_mean_can_be_trained_on() -> None:
    """Its kernels have the size of the parents': Muon's updates have a length of their own."""
    faithful, vivid = (load_checkpoint(name) for name in ("srresnet-x4", "srgan-x4"))
    mixed = interpolate(faithful, vivid, 0.5)
    for name, kernel in faithful.tensors.items():
        if kernel.shape[2:] == (3, 3):
            assert 0.5 < np.linalg.norm(mixed.tensors[name]) / np.linalg.norm(kernel) < 2, name


def test_the_ends_are_the_models_themselves(
    pair: tuple[Path, Checkpoint, Checkpoint], astronaut: np.ndarray
) -> None:
    _, faithful, vivid = pair
    assert with_detail(vivid, 1) is vivid
    for detail, end in ((0, faithful), (1, vivid)):
        np.testing.assert_allclose(
            super_resolve(interpolate(faithful, vivid, detail), astronaut),
            super_resolve(end, astronaut),
            atol=1e-5,
        )


def test_int8_ranges_are_mixed_or_left_out(
    pair: tuple[Path, Checkpoint, Checkpoint], astronaut: np.ndarray
) -> None:
    _, faithful, vivid = pair
    tiles = calibration_tiles(astronaut.astype(np.float32).transpose(2, 0, 1)[None] / 255)
    faithful.info["int8"] = calibrate(fold(faithful), tiles)
    assert "int8" not in interpolate(faithful, vivid, 0.5).info
    vivid.info["int8"] = calibrate(fold(vivid), tiles)
    ranges = interpolate(faithful, vivid, 0.5).info["int8"]["tail"]
    ends = [checkpoint.info["int8"]["tail"] for checkpoint in (faithful, vivid)]
    assert ranges == pytest.approx(np.mean(ends, axis=0))
    assert "int8" in vivid.info  # the models stay as they are


def test_loading_takes_the_models_default_and_any_detail(
    pair: tuple[Path, Checkpoint, Checkpoint], astronaut: np.ndarray
) -> None:
    by_detail = {
        detail: Upscaler.load("vivid", detail=detail, precision="fp32")(astronaut)
        for detail in (None, 0, 0.5, 1)
    }
    assert np.array_equal(by_detail[None], by_detail[0.5])
    assert np.array_equal(by_detail[0], Upscaler.load("faithful", precision="fp32")(astronaut))
    distances = [
        np.abs(by_detail[detail].astype(int) - by_detail[0]).mean() for detail in (0, 0.5, 1)
    ]
    assert 0 == distances[0] < distances[1] < distances[2]


@pytest.mark.parametrize(
    ("model", "detail", "message"),
    [("vivid", 1.5, "from 0 (faithful) to 1"), ("faithful", 0.5, "with a partner")],
)
def test_what_cannot_be_is_said(
    pair: tuple[Path, Checkpoint, Checkpoint], model: str, detail: float, message: str
) -> None:
    with pytest.raises(OptionError) as caught:
        Upscaler.load(model, detail=detail)
    assert message in str(caught.value)


@pytest.mark.parametrize("partner", ["hf:them/theirs", "/etc/passwd"])
def test_a_model_file_names_no_partner_elsewhere(
    pair: tuple[Path, Checkpoint, Checkpoint], partner: str
) -> None:
    _, _, vivid = pair
    elsewhere = replace(vivid, info={**vivid.info, "partner": partner})
    with pytest.raises(OptionError, match=f"{partner} is not a shipped model"):
        with_detail(elsewhere, 0.5)


def test_a_gain_is_added_by_shares_below_0() -> None:
    models = [random_checkpoint(SMALL, seed) for seed in (1, 2, 3)]
    mixed = fold(mix(list(zip(models, (2, 2, -2), strict=True))))  # divided by their sum
    a, b, c = (fold(model) for model in models)
    for found, x, y, z in zip(mixed.blocks[1], a.blocks[1], b.blocks[1], c.blocks[1], strict=True):
        np.testing.assert_allclose(found.weight, x.weight + y.weight - z.weight, atol=1e-5)
        np.testing.assert_allclose(found.bias, x.bias + y.bias - z.bias, atol=1e-5)


def test_the_mix_command(srgan: Command, tmp_path: Path) -> None:
    first, second = random_checkpoint(SMALL, 1), random_checkpoint(SMALL, 2)
    files = ("a.safetensors", "b=0.1.safetensors")
    for file, model in zip(files, (first, second), strict=True):
        save_checkpoint(tmp_path / file, model)
    done = srgan("mix", f"{files[0]}=3", files[1], "-o", "mixed.safetensors")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        "0.7500",
        files[0],
        "0.2500",
        files[1],
        "->",
        "mixed.safetensors",
    ]
    mixed = load_checkpoint(tmp_path / "mixed.safetensors")
    assert mixed.info == {"name": "mixed", "mix": [[files[0], 0.75], [files[1], 0.25]]}
    for name, expected in interpolate(first, second, 0.25).tensors.items():
        np.testing.assert_allclose(mixed.tensors[name], expected, atol=1e-6)
    for arguments, message in (
        (files, "exists; use --overwrite"),
        ((), "nothing to mix"),
        ((f"{files[0]}=nan", "--overwrite"), "a share must be a number"),
        ((f"{files[0]}=1", f"{files[1]}=-1", "--overwrite"), "shares add up to 0"),
        (("srresnet-x4", files[0], "--overwrite"), "different architectures"),
    ):
        refused = srgan("mix", *arguments, "-o", "mixed.safetensors")
        assert refused.returncode == 2 and message in " ".join(refused.stderr.split()), message
    assert load_checkpoint(tmp_path / "mixed.safetensors").info["mix"][0] == [files[0], 0.75]


def test_other_architectures_are_refused() -> None:
    with pytest.raises(OptionError, match="different architectures"):
        interpolate(random_checkpoint(SMALL), random_checkpoint(Architecture(blocks=1)), 0.5)


def test_the_command(
    pair: tuple[Path, Checkpoint, Checkpoint], photo: Path, srgan: Command, tmp_path: Path
) -> None:
    folder, _, vivid = pair
    vivid.info["partner"] = "srresnet-x4"  # another architecture, shipped
    save_checkpoint(folder / "odd.safetensors", vivid)
    refused = srgan("upscale", photo, "--model", folder / "odd.safetensors", "--detail", 0.5)
    assert refused.returncode == 2 and "different architectures" in refused.stderr
    plain = srgan("upscale", photo, "--detail", 0.5, "--model", "srresnet-x4")
    assert plain.returncode == 2 and "with a partner" in plain.stderr
    done = srgan("upscale", photo, "--detail", 1, "--model", folder / "odd.safetensors")
    assert done.returncode == 0, done.stderr
    assert Image.open(tmp_path / "photo_x4.jpg").size == (480, 384)


def test_an_export_has_the_models_own_detail_or_another(
    pair: tuple[Path, Checkpoint, Checkpoint], tmp_path: Path, astronaut: np.ndarray
) -> None:
    _, faithful, vivid = pair
    lr = astronaut.astype(np.float32).transpose(2, 0, 1)[None] / 255
    for detail, step in ((None, 0.5), (1, 1.0)):
        file = tmp_path / f"{step}.xml"
        cli_models.export("vivid", format="openvino", output=str(file), detail=detail)
        exported = shared_core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        expected = super_resolve(interpolate(faithful, vivid, step), astronaut)
        np.testing.assert_allclose(exported(lr)[0], expected, atol=1e-5)


def test_what_int8_loses_is_that_of_the_worse_model() -> None:
    ranges = {"int8": {"tail": [0.0, 1.0]}}
    faithful, vivid = (
        replace(random_checkpoint(SMALL), info={**ranges, "int8_loss": loss})
        for loss in (0.03, 0.01)
    )
    losses = [interpolate(faithful, vivid, detail).info["int8_loss"] for detail in (0, 0.5)]
    assert losses == [0.03, 0.03]
    unknown = replace(faithful, info=ranges)
    assert "int8_loss" not in interpolate(unknown, vivid, 0.5).info
    assert "int8_loss" not in interpolate(replace(faithful, info={}), vivid, 0).info
