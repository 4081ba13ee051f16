"""Animations: every frame, its duration and how often they play; alpha; damage."""

import io
import struct
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips as typed_pyvips
from PIL import Image, PngImagePlugin

from srgan.pictures.animations import animation_of, frames_of_animation, write_animation
from srgan.pictures.images import PictureError, open_picture
from tests.support.animations import DURATIONS, FRAMES, RGB, SUFFIXES, animated, shown
from tests.support.command import Command

pyvips: Any = typed_pyvips


@pytest.mark.parametrize("format", SUFFIXES)
def test_the_command_keeps_all_frames(
    srgan: Command, tmp_path: Path, small_model: Path, format: str
) -> None:
    name = f"clip{SUFFIXES[format]}"
    (tmp_path / name).write_bytes(animated(format, loop=0))
    result = srgan("upscale", name, "-m", small_model)
    assert (result.returncode, result.stderr) == (0, "")
    large = f"clip_x4{SUFFIXES[format]}"
    assert result.stdout.startswith(f"{name} -> {large}  64x48 -> 256x192")
    assert len(result.stdout.splitlines()) == 1
    frames, durations, plays = shown((tmp_path / large).read_bytes())
    assert durations == DURATIONS
    assert {frame.shape for frame in frames} == {(192, 256, 4)}
    assert plays == (None if format == "AVIF" else 0)
    same = srgan("upscale", name, "-m", small_model, "--first-frame")
    still = "clip_x4.png" if format in ("GIF", "PNG") else large
    if format == "GIF":
        assert "only the first of 4 frames is used" in same.stdout
        assert len(shown((tmp_path / still).read_bytes())[0]) == 1
    else:
        assert same.returncode == 1  # the result exists


@pytest.mark.parametrize("source", SUFFIXES)
@pytest.mark.parametrize("target", ["gif", "png", "webp", "avif"])
def test_frames_look_the_same_in_every_format(source: str, target: str) -> None:
    content = animated(source)
    picture = open_picture(content)
    animation = animation_of(picture, target)
    assert animation is not None
    assert (animation.frames, animation.bands) == (4, 3)
    frames = frames_of_animation(picture, animation)
    result, _ = write_animation(None, frames, animation, picture, format=target, quality=95)
    before, after = shown(content), shown(result)
    assert after[1] == before[1] == DURATIONS
    for a, b in zip(before[0], after[0], strict=True):
        assert np.abs(a - b).mean() < (12 if target == "gif" else 4)


@pytest.mark.parametrize(
    ("format", "loop", "plays"),
    [("GIF", None, 1), ("GIF", 0, 0), ("GIF", 2, 3), ("PNG", 3, 3), ("WEBP", 3, 3), ("PNG", 0, 0)],
)
def test_how_often_it_plays(format: str, loop: int | None, plays: int) -> None:
    options: dict[str, Any] = {} if loop is None else {"loop": loop}
    content = animated(format, **options)
    picture = open_picture(content)
    animation = animation_of(picture, picture.format)
    assert animation is not None
    assert animation.plays == plays
    frames = frames_of_animation(picture, animation)
    result, notes = write_animation(None, frames, animation, picture, format=picture.format)
    assert shown(result)[2] == loop
    assert notes == []


def gif_with_alpha(frames: list[np.ndarray]) -> bytes:
    """By libvips: Pillow loses the alpha of later frames."""
    image = pyvips.Image.new_from_array(np.concatenate(frames)).copy(interpretation="srgb")
    image.set_type(pyvips.GValue.gint_type, "page-height", len(frames[0]))
    image.set_type(pyvips.GValue.array_int_type, "delay", DURATIONS)
    return image.gifsave_buffer()


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP"])
def test_alpha_of_frames(format: str) -> None:
    """The first frame is opaque; transparency comes later."""
    frames = [np.dstack([frame, np.full(RGB.shape[:2], 255, np.uint8)]) for frame in FRAMES]
    frames[2][10:30, 20:40, 3] = 0
    picture = open_picture(gif_with_alpha(frames) if format == "GIF" else animated(format, frames))
    animation = animation_of(picture, picture.format)
    assert animation is not None
    assert animation.bands == 4
    result, _ = write_animation(
        None, frames_of_animation(picture, animation), animation, picture, format=picture.format
    )
    holes = [int((frame[..., 3] < 128).sum()) for frame in shown(result)[0]]
    assert holes == [0, 0, 400, 0]


def test_durations_of_a_thirtieth_of_a_second_stay_exact() -> None:
    picture = open_picture(animated("PNG", duration=100 / 3))
    animation = animation_of(picture, "png")
    assert animation is not None
    assert animation.durations == (Fraction(100, 3),) * 4
    result, _ = write_animation(
        None, frames_of_animation(picture, animation), animation, picture, format="png"
    )
    assert b"\0\1\0\x1e\0\0" in result  # 1/30


