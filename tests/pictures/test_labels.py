"""Colour labels, text, XMP, PIL images, alpha, and what `srgan degrade` notes."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, IptcImagePlugin, TiffImagePlugin
from skimage import data

from srgan.pictures.codec.label import ColourLabel, icc_profile, label_of_chunks, label_of_cicp
from srgan.pictures.codec.xmp import fitting_xmp
from srgan.pictures.images import Picture, PictureError, encode_picture, open_picture, write_picture
from srgan.pictures.pixels import fill_transparent, from_pil, resize_alpha_rows, to_pil
from tests.support.command import Command

RGB = np.ascontiguousarray(data.coffee()[100:220, 150:340])


def through(profile: bytes, pixels: list[tuple[int, int, int]]) -> np.ndarray:
    """sRGB of pixels with an ICC profile, by LittleCMS."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    image = Image.fromarray(np.array([pixels], np.uint8))
    relative = ImageCms.Intent.RELATIVE_COLORIMETRIC
    done = ImageCms.profileToProfile(
        image, source, ImageCms.createProfile("sRGB"), renderingIntent=relative
    )
    assert done is not None
    return np.asarray(done)[0].astype(int)


GRAYS = [(level, level, level) for level in (0, 20, 64, 128, 200, 255)]


def test_a_profile_of_srgb_changes_nothing() -> None:
    pixels = [*GRAYS, (200, 30, 60), (10, 250, 100), (90, 20, 255)]
    assert np.abs(through(icc_profile(ColourLabel()), pixels) - pixels).max() <= 1


def test_profiles_of_other_colour_spaces() -> None:
    linear = np.array(GRAYS)[:, 0] / 255
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    found = through(icc_profile(ColourLabel(gamma=1.0)), GRAYS)[:, 0]
    assert np.abs(found - 255 * encoded).max() <= 1
    p3 = label_of_cicp(12, 13)
    assert p3 is not None
    # sRGB's red in Display P3, by the matrices of SMPTE EG 432-1 and BT.709.
    found = through(icc_profile(p3), [(234, 51, 35), (255, 255, 255)])
    assert np.abs(found - [(255, 0, 0), (255, 255, 255)]).max() <= 3
    pq = label_of_cicp(9, 16)
    assert pq is not None
    assert pq.hdr == "PQ"
    white = round(255 * 0.5807)  # the signal of 203 cd/m2 (ITU-R BT.2408)
    assert through(icc_profile(pq), [(white, white, white)]).min() >= 252
    hlg = label_of_cicp(9, 18)
    assert hlg is not None
    white = round(255 * 0.75)
    assert through(icc_profile(hlg), [(white, white, white)]).min() >= 250


def test_usual_labels_need_no_profile() -> None:
    gamma, srgb = struct.pack(">I", 45455), b"\0"
    places = struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
    assert label_of_chunks({}) is None
    assert label_of_chunks({b"gAMA": gamma, b"cHRM": places}) is None
    assert label_of_chunks({b"gAMA": struct.pack(">I", 1), b"sRGB": srgb}) is None
    assert label_of_cicp(1, 13) is None
    assert label_of_cicp(2, 2) is None
    assert label_of_chunks({b"gAMA": struct.pack(">I", 100_000)}) == ColourLabel(gamma=1.0)


def png(*chunks: tuple[bytes, bytes], at: int = 33) -> bytes:
    """A PNG with chunks: after the header, or after the pixels with at=-12."""
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, "PNG")
    whole = buffer.getvalue()
    added = b"".join(
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )
    return whole[:at] + added + whole[at:]


CHUNKS = (
    (b"cICP", bytes([9, 16, 0, 1])),
    (b"mDCV", bytes(range(24))),
    (b"cLLI", bytes(range(8))),
    (b"tEXt", b"Caf\xe9\0hello"),
    (b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 5000)),
)


@pytest.mark.parametrize("way", ["bytes", "file"])
def test_labels_and_texts_of_png_stay(tmp_path: Path, way: str) -> None:
    picture = open_picture(png(*CHUNKS))
    if way == "bytes":
        content, notes = encode_picture(
            "x", [RGB], RGB.shape, RGB.dtype, format="png", source=picture
        )
    else:
        path = tmp_path / "x.png"
        notes = write_picture(path, [RGB], RGB.shape, RGB.dtype, format="png", source=picture)
        content = path.read_bytes()
    assert notes == []
    for name, value in CHUNKS:
        assert name + value + struct.pack(">I", zlib.crc32(name + value)) in content
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content))), RGB)


