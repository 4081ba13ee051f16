"""Picture files: every mode in, every format out, metadata, failures, memory."""

import errno
import io
import logging
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips as typed_pyvips
import tifffile
from PIL import Image, ImageCms, IptcImagePlugin
from skimage import data

from srgan.pictures.images import (
    FORMATS,
    PICTURE_SUFFIXES,
    Picture,
    PictureError,
    TooManyPixelsError,
    check_output,
    open_picture,
    output_format,
    write_picture,
)

pyvips: Any = typed_pyvips  # its stubs are of no help with metadata
RGB = np.ascontiguousarray(data.coffee()[100:220, 150:340])
GRAY = np.ascontiguousarray(data.camera()[100:220, 150:340])
ALPHA = np.broadcast_to(np.linspace(0, 255, 190).astype(np.uint8), GRAY.shape)
RGBA = np.dstack([RGB, ALPHA])
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def wide(pixels: np.ndarray) -> np.ndarray:
    """16 bits a channel, with something in the low byte."""
    return pixels.astype(np.uint16) * 256 + 255 - pixels


def pil_bytes(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def tiff_bytes(pixels: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)  # pyright: ignore[reportArgumentType]
    return buffer.getvalue()


def vips_png(pixels: np.ndarray, interpretation: str) -> bytes:
    image = pyvips.Image.new_from_array(pixels).copy(interpretation=interpretation)
    return image.pngsave_buffer()


def save(path: Path, pixels: np.ndarray, source: Picture | None = None, **options) -> list[str]:
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    height, width, bands = pixels.shape
    blocks = (pixels[top : top + 50] for top in range(0, height, 50))
    arguments = {"format": output_format(path), "quality": None, "overwrite": False} | options
    return write_picture(
        path, blocks, (height, width, bands), pixels.dtype, source=source, **arguments
    )


SRGB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def lossless_cases() -> dict[str, tuple[bytes, str, np.ndarray]]:
    rgb, gray = Image.fromarray(RGB), Image.fromarray(GRAY)
    palette, bits = rgb.quantize(64), gray.convert("1")
    straight = {"photometric": "rgb", "extrasamples": ["unassalpha"]}
    return {
        "png": (pil_bytes(rgb, "PNG"), "png", RGB),
        "gray png": (pil_bytes(gray, "PNG"), "png", GRAY),
        "1-bit png": (pil_bytes(bits, "PNG"), "png", np.asarray(bits.convert("L"))),
        "palette png": (pil_bytes(palette, "PNG"), "png", np.asarray(palette.convert("RGB"))),
        "rgba png": (pil_bytes(Image.fromarray(RGBA), "PNG"), "png", RGBA),
        "16-bit gray png": (pil_bytes(Image.fromarray(wide(GRAY)), "PNG"), "png", wide(GRAY)),
        "16-bit gray+alpha png": (
            vips_png(wide(np.dstack([GRAY, ALPHA])), "grey16"),
            "png",
            wide(np.dstack([GRAY, ALPHA])),
        ),
        "16-bit rgba png": (vips_png(wide(RGBA), "rgb16"), "png", wide(RGBA)),
        "tiff": (tiff_bytes(RGB, photometric="rgb"), "tiff", RGB),
        "1-bit tiff": (pil_bytes(bits, "TIFF"), "tiff", np.asarray(bits.convert("L"))),
        "palette tiff": (pil_bytes(palette, "TIFF"), "tiff", np.asarray(palette.convert("RGB"))),
        "16-bit tiff": (tiff_bytes(wide(RGB), photometric="rgb"), "tiff", wide(RGB)),
        "rgba tiff": (tiff_bytes(RGBA, **straight), "tiff", RGBA),
        "big-endian bigtiff": (
            tiff_bytes(RGB, photometric="rgb", bigtiff=True, byteorder=">"),
            "tiff",
            RGB,
        ),
        "tiled tiff": (
            tiff_bytes(RGB, photometric="rgb", tile=(64, 64), compression="zlib"),
            "tiff",
            RGB,
        ),
        "planar tiff": (
            tiff_bytes(RGB.transpose(2, 0, 1).copy(), photometric="rgb", planarconfig="separate"),
            "tiff",
            RGB,
        ),
        "inverted tiff": (tiff_bytes(255 - GRAY, photometric="miniswhite"), "tiff", GRAY),
        "gif": (pil_bytes(palette, "GIF"), "gif", np.asarray(palette.convert("RGB"))),
        "bmp": (pil_bytes(rgb, "BMP"), "bmp", RGB),
        "gray bmp": (pil_bytes(gray, "BMP"), "bmp", GRAY),
        "webp": (pil_bytes(rgb, "WEBP", lossless=True), "webp", RGB),
    }


@pytest.mark.parametrize("case", lossless_cases())
def test_pixels_of_every_mode_are_exact(case: str) -> None:
    encoded, format, expected = lossless_cases()[case]
    expected = expected if expected.ndim == 3 else expected[..., None]
    picture = open_picture(encoded)
    assert (picture.format, picture.notes) == (format, ())
    assert (picture.shape, picture.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(picture[:, :], expected)
    np.testing.assert_array_equal(picture[60:90, 20:150], expected[60:90, 20:150])
    np.testing.assert_array_equal(picture[10:70, :30], expected[10:70, :30])  # backwards
    np.testing.assert_array_equal(picture[100:999, -5:], expected[100:999, -5:])
    assert picture[5:5, :].shape == expected[5:5, :].shape


@pytest.mark.parametrize("format", ["png", "tiff"])
@pytest.mark.parametrize("bands", [1, 2, 3, 4])
@pytest.mark.parametrize("bits", [8, 16])
def test_lossless_round_trip(tmp_path: Path, format: str, bands: int, bits: int) -> None:
    pixels = {1: GRAY[..., None], 2: np.dstack([GRAY, ALPHA]), 3: RGB, 4: RGBA}[bands]
    pixels = wide(pixels) if bits == 16 else pixels
    path = tmp_path / f"a [page=1].{format}"  # libvips would take this for options
    assert save(path, pixels) == []
    picture = open_picture(path)
    assert picture.format == format
    np.testing.assert_array_equal(picture[:, :], pixels)
    other = np.asarray(Image.open(path)) if bits == 8 else None
    if other is not None:  # a reader that is not libvips agrees
        np.testing.assert_array_equal(other.reshape(pixels.shape), pixels)
    assert names(tmp_path) == [path.name]


def test_tiny_and_odd_sizes_round_trip(tmp_path: Path) -> None:
    for shape in [(1, 1, 3), (1, 1, 1), (3, 500, 4), (501, 1, 2)]:
        pixels = np.resize(RGB, shape)
        path = tmp_path / "x.png"
        write_picture(path, [pixels], shape, pixels.dtype, format="png", overwrite=True)
        np.testing.assert_array_equal(open_picture(path.read_bytes())[:, :], pixels)


@pytest.mark.parametrize(("format", "floor"), [("jpeg", 38), ("webp", 34), ("avif", 38)])
def test_lossy_formats_come_close_and_obey_quality(
    tmp_path: Path, format: str, floor: float
) -> None:
    def encoded(quality: int | None) -> bytes:
        path = tmp_path / f"{quality}.{format}"
        if not path.exists():
            write_picture(path, [RGB], RGB.shape, RGB.dtype, format=format, quality=quality)
        return path.read_bytes()

    picture = open_picture(encoded(None))
    assert (picture.format, picture.shape) == (format, RGB.shape)
    error = np.mean((picture[:, :].astype(float) - RGB) ** 2)
    assert 10 * np.log10(255**2 / error) > floor
    assert len(encoded(30)) < len(encoded(None)) / 2


def test_gray_jpeg_stays_gray(tmp_path: Path) -> None:
    save(tmp_path / "gray.jpg", GRAY)
    assert open_picture(tmp_path / "gray.jpg").shape == (*GRAY.shape, 1)


def test_lossy_alpha_survives(tmp_path: Path) -> None:
    for name in ("a.webp", "a.avif"):
        assert save(tmp_path / name, RGBA) == []
        picture = open_picture(tmp_path / name)
        assert picture.shape == RGBA.shape
        assert np.abs(picture[:, :][..., 3].astype(int) - ALPHA).max() <= 4


def test_what_a_format_cannot_hold_is_converted_and_said(tmp_path: Path) -> None:
    notes = save(tmp_path / "a.jpg", wide(RGBA), quality=100)
    assert len(notes) == 2
    assert "transparency" in notes[0]
    assert "rounded to the 8" in notes[1]
    opacity = ALPHA[..., None] / 255.0
    expected = RGB * opacity + 255 * (1 - opacity)
    assert np.abs(open_picture(tmp_path / "a.jpg")[:, :] - expected).mean() < 2
    levels = np.arange(0, 65536, 257, dtype=np.uint16)  # the 8-bit levels, off by half a step
    ramp = np.broadcast_to(levels.clip(120, 65415), (8, 256))[..., None] - 120
    save(tmp_path / "ramp.jpg", ramp, quality=100)
    assert (open_picture(tmp_path / "ramp.jpg")[:1, :][0, 2:-2, 0] == np.arange(2, 254)).all()
    notes = save(tmp_path / "a.avif", wide(RGB))
    assert "12" in notes[0]
    assert open_picture(tmp_path / "a.avif").dtype == np.uint16


def test_premultiplied_tiff_becomes_straight() -> None:
    opaque = np.full_like(ALPHA, 128)
    pixels = np.dstack([RGB // 2, opaque])
    picture = open_picture(tiff_bytes(pixels, photometric="rgb", extrasamples=["assocalpha"]))
    assert np.abs(picture[:, :][..., :3].astype(int) - RGB).max() <= 3


def test_only_the_first_frame_or_page_is_used_and_said(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.roll(RGB, shift, 1)).quantize(32) for shift in (0, 9, 18)]
    animation = pil_bytes(frames[0], "GIF", save_all=True, append_images=frames[1:])
    picture = open_picture(animation)
    pixels = picture[:, :]
    assert save(tmp_path / "x.jpg", pixels, picture)[-1] == "only the first of 3 frames is used"
    np.testing.assert_array_equal(picture[:, :][..., :3], np.asarray(frames[0].convert("RGB")))
    pages = open_picture(tiff_bytes(np.stack([RGB, RGB]), photometric="rgb"))
    assert pages.notes == ("only the first of 2 pages is used",)
    assert pages.shape == RGB.shape


def test_surplus_bands_are_dropped_and_said() -> None:
    many = tiff_bytes(np.dstack([RGB, RGB]), photometric="rgb")
    picture = open_picture(many)
    assert picture.notes == ("only the RGB of 6 channels is used",)
    np.testing.assert_array_equal(picture[:, :], RGB)


def test_cmyk_becomes_srgb_and_leaves_its_profile_behind(tmp_path: Path) -> None:
    (tmp_path / "cmyk.jpg").write_bytes(pil_bytes(Image.fromarray(RGB).convert("CMYK"), "JPEG"))
    picture = open_picture(tmp_path / "cmyk.jpg")
    assert (picture.shape, picture.notes) == (RGB.shape, ("CMYK converted to sRGB",))
    assert np.corrcoef(picture[:, :].ravel(), RGB.ravel())[0, 1] > 0.95
    save(tmp_path / "out.jpg", picture[:, :], picture)
    assert Image.open(tmp_path / "out.jpg").info["icc_profile"][16:20] == b"RGB "


def test_lab_becomes_16_bit_srgb() -> None:
    lab = pyvips.Image.new_from_array(RGB).colourspace("labs")
    picture = open_picture(lab.tiffsave_buffer())
    assert picture.dtype == np.uint16
    assert "LAB" in picture.notes[0]
    assert np.abs(picture[:, :] / 257 - RGB).max() < 1.5


@pytest.mark.parametrize("format", FORMATS)
def test_metadata_is_kept_and_the_picture_upright(tmp_path: Path, format: str) -> None:
    thumbnail = pil_bytes(Image.fromarray(RGB[:60, :80]), "JPEG")
    source = pyvips.Image.new_from_array(RGB).copy(xres=300 / 25.4, yres=300 / 25.4)
    blobs = {"icc-profile-data": SRGB_PROFILE, "xmp-data": b"<x:xmpmeta/>"}
    iptc = b"Photoshop 3.0\x008BIM\4\4\0\0" + struct.pack(">I", 8) + b"\x1c\2\x78\0\3cat"
    blobs |= {"iptc-data": iptc, "jpeg-thumbnail-data": thumbnail}
    for name, blob in blobs.items():
        source.set_type(pyvips.GValue.blob_type, name, blob)
    source.set_type(pyvips.GValue.gint_type, "orientation", 6)
    make = "Kodak (Kodak, ASCII, 6 components, 6 bytes)"
    source.set_type(pyvips.GValue.gstr_type, "exif-ifd0-Make", make)
    (tmp_path / "in.jpg").write_bytes(source.jpegsave_buffer())
    assert pyvips.Image.new_from_file(str(tmp_path / "in.jpg")).get("jpeg-thumbnail-data")

    picture = open_picture(tmp_path / "in.jpg")
    assert picture.shape == (190, 120, 3)
    expected = np.rot90(RGB, -1)
    assert np.abs(picture[:, :].astype(int) - expected).mean() < 4
    out = tmp_path / f"out{FORMATS[format].suffixes[0]}"
    notes = save(out, np.repeat(picture[:, :], 2, axis=0), picture)
    again = pyvips.Image.new_from_file(str(out)).autorot()
    assert (again.width, again.height) == (120, 380)
    fields = again.get_fields()
    lost = FORMATS[format].lost
    assert notes == [f"{kind} is not kept in {format.upper()}" for kind in lost]
    if "ICC" not in lost:
        assert again.get("icc-profile-data") == SRGB_PROFILE
    if "XMP" not in lost:
        assert b"xmpmeta" in again.get("xmp-data")
    if "IPTC" not in lost:
        with Image.open(out) as opened:
            assert (IptcImagePlugin.getiptcinfo(opened) or {})[2, 120] == b"cat"
    assert "jpeg-thumbnail-data" not in fields
    assert not [name for name in fields if name.startswith("exif-ifd1")]
    with Image.open(out) as opened:
        exif = opened.getexif()
    assert exif[0x010F] == "Kodak"
    assert round(exif[0x011A]) == 300
    if format in ("jpeg", "png", "tiff"):
        assert again.xres * 25.4 == pytest.approx(300, abs=0.1)


def test_resolution_of_webp_comes_from_its_exif(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x011A], exif[0x011B], exif[0x0128] = 240.0, 240.0, 2
    picture = open_picture(pil_bytes(Image.fromarray(RGB), "WEBP", exif=exif))
    save(tmp_path / "out.jpg", RGB, picture)
    assert Image.open(tmp_path / "out.jpg").info["dpi"] == pytest.approx((240, 240), abs=0.1)


@pytest.mark.parametrize(("said", "expected"), [(None, 1), (1, 1), (65535, 65535)])
@pytest.mark.parametrize("order", ["II", "MM"])
def test_exif_does_not_call_srgb_uncalibrated(
    tmp_path: Path, said: int | None, expected: int, order: str
) -> None:
    exif = Image.Exif()
    exif.endian = "<" if order == "II" else ">"
    exif.get_ifd(0x8769)[0x9003] = "2020:01:01 00:00:00"
    if said is not None:
        exif.get_ifd(0x8769)[0xA001] = said
    picture = open_picture(pil_bytes(Image.fromarray(RGB), "JPEG", exif=exif.tobytes()))
    save(tmp_path / "out.jpg", RGB, picture)
    assert Image.open(tmp_path / "out.jpg").getexif().get_ifd(0x8769)[0xA001] == expected


def test_nothing_is_made_up_where_there_is_no_metadata(tmp_path: Path) -> None:
    picture = open_picture(pil_bytes(Image.fromarray(RGB), "PNG"))
    save(tmp_path / "out.jpg", RGB, picture)
    assert "exif" not in Image.open(tmp_path / "out.jpg").info
    colour = pil_bytes(Image.fromarray(RGB), "PNG", icc_profile=SRGB_PROFILE)
    save(tmp_path / "gray.jpg", GRAY, open_picture(colour))
    assert "icc_profile" not in Image.open(tmp_path / "gray.jpg").info  # RGB's, on gray


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "AVIF", "BMP", "TIFF", "TILED"])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.97])
def test_a_file_cut_short_is_an_error(tmp_path: Path, format: str, part: float) -> None:
    if format == "TILED":
        whole = tiff_bytes(RGB, photometric="rgb", tile=(64, 64), compression="zlib")
    else:
        whole = pil_bytes(Image.fromarray(RGB), format)
    path = tmp_path / "cut.jpg"
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(PictureError, match=r"cut\.jpg: .*: get a fresh copy") as caught:
        open_picture(path)[:, :]
    assert "\n" not in str(caught.value)


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
    for content, reason in [
        (b"", "empty"),
        (b"hello", "not a picture"),
        (svg, "not a picture"),  # libvips could: what may not be opened is not
        (HEIC, "HEIC cannot be decoded here: .*convert it to JPEG or PNG"),
        (tiff_bytes(RGB.astype(np.float32), photometric="rgb"), "type float.*8 or 16 bits"),
    ]:
        (tmp_path / "x.png").write_bytes(content)
        with pytest.raises(PictureError, match=rf"x\.png: .*{reason}"):
            open_picture(tmp_path / "x.png")
    with pytest.raises(PictureError, match="no such file"):
        open_picture(tmp_path / "none.png")
    with pytest.raises(PictureError, match="is a folder"):
        open_picture(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PictureError, match="not an ordinary file"):
        open_picture(tmp_path / "pipe")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "AVIF", "BMP", "TIFF"])
