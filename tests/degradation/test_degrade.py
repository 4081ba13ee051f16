import functools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from torch import Tensor

from srgan.cli.evaluate import degrade
from srgan.degradation.bicubic import bicubic_lr, unit
from srgan.degradation.blurry import blurry_lr
from srgan.degradation.degrade import degrade_picture, fixed_rng, make_degrade, training_rng
from srgan.degradation.ranges import FOLDER, KINDS, Ranges, presets, read_ranges
from srgan.errors import OptionError
from srgan.pictures.resample import bicubic_8bit


@pytest.fixture(scope="module")
def hr() -> Tensor:
    """Crops of three photographs, and noise, whose LR needs clipping: 13 x 3 x 96 x 72."""
    photographs = [data.astronaut(), data.cat(), data.coffee()]
    crops = [p[y : y + 96, x : x + 72] for p in photographs for y in (0, 150) for x in (0, 200)]
    noise = np.random.default_rng(0).choice([0, 255], (96, 72, 3)).astype(np.uint8)
    return torch.from_numpy(np.stack([*crops, noise])).permute(0, 3, 1, 2)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("memory", [torch.channels_last, torch.contiguous_format])
def test_lr_is_matlabs_on_every_sample(hr: Tensor, scale: int, memory: torch.memory_format) -> None:
    lr = bicubic_lr(hr.contiguous(memory_format=memory), scale)
    expected = [
        bicubic_8bit(image.permute(1, 2, 0).numpy(), 96 // scale, 72 // scale) for image in hr
    ]
    assert lr.dtype == torch.float32
    assert torch.equal(lr, torch.from_numpy(np.stack(expected)).permute(0, 3, 1, 2) / 255)


def test_autocast_does_not_touch_the_lr(hr: Tensor) -> None:
    expected = bicubic_lr(hr, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(bicubic_lr(hr, 4), expected)


def test_size_that_is_no_multiple(hr: Tensor) -> None:
    with pytest.raises(ValueError, match="96 x 72 is not a multiple of the scale, 5"):
        bicubic_lr(hr, 5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_lr_on_a_gpu_with_tf32(hr: Tensor, scale: int) -> None:
    expected = bicubic_lr(hr, scale)
    torch.set_float32_matmul_precision("high")
    try:
        lr = bicubic_lr(hr.cuda(), scale).cpu()
    finally:
        torch.set_float32_matmul_precision("highest")
    # The same levels; CUDA divides by 255 as it multiplies by the reciprocal.
    assert torch.equal((255 * lr).round(), (255 * expected).round())
    torch.testing.assert_close(lr, expected, rtol=1e-6, atol=0)


def test_unit(hr: Tensor) -> None:
    result = unit(hr)
    assert torch.equal(result, hr.float() / 255)
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert hr.dtype == torch.uint8


@pytest.fixture(scope="module")
def nothing() -> Ranges:
    """Ranges in which every chance is 0."""
    never = dict.fromkeys(("clean", "blur", "resize", "noise", "jpeg", "second"), 0)
    return replace(read_ranges("blurry"), **never)


@pytest.mark.parametrize("preset", ["blurry", "blurry-light", "blurry,blurry-light"])
def test_blurry_depends_on_seed_iteration_and_stream_alone(hr: Tensor, preset: str) -> None:
    make = make_degrade(preset)
    lr = make(hr, 4, training_rng(0, 5, 1))
    assert lr.shape == (len(hr), 3, 24, 18)
    assert lr.dtype == torch.float32
    assert torch.equal(255 * lr, (255 * lr).round().clamp(0, 255))
    memory = hr.contiguous(memory_format=torch.channels_last)
    assert torch.equal(make(memory, 4, training_rng(0, 5, 1)), lr)
    for other in ((1, 5, 1), (0, 6, 1), (0, 5, 0)):
        assert not torch.equal(make(hr, 4, training_rng(*other)), lr)


def test_every_sample_of_a_batch_is_degraded_in_its_own_way(hr: Tensor) -> None:
    same = hr[:1].expand(16, -1, -1, -1)
    lr = make_degrade("blurry")(same, 4, training_rng(0, 0, 0))
    assert len(torch.unique(lr, dim=0)) == 16


def test_of_several_degradations_every_sample_gets_one(hr: Tensor) -> None:
    batch = hr[:1].expand(64, -1, -1, -1)
    lr = make_degrade("bicubic,blurry")(batch, 4, training_rng(0, 0, 0))
    clean = (lr == bicubic_lr(hr[:1], 4)).flatten(1).all(1)
    assert 16 < clean.sum() < 48
    with pytest.raises(OptionError, match="blury: no such degradation"):
        make_degrade("blurry,blury")


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_blurry_lies_on_hr(whole: bool, scale: int) -> None:
    """Whatever happens to a spot of light, its middle stays where bicubic has it."""
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    spot = 230 * torch.exp(-((y - 44.5) ** 2 + (x - 53) ** 2) / 150) + 5
    hr = spot.round().to(torch.uint8).expand(64, 3, 96, 96)
    # A box's pixels may round to one side, at sizes of a few pixels a spot.
    ranges = replace(read_ranges("blurry"), noise=0.0, quality=(90, 95))
    lr = blurry_lr(hr, scale, training_rng(0, 0, 0), ranges=ranges, whole=whole)
    weights = (lr.mean(1) - 0.08).clamp(min=0)
    place = torch.arange(96 // scale) * scale + (scale - 1) / 2
    total = weights.sum((1, 2))
    for middle, axis in ((44.5, 2), (53, 1)):
        found = (weights.sum(axis) * place).sum(1) / total
        assert (found - middle).abs().max() < 0.35 * scale
        assert (found.mean() - middle).abs() < 0.05 * scale


def test_clean_is_bicubic(hr: Tensor, nothing: Ranges) -> None:
    clean = replace(read_ranges("blurry"), clean=1.0)
    lr = blurry_lr(hr, 4, training_rng(0, 0, 0), ranges=clean)
    # Not at the edges, nor of noise, which clips between bicubic's passes.
    difference = 255 * (lr - bicubic_lr(hr, 4)).abs()[:-1, :, 2:-2, 2:-2]
    assert difference.max() < 2.1  # rounded once, not twice
    assert difference.mean() < 0.3
    untouched = blurry_lr(hr, 4, training_rng(0, 0, 0), ranges=nothing)
    assert (untouched - lr).abs().mean() > 0.5 / 255  # other kernels of reduction


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"blur": 1.0, "kinds": (1, 0, 0, 0), "sigma": (1, 1)}, 4),
        ({"blur": 1.0, "kinds": (0, 0, 1, 0), "radius": (2, 2)}, 4),
        ({"blur": 1.0, "kinds": (0, 0, 0, 1), "length": (4, 4)}, 4),
        ({"noise": 1.0, "gaussian": (10, 10), "poisson": (1e-3, 1e-3)}, 5),
        ({"noise": 1.0, "gaussian": (1e-3, 1e-3), "poisson": (20, 20)}, 5),
        ({"jpeg": 1.0, "quality": (30, 30)}, 4),
        ({"second": 1.0, "jpeg": 1.0, "quality": (30, 30)}, 5),
    ],
)
def test_each_part_of_the_degradation_does_something(
    hr: Tensor, nothing: Ranges, change: dict[str, object], error: float
) -> None:
    make = functools.partial(blurry_lr, hr[:6], 4)
    without = make(training_rng(0, 0, 0), ranges=nothing)
    lr = make(training_rng(0, 0, 0), ranges=replace(nothing, **change))
    assert 255 * (lr - without).abs().mean((1, 2, 3)).mean() > error


