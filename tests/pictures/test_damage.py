"""Damaged files are errors; files with harmless faults are read."""

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage import data

from srgan.pictures.codec.jpeg_header import JpegHeader, read_header
from srgan.pictures.images import PictureError, open_picture

RGB = np.ascontiguousarray(data.coffee()[100:220, 150:340])
EXTRA = np.full_like(RGB[..., :1], 90)


def pil(format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, format, **options)
    return buffer.getvalue()


def tiff(pixels: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)  # pyright: ignore[reportArgumentType]
    return buffer.getvalue()


def tiled(compression: str) -> bytes:
    """With tiles of 64 x 64, by libvips: tifffile lacks the codecs here."""
    import pyvips

    image = pyvips.Image.new_from_array(RGB)
    options = {"compression": compression, "tile": True, "tile_width": 64, "tile_height": 64}
    return image.tiffsave_buffer(**options)  # pyright: ignore[reportAttributeAccessIssue]


def strip(content: bytes, index: int) -> tuple[int, int]:
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        page = file.pages[0]
        return page.dataoffsets[index], page.databytecounts[index]  # type: ignore[union-attr]


def with_hole(content: bytes, fill: bytes) -> bytes:
    start, size = strip(content, 3)
    damaged = bytearray(content)
    damaged[start + size // 2 : start + size] = (fill * size)[: size - size // 2]
    return bytes(damaged)


def entries(content: bytes) -> tuple[int, list[tuple[int, int, int, int]]]:
    """Offset and entries of the directory of a little-endian TIFF."""
    (start,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, start)
    return start, [struct.unpack_from("<HHII", content, start + 2 + 12 * k) for k in range(count)]


def with_directory(content: bytes, tags: list[tuple[int, int, int, int]]) -> bytes:
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *t) for t in tags)
    return content[:4] + struct.pack("<I", len(content)) + content[8:] + directory + bytes(4)


def changed(tag: int, entry: tuple[int, int, int] | None = None) -> bytes:
    """An uncompressed TIFF with another entry for a tag, or a further one, or without it."""
    content = tiff(RGB, photometric="rgb")
    tags = [each for each in entries(content)[1] if each[0] != tag]
    return with_directory(content, sorted(tags if entry is None else [*tags, (tag, *entry)]))


def reversed_tags(content: bytes) -> bytes:
    return with_directory(content, entries(content)[1][::-1])


def repeated() -> bytes:
    content = tiff(RGB, photometric="rgb")
    tags = entries(content)[1]
    return with_directory(content, sorted([*tags, tags[0]]))


def old_jpeg() -> bytes:
    content = tiled("jpeg")
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        at = file.pages[0].tags[259].valueoffset  # type: ignore[union-attr]
    return content[:at] + b"\6" + content[at + 1 :]