def test_pixel_limit(format: str) -> None:
    encoded = pil_bytes(Image.fromarray(RGB), format)
    with pytest.raises(TooManyPixelsError, match="22,799: raise it with --max-pixels") as caught:
        open_picture(encoded, max_pixels=120 * 190 - 1)
    assert caught.value.reason.endswith("limit of 22,799")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert open_picture(encoded, max_pixels=120 * 190).shape == RGB.shape


def test_output_formats_and_limits(tmp_path: Path) -> None:
    assert output_format(Path("a.b/x.JPG")) == output_format("jpeg") == output_format("jpg")
    assert output_format("x.tif") == output_format("tiff") == "tiff"
    for name, known in (
        ("x.xyz", r"\.jpg, \.png"),
        ("nonsense", "jpeg, png"),
        (Path("x"), "jpeg, png"),
    ):
        with pytest.raises(PictureError, match=known):
            output_format(name)
    check_output("png", 100_000, 1)
    check_output("jpeg", 65_500, 1)
    for format, side in [("jpeg", 65_501), ("webp", 16_384), ("avif", 16_385)]:
        with pytest.raises(PictureError, match="--format"):
            check_output(format, 1, side)
    rows = iter([RGB])
    with pytest.raises(PictureError, match="AVIF holds at most 16,384"):
        write_picture(tmp_path / "x.avif", rows, (1, 20_000, 3), RGB.dtype, format="avif")
    assert next(rows) is RGB  # before any work
    assert {".jpg", ".png", ".tif", ".webp", ".avif", ".gif", ".bmp"} <= PICTURE_SUFFIXES