@pytest.mark.parametrize("format", SUFFIXES)
def test_a_damaged_frame_is_an_error(tmp_path: Path, format: str) -> None:
    content = animated(format)
    path = tmp_path / f"clip{SUFFIXES[format]}"
    path.write_bytes(content[: len(content) * 3 // 4])
    with pytest.raises(PictureError, match=r"cut short|decoded"):
        picture = open_picture(path)
        animation_of(picture, picture.format)


def test_damage_anywhere_in_an_avif_is_an_error() -> None:
    content = animated("AVIF")
    pixels = content.rindex(b"mdat") + 4
    errors = 0
    for start in range(pixels, len(content) - 20, max((len(content) - pixels) // 40, 1)):
        try:
            picture = open_picture(content[:start] + 20 * b"\xff" + content[start + 20 :])
            if (animation := animation_of(picture, "avif")) is not None:
                assert len(list(frames_of_animation(picture, animation))) == 4
        except PictureError:
            errors += 1
    assert errors > 0


def test_a_picture_that_does_not_move_is_a_picture() -> None:
    picture = open_picture(animated("GIF", FRAMES[:1]))
    assert animation_of(picture, "gif") is None
    assert animation_of(open_picture(animated("WEBP")), "jpeg") is None


def transcoded(content: bytes, format: str) -> bytes:
    picture = open_picture(content)
    animation = animation_of(picture, format)
    assert animation is not None
    frames = frames_of_animation(picture, animation)
    return write_animation(None, frames, animation, picture, format=format)[0]


@pytest.mark.parametrize("format", ["gif", "webp", "png", "avif"])
def test_a_damaged_count_of_plays(format: str) -> None:
    content = animated("PNG", loop=3)
    start = content.index(b"acTL")
    control = content[start : start + 8] + struct.pack(">I", 2_432_696_320)
    control += struct.pack(">I", zlib.crc32(control))
    result = transcoded(content[:start] + control + content[start + 16 :], format)
    plays = {"gif": 65_534, "webp": 65_535, "png": 2**31 - 1, "avif": None}
    assert shown(result)[2] == plays[format]


def with_late_exif(exif: bytes) -> bytes:
    """An animated PNG with EXIF after its frames."""
    content, chunk = animated("PNG"), b"eXIf" + exif
    added = struct.pack(">I", len(exif)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return content[:-12] + added + content[-12:]


def test_damaged_exif_in_avif_is_noted() -> None:
    picture = open_picture(with_late_exif(b"MM\0\xff" + bytes(20)))
    animation = animation_of(picture, "avif")
    assert animation is not None
    frames = frames_of_animation(picture, animation)
    result, notes = write_animation(None, frames, animation, picture, format="avif")
    assert notes == ["EXIF is damaged: left out"]
    assert len(shown(result)[0]) == 4


@pytest.mark.parametrize("format", ["PNG", "WEBP", "AVIF"])
def test_exif_after_the_frames_turns_all_of_them(format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = open_picture(with_late_exif(exif.tobytes()[6:]))
    animation = animation_of(picture, format.lower())
    assert animation is not None
    for frame, upright in zip(frames_of_animation(picture, animation), FRAMES, strict=True):
        np.testing.assert_array_equal(frame, np.rot90(upright, -1))
    assert picture.shape == (64, 48, 3)


def twelve(duration: Fraction | list[int]) -> bytes:
    return animated("PNG", [np.roll(RGB, 5 * k, 1) for k in range(12)], duration=duration)


@pytest.mark.parametrize("format", ["gif", "webp", "avif", "png"])
def test_durations_do_not_drift(format: str) -> None:
    durations = shown(transcoded(twelve(Fraction(100, 3)), format))[1]
    assert sum(durations) == pytest.approx(400)
    times = np.cumsum(durations) - np.arange(1, 13) * 100 / 3
    assert np.abs(times).max() <= (5 if format == "gif" else 0.5)


def test_short_and_long_frames_of_gif() -> None:
    """None is 0, or as short as browsers' limit: they show 10 ms as 100 ms."""
    assert shown(transcoded(twelve([4] * 12), "gif"))[1] == [10] * 12
    assert shown(transcoded(twelve([16] * 12), "gif"))[1] == [20] * 12
    mixed = [16] * 6 + [500] + [25] * 5
    found = shown(transcoded(twelve(mixed), "gif"))[1]
    assert found == [20] * 6 + [490, 20, 30, 20, 30, 20]
    longest = shown(transcoded(twelve([1_000_000] + [40] * 11), "gif"))[1]
    assert longest == [655_350] + [40] * 11


def test_long_frames_of_png() -> None:
    durations = shown(transcoded(animated("WEBP", duration=[100_001, 16_777_215, 40, 7]), "png"))[1]
    assert durations == pytest.approx([100_001, 16_777_215, 40, 7], abs=200)
    assert durations[0] == pytest.approx(100_001, abs=1)


def test_frames_of_16_bits_are_rounded_with_a_note() -> None:
    buffer = io.BytesIO()
    frames = [Image.fromarray(RGB[..., k].astype(np.uint16) * 257) for k in range(2)]
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:])
    picture = open_picture(buffer.getvalue())
    animation = animation_of(picture, "png")
    assert animation is not None
    _, notes = write_animation(
        None, frames_of_animation(picture, animation), animation, picture, format="png"
    )
    assert notes == ["16 bits rounded to 8: frames have no more"]


@pytest.mark.parametrize(
    ("target", "notes"),
    [
        ("avif", ["text is not kept in AVIF", "AVIF does not say how often it is shown"]),
        ("webp", ["text is not kept in WEBP"]),
        ("gif", ["text is not kept in GIF", "the colour label (cICP, gAMA) is not kept in GIF"]),
    ],
)
def test_what_an_animation_loses_is_said(target: str, notes: list[str]) -> None:
    info = PngImagePlugin.PngInfo()
    info.add(b"gAMA", (100_000).to_bytes(4, "big"))
    info.add_text("Copyright", "me")
    picture = open_picture(animated("PNG", pnginfo=info, loop=2))
    animation = animation_of(picture, target)
    assert animation is not None
    frames = frames_of_animation(picture, animation)
    result, said = write_animation(None, frames, animation, picture, format=target)
    assert said == notes
    assert ("icc_profile" in Image.open(io.BytesIO(result)).info) == (target != "gif")