def jpeg_half_with_end(**options: object) -> bytes:
    whole = pil("JPEG", **options)
    return whole[: len(whole) // 2] + b"\xff\xd9"


DAMAGED: dict[str, Callable[[], bytes]] = {
    "tile of zlib": lambda: with_hole(tiled("deflate"), b"\x55"),
    "tile of LZW": lambda: with_hole(tiled("lzw"), b"\0"),
    "tile of JPEG": lambda: with_hole(tiled("jpeg"), b"\xff\xd9"),
    "tiles of old-style JPEG": old_jpeg,
    "half a JPEG with an end": jpeg_half_with_end,
    "half a progressive JPEG with an end": lambda: jpeg_half_with_end(progressive=True),
    "half a JPEG of an odd version": lambda: jpeg_half_with_end().replace(b"JFIF\0\1", b"JFIF\0\2"),
    "TIFF tag of type 0": lambda: changed(277, (0, 1, 3)),
    "TIFF tag without values": lambda: changed(258, (3, 0, 0)),
    "tile and unsorted tags": lambda: reversed_tags(with_hole(tiled("deflate"), b"\x55")),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_pixels_are_an_error(case: str) -> None:
    with pytest.raises(PictureError):
        open_picture(DAMAGED[case]())[:, :]


@pytest.mark.parametrize("way", ["bytes", "file"])
def test_a_damaged_png_is_not_called_cut_short(tmp_path: Path, way: str) -> None:
    def refusal(content: bytes) -> str:
        path = tmp_path / "x.png"
        path.write_bytes(content)
        with pytest.raises(PictureError) as caught:
            open_picture(content if way == "bytes" else path)[:, :]
        return str(caught.value)

    whole = pil("PNG")
    middle = len(whole) // 2
    flipped = bytes([whole[middle] ^ 255])
    damaged = whole[:middle] + flipped + whole[middle + 1 :]
    assert "cannot be decoded (its pixels are damaged)" in refusal(damaged)
    for end in (middle, len(whole) - 14):
        assert "cut short" in refusal(whole[:end])
    assert "cut short" in refusal(damaged[:-20])


def test_libvips_quotes_bytes_that_are_no_text() -> None:
    """pyvips then raises UnicodeDecodeError."""
    essential = pil("AVIF").replace(b"\4\1\2\x83\4", b"\4\1\x82\x83\4")  # of pixi
    with pytest.raises(PictureError, match=r"cannot be decoded.*essential"):
        open_picture(essential.replace(b"pixi", b"\xd8\xd9\xda\xdb"))


def stray_bytes() -> bytes:
    whole = pil("JPEG")
    scan = whole.index(b"\xff\xda")
    return whole[:scan] + b"\0\0\0" + whole[scan:]


def png_with(*chunk: bytes) -> bytes:
    name, content, check = chunk
    whole = pil("PNG")
    return whole[:33] + struct.pack(">I", len(content)) + name + content + check + whole[33:]


HARMLESS: dict[str, Callable[[], bytes]] = {
    "unknown TIFF tag": lambda: changed(65000, (3, 1, 7)),
    "TIFF tag of an unknown type": lambda: changed(65001, (99, 1, 5)),
    "TIFF tag beyond the end": lambda: changed(65001, (2, 500, 10**7)),
    "known TIFF tag of a wrong type": lambda: changed(34377, (3, 1, 5)),
    "unsorted TIFF tags": lambda: reversed_tags(tiff(RGB, photometric="rgb")),
    "repeated TIFF tag": repeated,
    "no byte counts": lambda: changed(279),
    "byte count 0": lambda: changed(279, (4, 1, 0)),
    "byte count beyond the end": lambda: changed(279, (4, 1, 35_711_440)),
    "ICC profile of nonsense in TIFF": lambda: tiff(RGB, photometric="rgb", iccprofile=b"x" * 300),
    "ICC profile of nonsense in PNG": lambda: pil("PNG", icc_profile=b"x" * 300),
    "PNG with a wrong checksum of a text": lambda: png_with(b"tEXt", b"a\0b", b"1234"),
    "bytes after the end of PNG": lambda: pil("PNG") + b"more",
    "stray bytes in JPEG": stray_bytes,
    "bytes before the end of JPEG": lambda: pil("JPEG")[:-2] + bytes(9) + b"\xff\xd9",
    "bytes after the end of JPEG": lambda: pil("JPEG") + bytes(500),
    "unknown version of JFIF": lambda: pil("JPEG").replace(b"JFIF\0\1", b"JFIF\0\2"),
    "ICC profile of nonsense in JPEG": lambda: pil("JPEG", icc_profile=b"x" * 300),
}


def test_bytes_before_the_end_of_a_progressive_jpeg_pass() -> None:
    whole = pil("JPEG", progressive=True)
    for content in (whole[:-2] + bytes(9) + b"\xff\xd9", whole[:-2] + bytes(2) + b"\xff\xd9more"):
        np.testing.assert_array_equal(open_picture(content)[:, :], open_picture(whole)[:, :])
    with pytest.raises(PictureError):
        open_picture(whole[: len(whole) // 2] + bytes(9) + b"\xff\xd9")[:, :]


@pytest.mark.parametrize("case", HARMLESS)
def test_harmless_faults_pass(case: str) -> None:
    picture = open_picture(HARMLESS[case]())
    lossy = picture.format == "jpeg"
    np.testing.assert_array_equal(picture[:, :], open_picture(pil("JPEG"))[:, :] if lossy else RGB)


@pytest.mark.parametrize("name", ["float32", "uint32", "float64"])
def test_cmyk_of_other_types_is_refused(name: str) -> None:
    pixels = np.dstack([RGB, EXTRA]).astype(name)
    with pytest.raises(PictureError, match=r"8 or 16 bits a channel|cannot be decoded"):
        open_picture(tiff(pixels, photometric="separated"))[:, :]


@pytest.mark.parametrize(
    ("extras", "bands"),
    [
        (["unassalpha"], 4),
        (["unspecified"], 3),
        (["unspecified", "unassalpha"], 4),
        (["unassalpha", "unspecified"], 4),
        (["unspecified", "unspecified"], 3),
    ],
)
def test_extra_samples_say_which_channel_is_alpha(extras: list[str], bands: int) -> None:
    channels = [EXTRA if kind == "unassalpha" else EXTRA + 100 for kind in extras]
    picture = open_picture(
        tiff(np.dstack([RGB, *channels]), photometric="rgb", extrasamples=extras)
    )
    expected = np.dstack([RGB, EXTRA])[..., :bands]
    np.testing.assert_array_equal(picture[:, :], expected)
    assert bool(picture.notes) == (len(extras) + 3 > bands)
    gray = np.dstack([RGB[..., :1], *channels])
    picture = open_picture(tiff(gray, photometric="minisblack", extrasamples=extras))
    expected = np.dstack([RGB[..., :1], EXTRA])[..., : bands - 2]
    np.testing.assert_array_equal(picture[:, :], expected)


def test_tiles_of_separate_planes_are_read() -> None:
    planes = np.ascontiguousarray(RGB.transpose(2, 0, 1))
    content = tiff(planes, photometric="rgb", planarconfig="separate", tile=(64, 64))
    np.testing.assert_array_equal(open_picture(content)[:, :], RGB)
    with pytest.raises(PictureError, match="--max-pixels"):
        open_picture(content, max_pixels=100)


@pytest.mark.parametrize(
    ("head", "package"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "pillow-heif"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "pillow-jxl-plugin"),
        (b"\xff\x0a", "pillow-jxl-plugin"),
    ],
)
def test_a_missing_plugin_is_named(
    head: bytes, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("pillow_heif", "pillow_jxl"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(PictureError, match=f"pip install {package}"):
        open_picture(head + bytes(100))


def test_tiff_errors_do_not_name_libvips_sources() -> None:
    with pytest.raises(PictureError) as caught:
        open_picture(changed(284, (3, 1, 0)))[:, :]
    assert "source" not in str(caught.value)


def test_an_impossible_resolution_prints_nothing() -> None:
    script = """
import io, sys
from srgan.pictures.images import encode_picture, open_picture
picture = open_picture(sys.stdin.buffer.read())
for format in ("png", "tiff", "jpeg", "webp", "avif"):
    rows = [picture[:, :]]
    encode_picture("x", rows, picture.shape, picture.dtype, format=format, source=picture)
"""
    whole = pil("PNG")
    content = b"pHYs" + struct.pack(">IIB", 2**31 - 1, 1, 1)
    chunk = struct.pack(">I", 9) + content + struct.pack(">I", zlib.crc32(content))
    ran = subprocess.run(
        [sys.executable, "-c", script],
        input=whole[:33] + chunk + whole[33:],
        capture_output=True,
        check=True,
    )
    assert ran.stderr == b""


def test_a_jpeg_of_too_many_segments_is_not_searched() -> None:
    header = b"\xff\xd8" + 20_000 * b"\xff\xfe\0\2" + b"\xff\xda" + bytes(20)
    assert read_header(io.BytesIO(header)) == JpegHeader()
    assert read_header(io.BytesIO(header[:10] + header[-22:])).comment


@pytest.mark.parametrize("size", [b"\0\0", b"\0\1"])
def test_a_segment_shorter_than_its_own_length(size: bytes) -> None:
    """Of a file made to be read again from every marker."""
    with pytest.raises(PictureError, match="cut short"):
        open_picture(b"\xff\xd8" + (b"\xff\xe1" + size) * 100_000)