def test_noise_has_the_strength_that_was_drawn(nothing: Ranges) -> None:
    flat = torch.full((8, 3, 256, 256), 128, dtype=torch.uint8)
    flat[:4] = 32
    for gaussian, poisson, expected in ((6, 1e-3, (6, 6)), (1e-3, 12, (4.25, 8.5))):
        noisy = replace(
            nothing, noise=1.0, gray=0.0, gaussian=(gaussian,) * 2, poisson=(poisson,) * 2
        )
        lr = 255 * blurry_lr(flat, 4, training_rng(0, 0, 0), ranges=noisy)
        for part, sigma in zip((lr[:4], lr[4:]), expected, strict=True):
            assert part.std() == pytest.approx(sigma, rel=0.03)
            assert (part - part.mean(1, keepdim=True)).std() > sigma / 2  # colours
    gray = replace(nothing, noise=1.0, gray=1.0, gaussian=(6, 6))
    lr = 255 * blurry_lr(flat, 4, training_rng(0, 0, 0), ranges=gray)
    assert (lr - lr.mean(1, keepdim=True)).std() < 0.5


def test_jpeg_blocks_of_whole_pictures_start_at_the_corner_and_of_crops_anywhere(
    nothing: Ranges,
) -> None:
    photo = torch.from_numpy(data.coffee()[:384, :384].copy()).permute(2, 0, 1)[None]
    ranges = replace(nothing, jpeg=1.0, quality=(20, 20))

    def steps_at_blocks(whole: bool, seed: int) -> float:
        lr = 255 * blurry_lr(photo, 4, training_rng(seed, 0, 0), ranges=ranges, whole=whole)
        steps = lr.mean(1).diff(dim=2).abs().mean((0, 1))
        return float(steps[7::8].mean() / steps.mean())

    assert min(steps_at_blocks(True, seed) for seed in range(8)) > 1.15
    assert min(steps_at_blocks(False, seed) for seed in range(8)) < 1


