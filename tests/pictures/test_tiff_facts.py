"""EXIF, GPS, IPTC and texts in TIFF: from other formats, into them, and from TIFF to TIFF."""

import io
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, IptcImagePlugin
from PIL.TiffImagePlugin import IFDRational

from srgan.pictures.codec.tiff_facts import (
    INCOMPLETE,
    MAKER_NOTE,
    STRUCTURE,
    read_facts,
    unknown_to_libvips,
)
from srgan.pictures.images import PictureError, encode_picture, open_picture, write_picture

RGB = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
CAPTION = b"\x1c\2\x78\0\x0bcat on mats"
RESOURCE = b"8BIM\4\4\0\0" + struct.pack(">I", len(CAPTION)) + CAPTION
NOTE = b"Apple iOS\0" + bytes(range(256))  # its offsets count from its own start
CLIPPING = b"8BIM\7\xd0\4path\0" + struct.pack(">I", 2) + b"ab"  # a resource with a name
IPTC = b"Photoshop 3.0\0" + CLIPPING + RESOURCE


def facts() -> Image.Exif:
    exif = Image.Exif()
    exif[0x010E], exif[0x010F], exif[0x0110] = "a cat", "Kodak", "X"
    exif[0x0112], exif[0x013B], exif[0x8298] = 6, "Ann", "(c) Ann"
    exif[0x013C], exif[0x4746] = "X", 4
    own = exif.get_ifd(0x8769)
    own[0x829A], own[0x9204] = IFDRational(1, 125), IFDRational(-1, 3)
    own[0x9003], own[0x927C] = "2020:01:02 03:04:05", NOTE
    own[0xA002], own[0xA003] = 40, 30
    exif.get_ifd(0x8825).update({1: "N", 2: (1.0, 2.0, 3.5)})
    return exif


def jpeg(endian: str = "<", **options: Any) -> bytes:
    exif = facts()
    exif.endian = endian
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, "JPEG", exif=exif.tobytes(), **options)
    content = buffer.getvalue()
    return content[:2] + b"\xff\xed" + struct.pack(">H", len(IPTC) + 2) + IPTC + content[2:]


def encoded(content: bytes, format: str, rows: np.ndarray = RGB) -> tuple[bytes, list[str]]:
    """The result of a picture in a format, with the notes on it."""
    picture = open_picture(content)
    result, notes = encode_picture(
        "x", [rows], rows.shape, rows.dtype, format=format, source=picture
    )
    return result, [*picture.notes, *notes]


def check(content: bytes, size: tuple[int, int]) -> None:
    """The facts are all there, and say what is so of a picture of this (width, height)."""
    with Image.open(io.BytesIO(content)) as image:
        exif = image.getexif()
        assert image.size == size
        assert (IptcImagePlugin.getiptcinfo(image) or {})[2, 120] == b"cat on mats"
    texts = {tag: exif[tag] for tag in (0x010E, 0x010F, 0x0110, 0x013B, 0x8298)}
    assert list(texts.values()) == ["a cat", "Kodak", "X", "Ann", "(c) Ann"]
    assert exif[0x0112] == 1
    own = exif.get_ifd(0x8769)
    assert float(own[0x829A]) == 1 / 125
    assert float(own[0x9204]) == pytest.approx(-1 / 3)
    assert own[0x9003] == "2020:01:02 03:04:05"
    assert own[0x927C] == NOTE
    assert (own[0xA002], own[0xA003]) == size
    assert exif.get_ifd(0x8825)[2] == (1.0, 2.0, 3.5)


@pytest.mark.parametrize("endian", ["<", ">"])
def test_from_jpeg_to_tiff_to_tiff_to_jpeg(endian: str) -> None:
    large = np.repeat(np.repeat(RGB, 2, 0), 2, 1)
    first, notes = encoded(jpeg(endian), "tiff", large)
    assert notes == []
    check(first, (80, 60))
    assert (open_picture(first)[:, :] == large).all()
    second, notes = encoded(first, "tiff", RGB)
    assert notes == []
    check(second, (40, 30))
    back, notes = encoded(second, "jpeg", RGB)
    assert notes == ["EXIF's Rating is not kept in JPEG"]
    check(back, (40, 30))
    assert CLIPPING in back


def test_the_types_of_values_stay() -> None:
    with tifffile.TiffFile(io.BytesIO(encoded(jpeg(), "tiff")[0])) as file:
        tags = file.pages.first.tags
        assert tags[34665].dtype == 4
        file.filehandle.seek(tags[34665].valueoffset)
        (count,) = struct.unpack("<H", file.filehandle.read(2))
        entries = [struct.unpack("<HHI4s", file.filehandle.read(12)) for _ in range(count)]
    types = {tag: code for tag, code, _, _ in entries}
    assert types[0x829A] == 5
    assert types[0x9204] == 10
    assert list(types) == sorted(types)