def test_nothing_is_overwritten_unless_told(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(b"precious")
    with pytest.raises(PictureError, match=r"x\.png: it already exists.*--overwrite"):
        save(path, RGB)
    assert path.read_bytes() == b"precious"
    save(path, RGB, overwrite=True)
    np.testing.assert_array_equal(open_picture(path)[:, :], RGB)
    save(path, RGB[::-1], overwrite=True)
    np.testing.assert_array_equal(open_picture(path)[:, :], RGB[::-1])  # nothing stale


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_overwriting_keeps_the_permissions(tmp_path: Path, mode: int) -> None:
    path, link = tmp_path / "x.png", tmp_path / "link.png"
    save(path, RGB)
    usual = path.stat().st_mode
    path.chmod(mode)
    link.symlink_to(path)
    seen: list[int] = []

    def rows() -> Iterator[np.ndarray]:
        (part,) = tmp_path.glob(".srgan-*")
        seen.append(part.stat().st_mode & 0o777)
        yield RGB

    write_picture(path, rows(), RGB.shape, RGB.dtype, format="png", overwrite=True)
    assert seen == [mode | 0o600]
    assert path.stat().st_mode & 0o777 == mode
    save(link, RGB, overwrite=True)
    assert path.stat().st_mode & 0o777 == mode
    save(tmp_path / "new.png", RGB, overwrite=True)
    assert (tmp_path / "new.png").stat().st_mode == usual


def test_a_file_made_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    def rows() -> Iterator[np.ndarray]:
        yield RGB
        (tmp_path / "x.png").write_bytes(b"precious")

    with pytest.raises(PictureError, match="already exists"):
        write_picture(tmp_path / "x.png", rows(), RGB.shape, RGB.dtype, format="png")
    assert (tmp_path / "x.png").read_bytes() == b"precious"
    assert names(tmp_path) == ["x.png"]


def test_a_disk_without_hard_links_is_as_careful(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(*_: object) -> None:
        raise OSError(errno.EPERM, "no hard links")

    monkeypatch.setattr(os, "link", no_link)
    (tmp_path / "other").mkdir()
    test_a_file_made_meanwhile_is_not_overwritten(tmp_path / "other")
    save(tmp_path / "x.png", RGB)
    np.testing.assert_array_equal(open_picture(tmp_path / "x.png")[:, :], RGB)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError, PictureError])
