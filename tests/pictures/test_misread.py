"""Files that libvips opens without an error, with wrong pixels: refused, or read rightly."""

import contextlib
import io
import struct
import threading
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, TiffImagePlugin
from skimage import data

from srgan.pictures.images import PictureError, open_picture

RGB = np.ascontiguousarray(data.astronaut()[60:92, 190:238])
GRAY = RGB[..., 1].copy()
ALPHA = np.linspace(0, 255, GRAY.size).reshape(GRAY.shape).astype(np.uint8)


def tiff(pixels: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("reason", "pixels", "options"),
    [
        (
            "YCbCr with separate planes or further channels",
            np.dstack([RGB, ALPHA]),
            {"photometric": "ycbcr", "extrasamples": [2]},
        ),
        ("this kind of LAB", RGB, {"photometric": "icclab"}),
        ("this kind of LAB", RGB, {"photometric": "itulab"}),
        ("this kind of LAB", RGB.astype(np.uint32), {"photometric": "cielab"}),
        ("compression 34925", RGB, {"photometric": "rgb", "tile": (16, 16), "compression": "lzma"}),
        (
            "gray and alpha in separate planes",
            np.stack([GRAY, ALPHA]),
            {"photometric": "minisblack", "planarconfig": "separate", "extrasamples": [2]},
        ),
        (
            "16-bit CMYK with premultiplied alpha",
            np.dstack([RGB, GRAY, ALPHA]).astype(np.uint16) * 257,
            {"photometric": "separated", "extrasamples": [1]},
        ),
    ],
)
def test_tiffs_that_libvips_misreads_are_refused(
    reason: str, pixels: np.ndarray, options: dict[str, Any]
) -> None:
    with pytest.raises(PictureError, match=f"{reason}.* cannot be read: save it "):
        open_picture(tiff(pixels, **options))


def test_the_thumbnail_of_a_raw_file_is_not_taken_for_the_picture() -> None:
    """DNG and NEF: a small first directory, and the picture in one below it."""
    for kind, is_refused in ((1, True), (0, False)):
        buffer = io.BytesIO()
        with tifffile.TiffWriter(buffer) as writer:
            writer.write(RGB[::4, ::4], photometric="rgb", subfiletype=kind, subifds=1)
            writer.write(RGB, photometric="rgb")
        if is_refused:
            with pytest.raises(PictureError, match=r"only the thumbnail .*: develop it first"):
                open_picture(buffer.getvalue())
        else:
            assert open_picture(buffer.getvalue()).shape == (8, 12, 3)


def test_16_bit_cmyk_keeps_its_alpha() -> None:
    pixels = np.dstack([255 - RGB, np.zeros_like(GRAY), ALPHA]).astype(np.uint16) * 257
    picture = open_picture(tiff(pixels, photometric="separated", extrasamples=[2]))
    assert picture.dtype == np.uint16
    np.testing.assert_array_equal(picture[:, :][..., 3], pixels[..., 4])
    assert np.abs(picture[:, :][..., :3] / 257 - RGB).mean() < 25


def test_a_palette_tiff_keeps_its_alpha() -> None:
    image = Image.fromarray(np.dstack([RGB, ALPHA])).convert("PA")
    buffer = io.BytesIO()
    image.save(buffer, "TIFF")
    np.testing.assert_array_equal(
        open_picture(buffer.getvalue())[:, :], np.asarray(image.convert("RGBA"))
    )


@pytest.mark.parametrize(("chunk", "place", "bits"), [(b"IHDR", 11, 48), (b"PLTE", 7, 128)])
def test_a_png_whose_checksum_is_wrong_is_an_error(chunk: bytes, place: int, bits: int) -> None:
    buffer = io.BytesIO()
    Image.fromarray(RGB).quantize(16).save(buffer, "PNG")
    file = bytearray(buffer.getvalue())
    at = file.index(chunk) + place
    file[at] ^= bits  # half the height, or another colour
    with pytest.raises(PictureError, match="get a fresh copy"):
        open_picture(bytes(file))[:, :]
    text = file.index(b"IDAT") - 4  # a chunk that readers may skip, with a wrong checksum
    file[at] ^= bits
    file[text:text] = struct.pack(">I4s1sI", 1, b"prVt", b"x", 0)
    assert open_picture(bytes(file))[:, :].shape == RGB.shape


def test_a_gif_whose_frame_is_damaged_is_an_error() -> None:
    buffer = io.BytesIO()
    Image.fromarray(RGB).quantize(16).save(buffer, "GIF")
    file = bytearray(buffer.getvalue())
    frame = file.index(b"\x2c\0\0\0\0" + struct.pack("<HH", RGB.shape[1], RGB.shape[0]))
    file[frame + 10] = 13  # the bits of a code: at most 11
    with pytest.raises(PictureError, match="get a fresh copy"):
        open_picture(bytes(file))[:, :]


def test_a_healthy_picture_beside_a_damaged_one_in_another_thread() -> None:
    """libvips keeps the errors of all threads in one buffer."""
    unknown_tag = TiffImagePlugin.ImageFileDirectory_v2()
    unknown_tag[65000] = "libvips warns of this tag, so the pixels are checked"
    photo = Image.fromarray(data.astronaut())
    healthy, damaged = io.BytesIO(), io.BytesIO()
    photo.save(healthy, "TIFF", compression="tiff_lzw", tiffinfo=unknown_tag)
    photo.crop((0, 0, 64, 64)).save(damaged, "JPEG")
    cut = damaged.getvalue()[: len(damaged.getvalue()) * 2 // 3]
    stop = threading.Event()

    def read_damaged() -> None:
        while not stop.is_set():
            with contextlib.suppress(PictureError):
                open_picture(cut)[:, :]

    others = [threading.Thread(target=read_damaged) for _ in range(2)]
    for other in others:
        other.start()
    try:
        for _ in range(200):
            open_picture(healthy.getvalue())
    finally:
        stop.set()
        for other in others:
            other.join()