def test_a_picture_of_any_size_can_be_degraded() -> None:
    photo = np.ascontiguousarray(data.chelsea())
    for height, width in ((4, 4), (8, 300), (300, 12), (100, 52)):
        for name in presets():
            make = make_degrade(name, whole=True)
            for seed in range(4):
                lr = degrade_picture(make, photo[:height, :width], 4, fixed_rng(seed, "a"))
                assert lr.shape == (height // 4, width // 4, 3)
                assert abs(lr.mean() - photo[:height, :width].mean()) < 25


def test_the_picture_of_a_seed_and_a_name_stays_the_same(astronaut: np.ndarray) -> None:
    """What benchmarks are fixed by; another torch may round a pixel in a hundred otherwise."""
    make = make_degrade("blurry", whole=True)
    lr = degrade_picture(make, astronaut, 4, fixed_rng(0, "img_001.png")).astype(int)
    expected = [
        [186, 148, 54, 171, 86],
        [165, 90, 119, 131, 174],
        [173, 57, 173, 223, 178],
        [178, 58, 199, 190, 194],
    ]
    assert (abs(lr[::6, ::6, 1] - expected) <= 1).mean() > 0.9


def test_a_preset_that_is_wrong_is_named_with_its_reason(tmp_path: Path) -> None:
    text = (FOLDER / "blurry.toml").read_text()
    path = tmp_path / "mine.toml"
    path.write_text(text)
    assert read_ranges(str(path)) == read_ranges("blurry")
    for old, new, reason in (
        ("noise = 0.7", "noise = 1.7", "noise must be a probability, 0 to 1, not 1.7"),
        ("noise = 0.7", "noise = [0.7, 0.8]", "noise must be a probability"),
        ("sigma = [0.1, 1.4]", "sigma = 0.5", r"sigma must be \[from, to\]"),
        ("kinds = [0.35, 0.25, 0.2, 0.2]", "kinds = 0.5", "kinds must be 4 shares"),
        ("sigma = [0.1, 1.4]", "sigma = [1.4, 0.1]", r"sigma must be \[from, to\], above 0"),
        ("quality = [35, 95]", "quality = [35, 101]", "quality must be at most 100"),
        ("kinds = [0.35, 0.25, 0.2, 0.2]", "kinds = [1]", "kinds must be 4 shares"),
        ("second = 0.4", "third = 0.4", "unknown: third"),
        ("second = 0.4", "", "missing: second"),
        ("second = 0.4", "second = ", "mine.toml"),
    ):
        assert old in text
        path.write_text(text.replace(old, new))
        with pytest.raises(
            OptionError, match=f"mine.toml.*{reason}" if reason[0] != "m" else reason
        ):
            read_ranges(str(path))
    with pytest.raises(OptionError, match="blury: no such degradation; use one of bicubic, blurry"):
        read_ranges("blury")


def test_kinds_are_drawn_by_their_shares() -> None:
    from srgan.degradation.draw import draw

    plan = draw(read_ranges("blurry"), 4000, np.random.default_rng(0), whole=False)
    shares = np.bincount(plan.kind, minlength=len(KINDS)) / 4000
    np.testing.assert_allclose(shares, read_ranges("blurry").kinds, atol=0.03)
    assert plan.blurred.mean() == pytest.approx(0.85 * 0.95, abs=0.03)
    assert (plan.last.quality > 0).mean() == pytest.approx(0.85 * 0.95, abs=0.03)
    assert plan.last.quality[plan.last.quality > 0].min() >= 35
    assert 255 * plan.last.gaussian.max() <= 10


def written(folder: Path) -> dict[str, bytes]:
    return {path.stem: np.asarray(Image.open(path)).tobytes() for path in folder.iterdir()}


def test_the_command_writes_the_same_pictures_again(tmp_path: Path, astronaut: np.ndarray) -> None:
    """Whatever other pictures the folder holds; another seed makes others."""
    hr = tmp_path / "hr"
    hr.mkdir()
    for name in ("a", "b"):
        Image.fromarray(astronaut).save(hr / f"{name}.png")
    assert degrade(hr, tmp_path / "first", preset="blurry") == 0
    assert degrade(hr, tmp_path / "other", preset="blurry", seed=1) == 0
    (hr / "a.png").unlink()
    Image.fromarray(astronaut).save(hr / "0.png")
    assert degrade(hr, tmp_path / "second", preset="blurry") == 0
    first, second, other = (written(tmp_path / name) for name in ("first", "second", "other"))
    assert first["b"] == second["b"]
    assert len({first["a"], first["b"], second["0"], other["a"], other["b"]}) == 5


def test_wrong_usage_of_the_command(tmp_path: Path, photo: Path) -> None:
    with pytest.raises(OptionError, match="blury: no such degradation; use one of bicubic, blurry"):
        degrade(photo, tmp_path / "lr", preset="blury")
    with pytest.raises(OptionError, match="--edges works only with --preset bicubic"):
        degrade(photo, tmp_path / "lr", preset="blurry", edges="symmetric")
    with pytest.raises(OptionError, match="--scale 1 --preset bicubic would copy the pictures"):
        degrade(photo, tmp_path / "lr", scale=1)
    assert not (tmp_path / "lr").exists()


def test_without_torch_only_bicubic_is_written(tmp_path: Path, photo: Path) -> None:
    script = """
import sys
for name in ("torch", "torchvision"):
    sys.modules[name] = None
from srgan.cli.app import main
sys.argv = ["srgan", "degrade", "photo.jpg", "lr", "--preset", sys.argv[1]]
main()
"""
    command = [sys.executable, "-c", script]
    options = {"cwd": tmp_path, "capture_output": True, "text": True, "check": False}
    blurry = subprocess.run([*command, "blurry"], **options)
    assert blurry.returncode == 2
    assert "--preset blurry needs torch: install with: pip install" in blurry.stderr
    assert subprocess.run([*command, "bicubic"], **options).returncode == 0