def test_what_the_rows_raise_propagates_and_leaves_nothing(
    tmp_path: Path, format: str, error: type[BaseException]
) -> None:
    raised = error("from the rows")

    def rows() -> Iterator[np.ndarray]:
        yield RGB[:70]
        raise raised

    with pytest.raises(error) as caught:
        write_picture(tmp_path / "x", rows(), RGB.shape, RGB.dtype, format=format)
    assert caught.value is raised
    assert names(tmp_path) == []
    assert not [thread for thread in threading.enumerate() if thread.name == "srgan-encoder"]


def test_ctrl_c_is_heard_while_rows_are_computed(tmp_path: Path) -> None:
    def rows() -> Iterator[np.ndarray]:
        yield RGB[:70]
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        time.sleep(20)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored under nohup
    try:
        with pytest.raises(KeyboardInterrupt):
            write_picture(tmp_path / "x.png", rows(), RGB.shape, RGB.dtype, format="png")
    finally:
        signal.signal(signal.SIGINT, before)
    assert names(tmp_path) == []


def test_the_file_is_closed_before_it_is_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows refuses to rename an open file."""
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs /proc")
    opened: list[str] = []
    link = os.link

    def watched(temporary: Path, path: Path) -> None:
        opened.extend(str(fd.readlink()) for fd in Path("/proc/self/fd").iterdir() if fd.exists())
        link(temporary, path)

    monkeypatch.setattr(os, "link", watched)
    for format in FORMATS:
        path = tmp_path / f"x.{format}"
        write_picture(path, [RGB], RGB.shape, RGB.dtype, format=format)
    assert opened
    assert not [name for name in opened if name.endswith(".part")]


def test_rows_that_do_not_fit_are_a_bug_said_at_once(tmp_path: Path) -> None:
    for rows in ([RGB[:70]], [RGB, RGB], [GRAY[..., None]], [wide(RGB)]):
        with pytest.raises(ValueError, match="rows"):
            write_picture(tmp_path / "x.png", rows, RGB.shape, RGB.dtype, format="png")
    assert names(tmp_path) == []


def test_folders_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "none" / "x.png", tmp_path / "file" / "x.png", Path("/proc/x.png")):
        with pytest.raises(PictureError, match=r"x\.png: its folder"):
            save(path, RGB)
    (tmp_path / "x.png").mkdir()
    with pytest.raises(PictureError, match="that is a folder"):
        save(tmp_path / "x.png", RGB, overwrite=True)


@pytest.mark.parametrize("suffix", [each.suffixes[0] for each in FORMATS.values()])
def test_a_disk_that_is_full(tmp_path: Path, suffix: str) -> None:
    script = """