def test_16_bits_in_a_file(tmp_path: Path) -> None:
    rows = RGB.astype(np.uint16) * 257
    out = tmp_path / "out.tif"
    source = open_picture(jpeg())
    notes = write_picture(
        out, [rows], rows.shape, rows.dtype, format="tiff", overwrite=False, source=source
    )
    assert notes == []
    with Image.open(out) as image:
        assert image.getexif()[0x010F] == "Kodak"
    assert (open_picture(out)[:, :] == rows).all()


def test_a_tiff_without_facts_is_what_libvips_writes() -> None:
    plain = io.BytesIO()
    Image.fromarray(RGB).save(plain, "PNG")
    content, notes = encoded(plain.getvalue(), "tiff")
    with Image.open(io.BytesIO(content)) as image:
        assert not {0x8769, 0x8825, 33723} & set(image.getexif())
    assert notes == []


def test_bigtiff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srgan.pictures.codec.encode._HUGE_BYTES", 0)
    content, notes = encoded(jpeg(), "tiff")
    assert content.startswith(b"II+\0")
    assert notes == []
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        tags = file.pages.first.tags
        assert tags[0x010F].value == "Kodak"
        assert tags[34665].value["MakerNote"] == NOTE
        assert tags[33723].dtype == 4
    again, notes = encoded(content, "jpeg")
    assert notes == ["EXIF's Rating is not kept in JPEG"]
    check(again, (40, 30))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_tiffs_of_others(order: Any, big: bool) -> None:
    buffer = io.BytesIO()
    texts = [(271, 2, 0, "Kodak", True), (315, 2, 0, "Ann", True)]
    iptc = (33723, 4, 4, struct.unpack(f"{order}4I", CAPTION), True)
    tifffile.imwrite(
        buffer,
        RGB,
        photometric="rgb",
        byteorder=order,
        bigtiff=big,
        metadata=None,
        extratags=[*texts, iptc],
    )
    content, notes = encoded(buffer.getvalue(), "tiff")
    assert notes == []
    with Image.open(io.BytesIO(content)) as image:
        assert (image.getexif()[271], image.getexif()[315]) == ("Kodak", "Ann")
        assert (IptcImagePlugin.getiptcinfo(image) or {})[2, 120] == b"cat on mats"


def test_clipping_paths_without_iptc() -> None:
    buffer = io.BytesIO()
    resources = (34377, 1, len(CLIPPING), CLIPPING, True)
    tifffile.imwrite(buffer, RGB, photometric="rgb", metadata=None, extratags=[resources])
    content, notes = encoded(buffer.getvalue(), "tiff")
    assert notes == []
    with Image.open(io.BytesIO(content)) as image:
        assert image.getexif()[34377] == CLIPPING
    assert encoded(content, "png")[1] == ["Photoshop's data is not kept in PNG"]
    assert CLIPPING in encoded(content, "jpeg")[0]


