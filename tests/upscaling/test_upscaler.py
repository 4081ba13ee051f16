import itertools
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import srgan
from srgan.engines.base import UNLIMITED, EngineError, srresnet_tiling
from srgan.engines.options import EngineOptions
from srgan.engines.precision import cpu_precision
from srgan.errors import OptionError
from srgan.models.file import save_checkpoint, shipped_models
from srgan.models.load import load_checkpoint
from srgan.networks.architecture import Architecture, Checkpoint
from srgan.pictures.images import open_picture
from srgan.pictures.pixels import fill_transparent, is_gray, levels
from srgan.pictures.resample import bicubic, bicubic_8bit
from srgan.upscaling import bands as module
from srgan.upscaling import tiles
from srgan.upscaling.bands import TiledRun
from srgan.upscaling.upscaler import Upscaler
from tests.support.engines import Mean3x3, with_few_visible_pixels
from tests.support.networks import random_checkpoint

SMALL = Architecture(blocks=2, channels=8)


@pytest.fixture(scope="module")
def shipped() -> Upscaler:
    return Upscaler.load("srresnet-x4", precision="fp32")


@pytest.fixture(scope="module")
def small(small_checkpoint: Checkpoint) -> Upscaler:
    return Upscaler(small_checkpoint, EngineOptions("openvino", "fp32"))


def loaded(precision: str, tile: int | None = None) -> Upscaler:
    try:
        return Upscaler.load("srresnet-x4", precision=precision, tile=tile)
    except EngineError as error:
        pytest.skip(str(error))


BORDER = srresnet_tiling(tail_halo=0).border


def untiled(upscaler: Upscaler, image: np.ndarray) -> np.ndarray:
    """The network on the whole picture and its mirror image around it, rounded to 8 bits."""
    unshuffle = upscaler.engine_for(image.dtype).unshuffle
    border = BORDER * unshuffle
    sides = [(border, border + -side % unshuffle) for side in image.shape[:2]]
    bordered = np.pad(image, [*sides, (0, 0)], "symmetric")
    lr = (bordered.astype(np.float32) / 255).transpose(2, 0, 1)[None]
    sr = upscaler.engine_for(image.dtype)(lr)[0].transpose(1, 2, 0)
    rows, columns = (
        slice(border * upscaler.scale, (border + side) * upscaler.scale) for side in image.shape[:2]
    )
    return np.rint(sr[rows, columns].clip(0, 1) * 255).astype(int)


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    height=st.integers(40, 160),
    width=st.integers(40, 160),
    tile=st.integers(64, 120),
    tail=st.tuples(st.integers(20, 200), st.integers(20, 200)),
)
@pytest.mark.parametrize(("precision", "levels"), [("fp32", 1), ("bf16", 2)])
def test_tiled_is_untiled(
    precision: str,
    levels: int,
    height: int,
    width: int,
    tile: int,
    tail: tuple[int, int],
) -> None:
    from skimage import data

    image = data.astronaut()[20 : 20 + height, 120 : 120 + width]
    upscaler = loaded(precision, tile)
    with pytest.MonkeyPatch.context() as patch:
        engine = upscaler.engine_for(image.dtype)
        patch.setattr(engine, "tiling", replace(engine.tiling, tail=tail))
        tiled = upscaler(image).astype(int)
    assert np.abs(tiled - untiled(upscaler, image)).max() <= levels