import os, resource, sys
from pathlib import Path
import numpy as np
from srgan.pictures.images import PictureError, output_format, write_picture
path = Path(sys.argv[1])
noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3)).astype(np.uint8)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    write_picture(path, [noise], noise.shape, noise.dtype, format=output_format(path))
except PictureError as error:
    print(error, os.listdir(path.parent))
"""
    path = tmp_path / f"x{suffix}"
    ran = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False
    )
    assert ran.stdout.startswith(f"{path}: the file is too large for this disk")
    assert ran.stdout.endswith(" []\n")
    assert ran.stderr == ""  # libvips' warnings do not spill


def test_libvips_is_imported_late_and_says_nothing_aloud() -> None:
    script = (
        "import sys, srgan.pictures.images; print('pyvips' in sys.modules, 'PIL' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "False False\n"
    assert logging.getLogger("pyvips").handlers  # a NullHandler: warnings reach no terminal


MEMORY_SCRIPT = """
import resource, sys
from pathlib import Path
import numpy as np
from srgan.pictures.images import output_format, open_picture, write_picture
path, height, bands = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
band = np.random.default_rng(0).integers(0, 9, (64, 4000, bands)).astype(np.uint8)
def peak():
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, else KiB
    return peak // (2**20 if sys.platform == "darwin" else 1024)
def rows(count):
    return (band.copy() for _ in range(0, count, 64))
def write(count):
    shape = (count, 4000, bands)
    write_picture(path, rows(count), shape, band.dtype, format=output_format(path), overwrite=True)
write(640)
before = peak()
write(height)
print(peak() - before)
"""


@pytest.mark.parametrize(("suffix", "bands"), [(".png", 4), (".tif", 3), (".jpg", 3)])
def test_memory_does_not_grow_with_the_picture(tmp_path: Path, suffix: str, bands: int) -> None:
    command = [sys.executable, "-c", MEMORY_SCRIPT, str(tmp_path / f"x{suffix}"), "9600"]
    ran = subprocess.run(
        [*command, str(bands)], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert int(ran.stdout) < 40  # MB; the pixels are 115 (RGB) or 154 (RGBA)


@pytest.mark.parametrize("shape", [(1, 1_000_001), (1_000_001, 1)])
def test_a_side_too_long_for_memory_is_refused(tmp_path: Path, shape: tuple[int, int]) -> None:
    path = tmp_path / "long.png"
    pyvips.Image.black(shape[1], shape[0]).write_to_file(str(path))
    with pytest.raises(PictureError, match="no side may be longer than 1,000,000"):
        open_picture(path)