@pytest.mark.parametrize("format", ["jpeg", "webp", "tiff", "avif"])
def test_other_formats_get_a_profile_and_notes(format: str) -> None:
    picture = open_picture(png(*CHUNKS))
    content, notes = encode_picture("x", [RGB], RGB.shape, RGB.dtype, format=format, source=picture)
    assert f"text is not kept in {format.upper()}" in notes
    assert any("HDR (PQ)" in note for note in notes)
    assert len(Image.open(io.BytesIO(content)).info["icc_profile"]) > 2000
    gray, shape = RGB[..., :1], (*RGB.shape[:2], 1)
    _, notes = encode_picture("x", [gray], shape, gray.dtype, format=format, source=picture)
    assert any("label" in note for note in notes)


def collinear(*tail: int) -> bytes:
    return struct.pack(">8I", 31270, 32900, 20000, 20000, 30000, 30000, *tail)


@pytest.mark.parametrize(
    "chunk",
    [
        (b"cHRM", struct.pack(">8I", *8 * [30000])),
        (b"cHRM", collinear(40000, 40000)),
        (b"gAMA", struct.pack(">I", 1)),
        (b"gAMA", struct.pack(">I", 3)),
    ],
)
def test_labels_that_no_profile_can_state_are_none(chunk: tuple[bytes, bytes]) -> None:
    assert label_of_chunks(dict([chunk])) is None
    picture = open_picture(png(chunk))
    content, notes = encode_picture("x", [RGB], RGB.shape, RGB.dtype, format="jpeg", source=picture)
    assert notes == []
    assert "icc_profile" not in Image.open(io.BytesIO(content)).info
    nearly = label_of_chunks({b"cHRM": collinear(40000, 40100)})
    assert nearly is None or len(icc_profile(nearly)) > 200


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6" b="HELLO"/></x:xmpmeta>'
PLAIN = b"XML:com.adobe.xmp\0\0\0\0\0"
PACKED = b"XML:com.adobe.xmp\0\1\0\0\0"


def turned_exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Kodak"
    return exif.tobytes()[6:]


@pytest.mark.parametrize("at", [33, -12])
@pytest.mark.parametrize("xmp", [PLAIN + XMP, PACKED + zlib.compress(XMP)])
def test_metadata_before_and_after_the_pixels_of_png(at: int, xmp: bytes) -> None:
    picture = open_picture(png((b"iTXt", xmp), (b"eXIf", turned_exif()), at=at))
    upright = np.rot90(RGB, -1)
    assert picture.metadata_names == ["EXIF", "XMP"]
    np.testing.assert_array_equal(picture[:, :], upright)
    for format in ("png", "jpeg", "webp", "avif"):
        content, notes = encode_picture(
            "x", [upright], upright.shape, upright.dtype, format=format, source=picture
        )
        assert notes == []
        result = Image.open(io.BytesIO(content))
        assert (result.getexif()[0x010F], result.getexif()[0x0112]) == ("Kodak", 1)
        kept = open_picture(content).image.get("xmp-data")
        assert kept == XMP.replace(b'"6"', b'"1"')


def test_metadata_after_the_pixels_that_is_damaged_or_hostile() -> None:
    whole = png((b"iTXt", PLAIN + XMP), (b"eXIf", turned_exif()), at=-12)
    broken = whole.replace(b"HELLO", b"HELLA").replace(b"Kodak", b"Kodac")
    endless = png((b"iTXt", PACKED + zlib.compress(bytes(200_000_000), 9)), at=-12)
    size = whole.index(b"eXIf") - 4
    beyond = whole[:size] + b"\x7f\xff\xff\xff" + whole[size + 4 :]
    no_text = png((b"iTXt", PACKED + b"no zlib"), (b"eXIf", b"neither"), at=-12)
    short = png((b"iTXt", b"XML:com.adobe.xmp\0"), (b"eXIf", b""), at=-12)
    for content in (broken, endless, no_text, short):
        assert open_picture(content).metadata_names == []
    assert open_picture(beyond).metadata_names == ["XMP"]
    assert open_picture(beyond).shape == RGB.shape


def noted(content: bytes, format: str) -> tuple[list[str], Picture]:
    """The notes on a result in a format, and the result."""
    picture = open_picture(content)
    result, notes = encode_picture("x", [RGB], RGB.shape, RGB.dtype, format=format, source=picture)
    return [*picture.notes, *notes], open_picture(result)


