"""docs/formats.md: every cell of its table holds for a file made here."""

import io
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips as typed_pyvips
import tifffile
from PIL import Image, ImageCms, ImageFile, IptcImagePlugin
from skimage import data

from srgan.pictures.animations import animation_of, frames_of_animation, write_animation
from srgan.pictures.images import FORMATS, PictureError, encode_picture, open_picture

pyvips: Any = typed_pyvips
RGB = np.ascontiguousarray(data.coffee()[100:160, 150:240])
ALPHA = np.broadcast_to(np.linspace(0, 255, 90).astype(np.uint8), RGB.shape[:2])
RGBA = np.dstack([RGB, ALPHA])
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="1"/></x:xmpmeta>'
PAGE = Path(__file__).parents[2] / "docs" / "formats.md"
PIL_NAMES = {"JPEG": "JPEG", "PNG": "PNG", "WebP": "WEBP", "TIFF": "TIFF", "AVIF": "AVIF"}


def table() -> dict[tuple[str, str], str]:
    rows = re.findall(r"^\| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    head, *body = [re.split(r" *\| *", row.strip()) for row in rows]
    return {
        (row[0], name): cell for row in body for name, cell in zip(head[1:], row[1:], strict=True)
    }


DURATIONS = [100, 250, 40]
CELLS = table()
KINDS = {"kept", "converted", "noted", "refused", "-"}


def pil(pixels: np.ndarray, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    if format in ("JPEG", "AVIF", "WebP"):
        options = {"quality": 100} | options
    if format == "WebP":
        options = {"lossless": True, "exact": True} | options
    Image.fromarray(pixels).save(buffer, PIL_NAMES.get(format, format), **options)
    return buffer.getvalue()


def tiff(pixels: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, metadata=None, software=False, **options)
    return buffer.getvalue()


def vips(format: str, fields: dict[str, bytes], **properties: Any) -> bytes:
    image = pyvips.Image.new_from_array(RGB).copy(**properties)
    for name, value in fields.items():
        image.set_type(pyvips.GValue.blob_type, name, value)
    saver = FORMATS[format.lower()].saver
    options = {"compression": "av1", "effort": 0} if format == "AVIF" else {}
    return getattr(image, f"{saver}_buffer")(**options)


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    whole = pil(RGB, "PNG")
    added = b"".join(
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )
    return whole[:33] + added + whole[33:]


def exif() -> Image.Exif:
    tags = Image.Exif()
    tags[0x010F] = "Kodak"
    tags.get_ifd(0x8769)[0x9003] = "2020:01:02 03:04:05"
    return tags


def iptc(format: str) -> bytes:
    records = b"\x1c\2\x78\0\5hello"
    if format == "TIFF":
        return tiff(RGB, photometric="rgb", extratags=[(33723, 7, len(records), records, True)])
    resource = b"8BIM\4\4\0\0" + struct.pack(">I", len(records)) + records
    return vips(format, {"iptc-data": b"Photoshop 3.0\0" + resource})


def turned(format: str) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = 6
    return pil(RGB, format, exif=tags)


def dense(format: str) -> bytes:
    if format in ("WebP", "AVIF"):
        tags = Image.Exif()
        tags[0x011A], tags[0x011B], tags[0x0128] = 240.0, 240.0, 2
        return pil(RGB, format, exif=tags)
    return pil(RGB, format, dpi=(240, 240))


def moving(format: str) -> bytes:
    frames = [Image.fromarray(np.roll(RGB, 9 * k, 1)) for k in range(3)]
    frames = [frame.quantize(32) for frame in frames] if format == "GIF" else frames
    buffer = io.BytesIO()
    name = PIL_NAMES.get(format, format)
    timing = {} if format == "TIFF" else {"duration": DURATIONS}
    frames[0].save(buffer, name, save_all=True, append_images=frames[1:], **timing)
    return buffer.getvalue()


def avif_nclx(primaries: int, transfer: int) -> bytes:
    whole = pil(RGB, "AVIF")
    at = whole.index(b"colrnclx") + 8
    return whole[:at] + struct.pack(">HH", primaries, transfer) + whole[at + 4 :]


def gain_map(format: str) -> bytes:
    if format == "JPEG":
        return vips("JPEG", {"xmp-data": b'<x:xmpmeta><r hdrgm:Version="1.0"/></x:xmpmeta>'})
    whole = pil(RGB, "AVIF")
    return whole.replace(b"mif1", b"tmap", 1)


def gray_12_bit() -> bytes:
    values = (np.arange(64 * 48) % 4096).reshape(48, 64)
    a, b = values.ravel()[::2], values.ravel()[1::2]
    pixels = np.stack([a >> 4, ((a & 15) << 4) | (b >> 8), b & 255], 1).astype(np.uint8).tobytes()
    tags = {256: 64, 257: 48, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 48, 279: len(pixels)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + directory


def ycbcr() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(RGB).convert("YCbCr").save(buffer, "TIFF")
    return buffer.getvalue()


def cmyk(format: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(RGB).convert("CMYK").save(buffer, format)
    return buffer.getvalue()


def wide(format: str) -> bytes:
    image = pyvips.Image.new_from_array(RGB.astype(np.uint16) * 257).copy(interpretation="rgb16")
    if format == "AVIF":
        return image.heifsave_buffer(compression="av1", bitdepth=10, effort=0)
    return getattr(image, f"{format.lower()}save_buffer")()


def texts(format: str) -> bytes:
    if format == "PNG":
        return png((b"tEXt", b"Caf\xe9\0hello"))
    if format == "TIFF":
        return tiff(RGB, photometric="rgb", extratags=[(271, 2, 0, "Kodak", True)])
    return pil(RGB, format, comment=b"hello")


def gif_xmp() -> bytes:
    return pil(RGB, "GIF")[:-1] + b"\x21\xff\x0bXMP DataXMP" + b"\4<x/>\0" + b";"


FILES: dict[str, Callable[[str], bytes]] = {
    "16 bits a channel": wide,
    "floating point": lambda _: tiff(RGB.astype(np.float32), photometric="rgb"),
    "CMYK": cmyk,
    "YCbCr, not compressed": lambda _: ycbcr(),
    "12-bit gray": lambda _: gray_12_bit(),
    "alpha": lambda f: pil(RGBA, f),
    "colours under alpha 0": lambda f: pil(np.dstack([RGB, 0 * ALPHA]), f),
    "ICC profile": lambda f: pil(RGB, f, icc_profile=PROFILE),
    "cICP, nclx": lambda f: (
        png((b"cICP", bytes([9, 16, 0, 1]))) if f == "PNG" else avif_nclx(12, 13)
    ),
    "gamma (gAMA, cHRM)": lambda _: png((b"gAMA", struct.pack(">I", 100_000))),
    "EXIF": lambda f: pil(RGB, f, exif=exif().tobytes()),
    "XMP": lambda f: vips(f, {"xmp-data": XMP}) if f != "GIF" else gif_xmp(),
    "IPTC": iptc,
    "text": texts,
    "resolution": dense,
    "orientation": turned,
    "animation": moving,
    "pages": moving,
    "gain map": gain_map,
    "extra channels": lambda _: tiff(RGBA, photometric="rgb", extrasamples=["unspecified"]),
}


def result(content: bytes) -> tuple[bytes, list[str], np.ndarray]:
    picture = open_picture(content)
    pixels = picture[:, :]
    animation = animation_of(picture, picture.format)
    if animation is not None:
        frames = frames_of_animation(picture, animation)
        encoded, notes = write_animation(None, frames, animation, picture, format=picture.format)
        return encoded, [*picture.notes, *notes], pixels
    format = picture.format if picture.format in FORMATS else "png"
    encoded, notes = encode_picture(
        "x", [pixels], picture.shape, picture.dtype, format=format, quality=100, source=picture
    )
    return encoded, [*picture.notes, *notes], pixels


def opened(content: bytes) -> ImageFile.ImageFile:
    return Image.open(io.BytesIO(content))


def fields(content: bytes) -> Any:
    return pyvips.Image.new_from_buffer(content, "")


KEPT: dict[str, Callable[[bytes], bool]] = {
    "16 bits a channel": lambda c: open_picture(c).dtype == np.uint16,
    "alpha": lambda c: open_picture(c).shape[2] == 4,
    "colours under alpha 0": lambda c: (
        np.abs(open_picture(c)[:, :][..., :3] - RGB.astype(int)).mean() < 9
    ),
    "ICC profile": lambda c: fields(c).get("icc-profile-data") == PROFILE,
    "cICP, nclx": lambda c: b"cICP\x09\x10\0\1" in c,
    "gamma (gAMA, cHRM)": lambda c: b"gAMA" + struct.pack(">I", 100_000) in c,
    "EXIF": lambda c: (
        opened(c).getexif()[0x010F] == "Kodak"
        and opened(c).getexif().get_ifd(0x8769)[0x9003] == "2020:01:02 03:04:05"
    ),
    "XMP": lambda c: fields(c).get("xmp-data").startswith(XMP),
    "IPTC": lambda c: (IptcImagePlugin.getiptcinfo(opened(c)) or {})[2, 120] == b"hello",
    "text": lambda c: b"tEXtCaf\xe9\0hello" in c or opened(c).getexif().get(0x010F) == "Kodak",
    "animation": lambda c: _durations(c) == DURATIONS,
    "resolution": lambda c: round(240 - _dpi(c)) == 0,
}


def _durations(content: bytes) -> list[float]:
    with Image.open(io.BytesIO(content)) as image:
        found: list[float] = []
        for k in range(getattr(image, "n_frames", 1)):
            image.seek(k)
            image.load()
            found.append(image.info["duration"])
        return found


def _dpi(content: bytes) -> float:
    image = fields(content)
    if image.get_typeof("exif-ifd0-XResolution"):
        value = image.get("exif-ifd0-XResolution").split()[0]
        top, _, bottom = value.partition("/")
        return float(top) / float(bottom or 1)
    return image.xres * 25.4


CONVERTED: dict[str, Callable[[bytes, np.ndarray], bool]] = {
    "CMYK": lambda _, pixels: np.corrcoef(pixels.ravel(), RGB.ravel())[0, 1] > 0.95,
    "YCbCr, not compressed": lambda _, pixels: np.abs(pixels.astype(int) - RGB).max() <= 3,
    "12-bit gray": lambda _, pixels: pixels.max() == np.rint(3071 * 65535 / 4095),
    "cICP, nclx": lambda c, _: fields(c).get_typeof("icc-profile-data") != 0,
    "orientation": lambda c, pixels: (
        pixels.shape[:2] == (90, 60)
        and not (fields(c).get_typeof("orientation") and fields(c).get("orientation") != 1)
    ),
}


NOTED = {
    "16 bits a channel": "rounded to the 12",
    "XMP": "text",
    "text": "text",
    "pages": "only the first of 3",
    "gain map": "gain map",
    "extra channels": "only the RGB of 4 channels",
}


@pytest.mark.parametrize(("property", "format"), CELLS)
def test_every_cell_of_the_table(property: str, format: str) -> None:
    cell = CELLS[property, format]
    assert cell in KINDS
    if cell == "-":
        return
    content = FILES[property](format)
    if cell == "refused":
        with pytest.raises(PictureError):
            result(content)
        return
    encoded, notes, pixels = result(content)
    if cell == "noted":
        assert any(re.search(NOTED[property], note) for note in notes)
    elif cell == "kept":
        assert notes == []
        assert KEPT[property](encoded)
    else:
        assert CONVERTED[property](encoded, pixels)


def test_the_table_has_every_property_and_format() -> None:
    assert {property for property, _ in CELLS} == set(FILES)
    assert {format.lower() for _, format in CELLS} == {*FORMATS, "gif", "bmp"}