def with_entry(tag: int, code: int, count: int, value: int) -> bytes:
    """A TIFF with one more entry in its directory."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, RGB, photometric="rgb", metadata=None, software=False)
    content = buffer.getvalue()
    (start,) = struct.unpack_from("<I", content, 4)
    (entries,) = struct.unpack_from("<H", content, start)
    old = content[start + 2 : start + 2 + 12 * entries]
    entry = struct.pack("<HHII", tag, code, count, value)
    directory = struct.pack("<H", entries + 1) + old + entry + bytes(4)
    return content[:4] + struct.pack("<I", len(content)) + content[8:] + directory


def test_damaged_and_hostile_directories() -> None:
    (start,) = struct.unpack_from("<I", with_entry(34665, 4, 1, 0), 4)
    circle = with_entry(34665, 4, 1, start)  # EXIF that is the first directory, and so on
    assert (open_picture(encoded(circle, "tiff")[0])[:, :] == RGB).all()
    for hostile in (
        with_entry(34665, 4, 1, 1 << 31),  # beyond the end
        with_entry(270, 2, 4_000_000_000, 8),
        with_entry(315, 5, 1 << 30, 8),
    ):
        content, notes = encoded(hostile, "jpeg")
        assert notes == [INCOMPLETE]
        assert open_picture(content).shape == RGB.shape


def many_pointers(count: int) -> bytes:
    """A TIFF whose directories have many pointers, each to a directory with many more."""
    entry = struct.Struct("<HHII")
    first = 8 + 2 + 12 * count + 4

    def directory(tag: int, code: int, position: int) -> bytes:
        return struct.pack("<H", count) + entry.pack(tag, code, 1, position) * count + bytes(4)

    own, last = directory(40965, 4, 2 * first - 8), directory(1, 99, 0)
    return b"II*\0\x08\0\0\0" + directory(34665, 4, first) + own + last


def test_directories_are_read_once() -> None:
    """Pointers to pointers would be followed as often as their numbers multiply to."""
    block = b"Exif\0\0" + many_pointers(1500)
    start = time.process_time()
    assert unknown_to_libvips(block) == []
    assert read_facts(io.BytesIO(block[6:])).exif is None
    assert time.process_time() - start < 10  # 1500 cubed takes hours


def test_large_values_are_left_out_alone() -> None:
    buffer = io.BytesIO()
    texts = [(315, 2, 0, "Ann", True), (305, 2, 0, "s" * 9_000_000, True)]
    tifffile.imwrite(buffer, RGB, photometric="rgb", metadata=None, software=False, extratags=texts)
    for format in ("tiff", "jpeg", "png", "webp"):
        content, notes = encoded(buffer.getvalue(), format)
        assert notes == [INCOMPLETE]
        with Image.open(io.BytesIO(content)) as image:
            assert image.getexif()[315] == "Ann"


def test_a_description_of_the_files_structure_is_left_out() -> None:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.stack([RGB[..., 0]] * 3), imagej=True)
    content, notes = encoded(buffer.getvalue(), "tiff", RGB[..., :1])
    assert STRUCTURE in notes
    assert tifffile.TiffFile(io.BytesIO(content)).pages.first.shape == (30, 40)
    assert not tifffile.TiffFile(io.BytesIO(content)).is_imagej


def test_maker_notes_with_the_files_offsets_are_noted() -> None:
    exif = facts()
    exif.get_ifd(0x8769)[0x927C] = bytes(100)
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, "JPEG", exif=exif.tobytes())
    content, notes = encoded(buffer.getvalue(), "tiff")
    assert notes == [MAKER_NOTE]
    assert encoded(content, "tiff")[1] == [MAKER_NOTE]
    with Image.open(io.BytesIO(content)) as image:
        assert image.getexif().get_ifd(0x8769)[0x927C] == bytes(100)


def test_damaged_exif_of_another_format() -> None:
    content = jpeg()
    at = content.index(b"Exif\0\0") + 6 + 4
    broken = content[:at] + b"\xff\xff\xff\x7f" + content[at + 4 :]
    result, notes = encoded(broken, "tiff")
    assert notes == [INCOMPLETE]
    assert (open_picture(result)[:, :] == RGB).all()
    with Image.open(io.BytesIO(result)) as image:  # IPTC is whole
        assert (IptcImagePlugin.getiptcinfo(image) or {})[2, 120] == b"cat on mats"


def test_far_offsets_of_bigtiff() -> None:
    buffer = io.BytesIO()
    artist = [(315, 2, 0, "A" * 99, True)]
    tifffile.imwrite(buffer, RGB, photometric="rgb", bigtiff=True, metadata=None, extratags=artist)
    content = bytearray(buffer.getvalue())
    at = content.index(struct.pack("<HHQ", 315, 2, 100)) + 12
    content[at : at + 8] = struct.pack("<Q", (1 << 64) - 8)
    assert encoded(bytes(content), "png")[1] == [INCOMPLETE]


def test_a_rating_of_zero_is_no_rating() -> None:
    exif = Image.Exif()
    exif[0x4746], exif[0x0110], exif[0x013C] = 0, "iPhone 14 Pro", "iPhone 14 Pro "
    assert unknown_to_libvips(exif.tobytes()) == []
    exif[0x4746], exif[0x013C] = 3, "a server"
    assert unknown_to_libvips(exif.tobytes()) == ["HostComputer", "Rating"]


def test_geotiff_is_noted() -> None:
    assert encoded(with_entry(33550, 12, 1, 8), "tiff")[1] == ["GeoTIFF's position is left out"]


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("srgan.pictures.codec.encode.add_facts", full)
    source = open_picture(jpeg())
    with pytest.raises(PictureError, match="disk is full"):
        write_picture(
            tmp_path / "out.tif",
            [RGB],
            RGB.shape,
            RGB.dtype,
            format="tiff",
            overwrite=False,
            source=source,
        )
    assert list(tmp_path.iterdir()) == []
