"""EXIF blocks, and metadata of a file that libvips does not find."""

import struct
from typing import Any

from srgan.pictures.codec.extras import Extras
from srgan.pictures.codec.rowstream import load_vips

ORIENTATION = 0x0112  # the tag


def orientation(exif: bytes) -> int:
    """The orientation in an EXIF block, 1 to 8; 1 if there is none."""
    image = load_vips().Image.black(1, 1).copy()
    image.set_type(load_vips().GValue.blob_type, "exif-data", exif)
    return image.get("orientation") if image.get_typeof("orientation") else 1


def as_upright(exif: bytes) -> bytes | None:
    """An EXIF block with orientation 1, if it has one; None for a damaged block."""
    from PIL import Image  # pictures that libvips writes need no Pillow

    found = Image.Exif()
    try:
        found.load(exif)
        if ORIENTATION in found:
            found[ORIENTATION] = 1
        return found.tobytes()
    except (SyntaxError, OSError, ValueError, TypeError, LookupError, struct.error):
        return None


def with_metadata(image: Any, extras: Extras) -> Any:
    """A pyvips.Image with the metadata of its file that libvips has not found, or not whole."""
    image = image.copy()  # only a copy may be changed
    found = {"exif-data": extras.exif, "xmp-data": extras.xmp, "iptc-data": extras.iptc}
    for name, value in found.items():
        if value is not None and (name == "iptc-data" or not image.get_typeof(name)):
            image.set_type(load_vips().GValue.blob_type, name, value)
    return image