@pytest.mark.parametrize(
    ("model", "widest"), [("srresnet-x4", UNLIMITED), ("srresnet-blurry-x4", 100)]
)
def test_default_tiles_are_untiled(
    model: str, widest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The blurry model looks farther: with a halo of 16 its tiles would be 2 levels off."""
    from skimage import data

    image = data.coffee()[100:300, 100:420]
    upscaler = Upscaler.load(model, precision="fp32")
    engine = upscaler.engine_for(image.dtype)
    monkeypatch.setattr(engine, "tiling", replace(engine.tiling, pixels=12_000, widest=widest))
    blocks = list(upscaler.rows(image))
    assert len(blocks) > 2
    difference = np.concatenate(blocks).astype(int) - untiled(upscaler, image)
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("bands", [2, 4])
def test_the_network_can_enlarge_alpha(
    small_checkpoint: Checkpoint, small: Upscaler, astronaut: np.ndarray, bands: int
) -> None:
    """Alpha comes out as the same values do as a gray picture."""
    options = EngineOptions("openvino", "fp32", alpha="network")
    colour, alpha = astronaut[..., : bands - 1], astronaut[..., 1:2]
    sr = Upscaler(small_checkpoint, options)(np.dstack([colour, alpha]))
    np.testing.assert_array_equal(sr[..., -1:], small(alpha))
    plain = small(np.dstack([colour, alpha]))
    assert np.abs(plain[..., -1:].astype(int) - sr[..., -1:]).max() > 4


def test_sr_is_better_than_bicubic(shipped: Upscaler) -> None:
    from skimage import data

    hr = data.astronaut()[:400, :480]
    lr = bicubic_8bit(hr, 100, 120)
    plain = bicubic(lr.astype(float), 400, 480)
    error = [np.mean((x.astype(float) - hr) ** 2) for x in (shipped(lr), plain)]
    assert error[0] < 0.7 * error[1]  # 1.5 dB


@pytest.mark.parametrize("bands", [None, 1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_arrays_give_the_same_kind(
    small: Upscaler, astronaut: np.ndarray, bands: int | None, dtype: type
) -> None:
    levels = {np.uint8: 255, np.uint16: 65535}.get(dtype, 1)
    image = np.dstack([astronaut, astronaut[..., :1]])[:20, :30, : bands or 1]
    image = (image / 255 * levels).astype(dtype)
    image = image[..., 0] if bands is None else image
    sr = small(image)
    assert sr.dtype == dtype
    assert sr.shape == (80, 120, *image.shape[2:])
    assert 0 <= sr.min() <= sr.max() <= levels


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "1", "CMYK", "I;16"])
def test_pil_images_give_pil_images(small: Upscaler, astronaut: np.ndarray, mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(astronaut[..., 0].astype(np.uint16) * 257)
    else:
        image = Image.fromarray(astronaut).convert(mode)
    sr = small(image)
    assert isinstance(sr, Image.Image)
    assert sr.size == (480, 384)
    assert sr.mode == {"P": "RGB", "1": "L", "CMYK": "RGB"}.get(mode, mode)


def test_paths_give_arrays(small: Upscaler, photo: Path) -> None:
    sr = small(photo)
    picture = open_picture(photo)
    np.testing.assert_array_equal(sr, small(picture[:96, :120]))
    np.testing.assert_array_equal(sr, small(str(photo)))


def test_module_level_upscale(astronaut: np.ndarray) -> None:
    assert srgan.upscale(astronaut[:16, :16]).shape == (64, 64, 3)
    assert srgan.upscale(astronaut[:16, :16], scale=2).shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("image", "error"),
    [
        (np.zeros((4, 4, 5), np.uint8), ValueError),
        (np.zeros(4, np.uint8), ValueError),
        (np.zeros((0, 4, 3), np.uint8), ValueError),
        (np.zeros((4, 4, 3), np.int64), TypeError),
        (np.zeros((4, 4, 3), bool), TypeError),
        (np.full((4, 4, 3), np.nan), ValueError),
        (np.full((4, 4, 3), 255.0), ValueError),
    ],
)
def test_other_arrays_are_refused(
    small: Upscaler, image: np.ndarray, error: type[Exception]
) -> None:
    with pytest.raises(error, match="an image"):
        small(image)


@pytest.mark.parametrize("shape", [(1, 1), (1, 70), (3, 5000), (5000, 3)])
def test_odd_sizes(small: Upscaler, shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), 128, np.uint8)
    assert small(image).shape == (4 * shape[0], 4 * shape[1], 3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 96), (2, 2), (3, 3), (7, 40)])
@pytest.mark.parametrize("scale", [None, 1, 3])
def test_pictures_of_few_pixels_keep_their_colours(
    shipped: Upscaler, shape: tuple[int, int], scale: float | None
) -> None:
    image = np.tile(np.array([200, 30, 60], np.uint8), (*shape, 1))
    sr = shipped(image, scale=scale)
    assert sr.shape == (*(n * (scale or 4) for n in shape), 3)
    assert np.abs(sr.astype(int) - [200, 30, 60]).mean() < 1.5


@pytest.mark.parametrize("scale", [0, -1, 9, float("nan")])
def test_other_scales_are_refused(small: Upscaler, astronaut: np.ndarray, scale: float) -> None:
    with pytest.raises(ValueError, match="scale must be"):
        small(astronaut, scale=scale)


def test_profile_and_byte_order(small: Upscaler, astronaut: np.ndarray) -> None:
    image = Image.fromarray(astronaut)
    image.info["icc_profile"] = b"profile"
    sr = small(image)
    assert isinstance(sr, Image.Image)
    assert sr.info["icc_profile"] == b"profile"
    wide = astronaut.astype(np.uint16) * 257
    np.testing.assert_array_equal(small(wide.astype(">u2")), small(wide))
    with pytest.raises(TypeError, match="mode F"):
        small(image.convert("F"))


def test_tiles_have_the_side_that_was_asked_for(
    small_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    upscaler = Upscaler(small_checkpoint, EngineOptions("openvino", "fp32", tile=100))
    engine = upscaler.engine_for(np.dtype(np.uint8))
    features = engine.features
    shapes: list[tuple[int, ...]] = []
    monkeypatch.setattr(
        engine, "features", lambda lr: (shapes.append(lr.shape[2:]), features(lr))[1]
    )
    upscaler(np.zeros((400, 400, 3), np.uint8))
    assert (np.max(shapes, 0) > 90).all()  # equal tiles may be a little smaller
    assert (np.max(shapes, 0) <= 100).all()


def test_gray_is_the_mean_of_the_network_on_gray(small: Upscaler, astronaut: np.ndarray) -> None:
    gray = astronaut[..., 1]
    colour = np.concatenate(list(small.rows(np.dstack([gray] * 3), gray=False))).astype(float)
    assert np.ptp(colour, axis=2).max() > 2  # the network gives gray a tint
    np.testing.assert_allclose(small(gray), colour.mean(2), atol=1)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_gray_in_three_bands_stays_gray(small: Upscaler, astronaut: np.ndarray, dtype: str) -> None:
    gray = (astronaut[..., 1] * (levels(np.dtype(dtype)) / 255)).astype(dtype)
    rgb = np.dstack([gray] * 3)
    for scale in (4, 3):
        result = small(rgb, scale=scale)
        assert np.ptp(result, axis=2).max() == 0
        assert np.array_equal(result[..., 0], small(gray, scale=scale))
    alpha = np.full_like(gray, rgb.max())
    alpha[: len(alpha) // 2] = 0
    assert np.ptp(small(np.dstack([rgb, alpha]))[..., :3], axis=2).max() == 0
    rgb[-1, -1, 0] = rgb[-1, -1, 1] / 2 + rgb.max() / 4  # one pixel in colour
    assert np.ptp(small(rgb), axis=2).max() > 0


def test_a_gray_webp_stays_gray(small: Upscaler, astronaut: np.ndarray, tmp_path: Path) -> None:
    """Its decoder gives some gray pixels values that differ by one."""
    Image.fromarray(np.dstack([astronaut[..., 1]] * 3)).save(tmp_path / "gray.webp", quality=80)
    picture = open_picture(tmp_path / "gray.webp")
    assert np.ptp(picture[:, :], axis=2).max() == 1
    assert np.ptp(small(tmp_path / "gray.webp"), axis=2).max() == 0
    tinted = np.full((20, 20, 3), (250, 249, 249), np.uint8)  # that is no rounding
    assert not is_gray(tinted)


def test_16_bit_keeps_its_levels(shipped: Upscaler) -> None:
    """A ramp of 16-bit levels within four 8-bit ones must not turn into steps.

    Of the ramp's shape SR is half a step of 8 bits off, 129 levels, where it has only 8 bits, and
    nearly as much where it is computed in bf16.
    """
    ramp = np.linspace(30_000, 31_000, 120)
    image = np.repeat(np.tile(ramp.astype(np.uint16), (40, 1))[..., None], 3, 2)
    auto = Upscaler.load("srresnet-x4")
    sr = auto(image)[80, 40:-40, 0]
    assert auto.engine_for(np.dtype(np.uint16)).precision == "fp32"
    eight_bit = Upscaler.load("srresnet-x4", engine="openvino").engine_for(np.dtype(np.uint8))
    assert eight_bit.precision == cpu_precision(load_checkpoint("srresnet-x4").info)
    places = (np.arange(480) + 0.5) / 4 - 0.5
    error = sr - np.interp(places, np.arange(120), ramp)[40:-40]
    assert np.abs(error - error.mean()).max() < 64
    np.testing.assert_array_equal(sr, shipped(image)[80, 40:-40, 0])


@pytest.mark.parametrize("scale", [1, 1.5, 2, 3, 4, 8])
def test_any_scale_is_the_result_resized(
    shipped: Upscaler, astronaut: np.ndarray, scale: float
) -> None:
    image = astronaut[:50, :70]
    sr = shipped(image, scale=scale)
    assert sr.shape == (round(50 * scale), round(70 * scale), 3)
    resized = bicubic(shipped(image).astype(float), *sr.shape[:2]).clip(0, 255)
    np.testing.assert_allclose(sr, resized, atol=1.3)  # two roundings, sharpened by bicubic


def disc(size: int) -> np.ndarray:
    """Alpha of a disc, (size, size) uint8, soft over one pixel."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return ((size / 3 - np.hypot(y, x)).clip(0, 1) * 255).astype(np.uint8)


@pytest.mark.parametrize("hidden", [0, 255])
def test_no_fringe_from_hidden_colours(shipped: Upscaler, hidden: int) -> None:
    """What lies under alpha 0 must not show; composed, the edge stays between both colours."""
    alpha = disc(96)
    image = np.dstack([np.full((96, 96, 3), 150, np.uint8), alpha])
    image[alpha == 0, :3] = hidden
    sr = shipped(image).astype(float)
    opacity = sr[..., 3:] / 255
    for background in (0, 255):
        composed = sr[..., :3] * opacity + background * (1 - opacity)
        assert composed.min() > min(background, 150) - 8
        assert composed.max() < max(background, 150) + 8
    assert np.abs(sr[sr[..., 3] > 20, :3] - 150).max() < 8
    np.testing.assert_allclose(
        sr[..., 3], bicubic(alpha.astype(float), 384, 384).clip(0, 255), atol=1
    )


@pytest.mark.parametrize("scale", [2, 4])
def test_a_faint_background_leaves_no_halo(shipped: Upscaler, scale: int) -> None:
    image = np.zeros((64, 64, 4), np.uint8)
    image[..., 3] = 3
    y, x = np.mgrid[:64, :64] - 32
    image[np.hypot(y, x) < 16] = (200, 200, 200, 255)
    sr = shipped(image, scale=scale).astype(int)
    assert np.abs(sr[sr[..., 3] > 250, :3] - 200).max() <= 8
    assert sr[:4, :4, :3].max() <= 3  # the background keeps its colour


@pytest.mark.parametrize("scale", [2, 4])
def test_colours_under_alpha_0_are_kept(
    shipped: Upscaler, astronaut: np.ndarray, scale: int
) -> None:
    """Textures and masks store colours there."""
    alpha = np.zeros_like(astronaut[:64, :80, :1])
    alpha[20:30, 20:30] = 255
    image = np.concatenate([astronaut[:64, :80], alpha], 2)
    sr = shipped(image, scale=scale)
    expected = bicubic(image[..., :3].astype(float), 64 * scale, 80 * scale).clip(0, 255)
    hidden = sr[..., 3] == 0
    assert hidden.mean() > 0.9
    assert np.abs(sr[..., :3] - expected)[hidden].mean() < 6
    beside = hidden[18 * scale : 32 * scale, 18 * scale : 32 * scale]
    near = np.abs(sr[..., :3] - expected)[18 * scale : 32 * scale, 18 * scale : 32 * scale]
    assert near[beside].mean() < 6


def test_transparent_pixels_take_the_colour_around_them() -> None:
    colour = np.zeros((20, 20, 3), np.float32)
    colour[:, :10] = 0.7
    alpha = np.zeros((20, 20, 1), np.float32)
    alpha[:, :10] = 1
    filled = fill_transparent(colour, alpha)
    np.testing.assert_allclose(filled[:, :14], 0.7, atol=1e-6)
    np.testing.assert_array_equal(filled[:, 15:], 0)


@pytest.fixture
def failing(small_checkpoint: Checkpoint) -> Callable[[float], Upscaler]:
    """An upscaler whose trunk runs out of memory above so many pixels."""

    def build(limit: float) -> Upscaler:
        upscaler = Upscaler(small_checkpoint, EngineOptions("openvino", "fp32"))
        engine = upscaler.engine_for(np.dtype(np.uint8))
        features = engine.features

        def limited(lr: np.ndarray) -> np.ndarray:
            if lr.shape[2] * lr.shape[3] > limit:
                raise MemoryError("no room")
            return features(lr)

        engine.features = limited  # type: ignore[method-assign]
        return upscaler

    return build


def test_out_of_memory_takes_smaller_tiles(
    failing: Callable[[float], Upscaler],
    small: Upscaler,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from skimage import data

    image = data.coffee()[:300, :300]
    with caplog.at_level(logging.WARNING, "srgan"):
        sr = failing(60_000)(image)
    # 600,000, 150,000, then 37,500 pixels; in bf16 800,000, 200,000, then 50,000
    assert caplog.text.count("out of memory") == 2
    assert np.abs(sr.astype(int) - small(image)).max() <= 1


def test_out_of_memory_ends_when_tiles_are_smallest(
    failing: Callable[[float], Upscaler], astronaut: np.ndarray
) -> None:
    with pytest.raises(MemoryError):
        failing(100)(astronaut)


def test_not_finite_is_computed_again_in_fp32(
    small_checkpoint: Checkpoint, astronaut: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    upscaler = Upscaler(small_checkpoint, EngineOptions("openvino", "fp32"))
    exact = Upscaler(small_checkpoint, EngineOptions("openvino", "fp32"))
    engine = upscaler.engine_for(np.dtype(np.uint8))
    engine.precision = "bf16"  # type: ignore[misc]
    upscaler._engines = {"bf16": engine}
    upscaler.options = EngineOptions("openvino", "bf16")
    engine.reconstruct = lambda x: np.full((1, 3, x.shape[2] * 4, x.shape[3] * 4), np.nan)  # type: ignore[method-assign]
    with caplog.at_level(logging.WARNING, "srgan"):
        sr = upscaler(astronaut)
    assert "not finite" in caplog.text
    np.testing.assert_array_equal(sr, exact(astronaut))


def test_not_finite_in_fp32_is_an_error(
    small_checkpoint: Checkpoint, astronaut: np.ndarray
) -> None:
    upscaler = Upscaler(small_checkpoint, EngineOptions("openvino", "fp32"))
    engine = upscaler.engine_for(np.dtype(np.uint8))
    engine.reconstruct = lambda x: np.full((1, 3, x.shape[2] * 4, x.shape[3] * 4), np.nan)  # type: ignore[method-assign]
    with pytest.raises(EngineError, match="damaged"):
        upscaler(astronaut)


def test_rounding_is_to_nearest(small: Upscaler, astronaut: np.ndarray) -> None:
    exact = small(astronaut / 255.0) * 255
    assert np.abs(small(astronaut) - exact).max() <= 0.5 + 1e-3


def test_resizing_rounds_once(small: Upscaler, astronaut: np.ndarray) -> None:
    """Through 8-bit levels in between, the error would pass one half."""
    exact = small(astronaut / 255.0, scale=2) * 255
    assert np.abs(small(astronaut, scale=2) - exact).max() <= 0.5 + 1e-2


def test_flips_and_turns_commute_with_the_result(small: Upscaler, astronaut: np.ndarray) -> None:
    """The mean over all 8 is the same for a turned picture, turned back; one run is not."""
    turned = np.rot90(astronaut)
    ensemble, alone = (
        [small(astronaut, tta=tta), np.rot90(small(turned, tta=tta), -1)] for tta in (True, False)
    )
    assert np.abs(ensemble[0].astype(int) - ensemble[1]).max() <= 1
    assert np.abs(alone[0].astype(int) - alone[1]).max() > 1


def test_rows_come_in_order_and_stop_when_closed(
    small: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    from skimage import data

    engine = small.engine_for(np.dtype(np.uint8))
    monkeypatch.setattr(engine, "tiling", replace(engine.tiling, pixels=64 * 64))
    reads: list[slice] = []

    class Watched:
        """A picture that notes which rows are read."""

        shape, dtype = (512, 512, 3), np.dtype(np.uint8)

        def __getitem__(self, window: tuple[slice, slice]) -> np.ndarray:
            reads.append(window[0])
            return data.astronaut()[window]

    rows = small.rows(Watched())
    first = next(rows)
    assert first.shape[1:] == (2048, 3)
    assert max(r.stop for r in reads) < 100
    rows.close()
    assert max(r.stop for r in reads) < 100


def test_very_wide_pictures_come_in_low_bands(
    small: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiles, "BAND_BYTES", 40 * 16 * 3 * 2000)
    monkeypatch.setattr(module, "BLOCK_BYTES", 1_000_000)
    image = np.zeros((200, 2000, 3), np.uint8)
    heights: list[int] = []
    engine = small.engine_for(image.dtype)
    features = engine.features
    monkeypatch.setattr(
        engine, "features", lambda lr: (heights.append(lr.shape[2]), features(lr))[1]
    )
    blocks = list(small.rows(image))
    assert max(heights) <= 40 + 2 * engine.tiling.halo
    assert max(block.nbytes for block in blocks) <= 1_000_000
    assert sum(len(block) for block in blocks) == 800


def test_small_tiles_are_refused() -> None:
    with pytest.raises(OptionError, match="64"):
        Upscaler.load("srresnet-x4", tile=32)


def test_progress_is_told_at_every_tile_and_may_end_the_work(small_checkpoint: Checkpoint) -> None:
    upscaler = Upscaler(small_checkpoint, EngineOptions(tile=64))
    image = np.zeros((150, 130, 3), np.uint8)
    fractions: list[float] = []
    for _ in upscaler.rows(image, progress=fractions.append):
        pass
    assert len(fractions) > 8
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1)

    def stop(fraction: float) -> None:
        if fraction > 0.5:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        for _ in upscaler.rows(image, progress=stop):
            pass


def test_tiles_of_a_network_that_adds_to_lr(astronaut: np.ndarray) -> None:
    """LR goes along with the features, and tiles' edges must not show in its enlargement."""
    options = {"trunk": "none", "hr_conv": True, "bilinear": True, "output": "clamp"}
    checkpoint = random_checkpoint(Architecture(2, 8, **options))  # type: ignore[arg-type]
    upscaler = Upscaler(checkpoint, EngineOptions("openvino", "fp32", tile=64))
    tiled = upscaler(astronaut).astype(int)
    assert tiled.std() > 5
    assert np.abs(tiled - untiled(upscaler, astronaut)).max() <= 1


SAME_SIZE = Architecture(2, 8, scale=1, unshuffle=4, bilinear=True, output="clamp")


@pytest.mark.parametrize(
    ("architecture", "shape", "tta"),
    [
        (SAME_SIZE, (301, 277), False),
        (SAME_SIZE, (270, 61), True),
        (Architecture(2, 8, scale=2, unshuffle=2), (151, 129), False),
        (Architecture(2, 8, scale=3), (81, 67), False),
    ],
    ids=["same-size", "same-size-tta", "unshuffled", "x3"],
)
def test_tiles_of_networks_of_other_scales(
    architecture: Architecture, shape: tuple[int, int], tta: bool
) -> None:
    """Of a picture with alpha whose sides are no multiples of unshuffle."""
    image = np.random.default_rng(0).integers(0, 256, (*shape, 4), np.uint8)
    image[..., 3] |= 128  # where nothing is transparent, colours do not depend on alpha
    checkpoint = random_checkpoint(architecture)
    tiled = Upscaler(checkpoint, EngineOptions("openvino", "fp32", tile=64))(image, tta=tta)
    whole = Upscaler(checkpoint, EngineOptions("openvino", "fp32"))
    expected = whole(image, tta=tta).astype(int)
    assert tiled.shape == (shape[0] * architecture.scale, shape[1] * architecture.scale, 4)
    assert np.abs(tiled - expected).max() <= 1
    if not tta:
        colour = np.ascontiguousarray(image[..., :3])
        assert np.abs(expected[..., :3] - untiled(whole, colour)).max() <= 1


def test_the_same_size_keeps_what_the_network_leaves(astronaut: np.ndarray) -> None:
    """Every pixel and alpha in its place, for all kinds of pictures."""
    checkpoint = random_checkpoint(SAME_SIZE)
    for name in ("tail.weight", "tail.bias"):
        checkpoint.tensors[name][:] = 0
    upscaler = Upscaler(checkpoint, EngineOptions("openvino", "fp32"))
    for image in (astronaut, astronaut[..., 0], astronaut[:5, :7], astronaut[:1, :1]):
        np.testing.assert_array_equal(upscaler(np.ascontiguousarray(image)), image)


@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (700, 2)])
def test_pictures_below_the_border_are_mirrored_again(
    small: Upscaler, shape: tuple[int, int]
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    assert np.abs(small(image).astype(int) - untiled(small, image)).max() <= 1


def test_thin_pictures_are_read_and_yielded_in_parts(
    small: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = small.engine_for(np.dtype(np.uint8))
    monkeypatch.setattr(engine, "tiling", replace(engine.tiling, pixels=64 * 64))
    reads: list[slice] = []

    class Watched:
        """A picture of one column that notes which rows are read."""

        shape, dtype = (5000, 1, 3), np.dtype(np.uint8)

        def __getitem__(self, window: tuple[slice, slice]) -> np.ndarray:
            reads.append(window[0])
            return np.full((window[0].stop - window[0].start, 1, 3), (0, 0, 9), np.uint8)

    rows = small.rows(Watched())
    assert next(rows).shape[1:] == (4, 3)
    assert max(r.stop for r in reads) < 1000
    assert sum(len(block) for block in rows) < 20_000
    assert max(r.stop - r.start for r in reads) < 1000


@pytest.mark.parametrize("model", ["srresnet-x4"])
def test_the_border_shows_no_dark_frame(model: str) -> None:
    """With zeros around it, a flat picture's edges are up to 62 levels off its middle."""
    upscaler = Upscaler.load(model, precision="fp32")
    for colour in ((255, 0, 0), (255, 255, 0), (255, 255, 255)):
        sr = upscaler(np.full((40, 40, 3), colour, np.uint8)).astype(int)
        frame = sr.copy()
        frame[16:-16, 16:-16] = colour
        assert np.abs(frame - colour).max() <= 2


@pytest.mark.parametrize("model", shipped_models())
def test_flat_colours_stay(model: str) -> None:
    """Pure colours are rare in photographs: training adds crops of one colour."""
    most = 2 if model == "srresnet-x4" else 4
    upscaler = Upscaler.load(model, precision="fp32")
    for colour in itertools.product((0, 128, 255), repeat=3):
        sr = upscaler(np.full((24, 24, 3), colour, np.uint8)).astype(int)
        assert np.abs(sr - colour).max() <= most, colour


def test_transparent_pixels_look_further_than_a_small_network() -> None:
    picture, engine = with_few_visible_pixels(96, 120), Mean3x3()

    def rows(tile: int) -> np.ndarray:
        run = TiledRun(picture, picture.dtype, engine, lambda: engine, tta=False)
        return np.concatenate(list(run.rows(tile, lambda _: None)))

    np.testing.assert_array_equal(rows(64), rows(1000))


def test_a_model_file_that_changed_is_loaded_again(tmp_path: Path, astronaut: np.ndarray) -> None:
    model = tmp_path / "model.safetensors"
    results: list[np.ndarray] = []
    for seed in (0, 1):
        save_checkpoint(model, random_checkpoint(SMALL, seed))
        results.append(srgan.upscale(astronaut, model))
    assert not np.array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[1], Upscaler.load(model)(astronaut))


@pytest.mark.parametrize("mode", ["La", "RGBa"])
def test_pil_images_with_premultiplied_alpha(
    small: Upscaler, astronaut: np.ndarray, mode: str
) -> None:
    straight = Image.fromarray(astronaut).convert(mode.upper())
    straight.putalpha(200)
    result = small(straight.convert(mode))
    assert result.mode == mode.upper()
    assert np.abs(np.asarray(result).astype(int) - np.asarray(small(straight))).max() <= 3