@pytest.mark.parametrize("caption", [b"odd", b"even"])
def test_iptc_of_tiff_is_iptc_in_jpeg(caption: bytes) -> None:
    records = b"\x1c\2\x78\0" + bytes([len(caption)]) + caption
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[33723], tags.tagtype[33723] = records, 7
    buffer = io.BytesIO()
    Image.new("RGB", (20, 20)).save(buffer, "TIFF", tiffinfo=tags)
    rows = np.zeros((20, 20, 3), np.uint8)
    source = open_picture(buffer.getvalue())
    content, notes = encode_picture(
        "x", [rows], rows.shape, rows.dtype, format="jpeg", source=source
    )
    found = IptcImagePlugin.getiptcinfo(Image.open(io.BytesIO(content)))
    assert found is not None and found[2, 120] == caption
    assert notes == []


def test_large_xmp_and_iptc_in_jpeg_are_noted() -> None:
    large = b"<" + b"x" * 60_000 + b">"
    content = png((b"iTXt", PLAIN + large))
    notes, result = noted(content, "jpeg")
    assert notes == ["XMP of more than 60,000 bytes is not kept in JPEG"]
    assert not result.image.get_typeof("xmp-data")
    assert noted(content, "webp")[0] == []
    notes, result = noted(png((b"iTXt", PLAIN + large[2:])), "jpeg")
    assert notes == []
    assert result.image.get("xmp-data") == large[2:]
    buffer = io.BytesIO()
    for size, lost in ((65_506, False), (65_508, True)):  # and 26 of the resource
        tifffile.imwrite(buffer, RGB, extratags=[(33723, 7, size, b"\x1c" * size, True)])
        content, notes = encode_picture(
            "x",
            [RGB],
            RGB.shape,
            RGB.dtype,
            format="jpeg",
            source=open_picture(buffer.getvalue()),
        )
        assert ("IPTC of more than 65,533 bytes is not kept in JPEG" in notes) == lost
        assert (b"\x1c" * size in content) != lost
        buffer.seek(0)


@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "avif"])
def test_large_exif_is_noted(format: str) -> None:
    note = "EXIF of more than 65,000 bytes may be incomplete or missing"
    for size, notes in ((64_000, []), (80_000, [note])):
        exif = Image.Exif()
        exif[0x010E] = "d" * size
        said, result = noted(png((b"eXIf", exif.tobytes()[6:])), format)
        assert said == notes
        whole = result.image.get_typeof("exif-data") and len(result.image.get("exif-data")) > size
        assert bool(whole) == (notes == [])


def test_the_rest_of_the_xmp_of_a_jpeg_is_noted() -> None:
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, "JPEG")
    whole = buffer.getvalue()
    segments = (
        b"http://ns.adobe.com/xap/1.0/\0<a xmpNote:HasExtendedXMP='0F'/>",
        (b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 32 + struct.pack(">II", 4, 0) + b"<b/>"),
    )
    added = b"".join(b"\xff\xe1" + struct.pack(">H", len(s) + 2) + s for s in segments)
    notes, result = noted(whole[:2] + added + whole[2:], "jpeg")
    assert notes == ["the extension of XMP (depth maps and the like) is left out"]
    assert result.image.get("xmp-data") == b"<a/>"


def test_the_other_pictures_of_a_jpeg_are_noted() -> None:
    buffer, image = io.BytesIO(), Image.fromarray(RGB)
    image.save(buffer, "MPO", save_all=True, append_images=[image, image])
    content = buffer.getvalue()
    assert noted(content, "jpeg")[0] == ["only the first of 3 pictures is used"]
    # Cameras list their thumbnails, too.
    index = content.index(b"MPF\0") + 4
    kinds = content.index(struct.pack("<I", 0x030000), index)
    thumbnail = struct.pack("<I", 0x010002)
    for k in (1, 2):
        at = kinds + 16 * k
        content = content[:at] + thumbnail + content[at + 4 :]
    assert noted(content, "jpeg")[0] == []
    assert noted(content[: index + 8] + bytes(3) + content[index + 11 :], "jpeg")[0] == []


def test_a_full_disk_is_said_for_png_with_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(28, "No space left on device")

    picture = open_picture(png(*CHUNKS))
    monkeypatch.setattr("srgan.pictures.codec.encode.io.BytesIO", Full)
    with pytest.raises(PictureError, match="disk is full"):
        encode_picture("x", [RGB], RGB.shape, RGB.dtype, format="png", source=picture)


def test_xmp_fits_the_result() -> None:
    for old in (b'tiff:Orientation="6"', b"<tiff:Orientation>6</tiff:Orientation>"):
        assert fitting_xmp(b"<a " + old) == (b"<a " + old).replace(b"6", b"1")
    announced = b'<r xmlns:hdrgm="http://x/" hdrgm:Version="1.0" a="b">'
    announced += b"<Container:Directory><x/></Container:Directory></r>"
    assert fitting_xmp(announced) == b'<r a="b"></r>'
    assert fitting_xmp(b"<any>6</any>") == b"<any>6</any>"
    seq = b"<hdrgm:GainMapMax><rdf:Seq><rdf:li>2</rdf:li></rdf:Seq></hdrgm:GainMapMax>"
    assert (
        fitting_xmp(b'<r hdrgm:Version="1">' + seq + b"<hdrgm:a b='c'/><d/></r>") == b"<r><d/></r>"
    )


def test_xmp_names_no_extension_that_the_result_lacks() -> None:
    assert fitting_xmp(b'<r xmpNote:HasExtendedXMP="0F" a="b"/>') == b'<r a="b"/>'
    element = b"<xmpNote:HasExtendedXMP>0F</xmpNote:HasExtendedXMP>"
    assert fitting_xmp(b"<r>" + element + b"</r>") == b"<r></r>"
    hostile = b" xmpNote:HasExtendedXMP" + b" " * 200_000 + b"<xmpNote:HasExtendedXMP>" * 200_000
    assert fitting_xmp(hostile) == hostile


@pytest.mark.parametrize("filler", [b" ", b"<hdrgm:a>", b"<hdrgm:a", b"<Container:Directory>"])
def test_xmp_that_is_made_to_take_hours(filler: bytes) -> None:
    hostile = b"hdrgm:Version" + filler * 200_000
    assert fitting_xmp(hostile) == hostile


def test_a_transparent_colour_of_a_pil_image() -> None:
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, "PNG", transparency=tuple(RGB[0, 0].tolist()))
    array = from_pil(Image.open(buffer))
    np.testing.assert_array_equal(array, open_picture(buffer.getvalue())[:, :])
    assert array[0, 0, 3] == 0


def test_a_pil_image_comes_back_upright_with_its_metadata() -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Kodak"
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, "JPEG", quality=100, exif=exif, dpi=(300, 300))
    image = Image.open(buffer)
    array = from_pil(image)
    by_path = open_picture(buffer.getvalue())[:, :]
    assert array.shape == by_path.shape == (190, 120, 3)
    assert np.abs(array.astype(int) - by_path).max() <= 3
    again = to_pil(array, image)
    assert again.getexif().get(0x0112, 1) == 1
    assert again.getexif()[0x010F] == "Kodak"
    assert again.info["dpi"] == (300, 300)
    assert image.getexif()[0x0112] == 6  # the caller's image is unchanged


def test_a_faint_background_does_not_bleed() -> None:
    colour = np.zeros((20, 20, 3), np.float32)
    alpha = np.full((20, 20, 1), 3 / 255, np.float32)
    colour[:, :10], alpha[:, :10] = 0.7, 1
    filled = fill_transparent(colour, alpha)
    np.testing.assert_array_equal(filled[:, :10], colour[:, :10])
    assert np.abs(filled[:, 10] - 0.7).max() < 0.03
    np.testing.assert_array_equal(filled[:, 15:], 0)
    for even in (
        np.full_like(alpha, 0.5),
        np.linspace(0.3, 1, 20, dtype=np.float32)[:, None, None],
    ):
        even = np.broadcast_to(even, alpha.shape)
        assert fill_transparent(colour, even) is colour


def test_resizing_weighs_colours_by_alpha() -> None:
    image = np.zeros((40, 40, 4), np.uint8)
    image[:, :21] = (200, 100, 50, 255)
    image[:, 21:, 0] = 17  # hidden
    half = np.concatenate(list(resize_alpha_rows([image], (40, 40), (20, 20))))
    seen = half[..., 3] > 20
    assert np.abs(half[seen][:, :3] - (200, 100, 50)).max() < 1
    np.testing.assert_allclose(half[:, 14:, 0], 17, atol=0.01)


def test_degrade_says_what_lr_does_not_hold(tmp_path: Path, srgan: Command) -> None:
    (tmp_path / "hr").mkdir()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    rgba = Image.fromarray(np.dstack([RGB, RGB[..., 0]]))
    rgba.save(tmp_path / "hr" / "a.png", icc_profile=profile)
    Image.fromarray(RGB[..., 0].astype(np.uint16) * 257).save(tmp_path / "hr" / "b.png")
    done = srgan("degrade", tmp_path / "hr", "lr")
    assert done.returncode == 0
    for note in ("without transparency", "ICC is not kept", "16 bits rounded to 8"):
        assert note in done.stdout + done.stderr
