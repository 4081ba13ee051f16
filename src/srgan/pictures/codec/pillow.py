"""Reads with Pillow what libvips cannot: BMP, HEIC, JPEG XL, and two kinds of TIFF."""

import importlib
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from PIL import BmpImagePlugin, Image, TiffImagePlugin

from srgan.pictures.codec.rowstream import load_vips
from srgan.pictures.codec.tiff import Directory
from srgan.pictures.files import UnknownFormatError, decode_error

# Module and package of the plugin for a format, and how it registers with Pillow.
_PLUGINS = {
    "heic": ("pillow_heif", "pillow-heif", "register_heif_opener"),
    "jxl": ("pillow_jxl", "pillow-jxl-plugin", None),
}
# Pillow's names of metadata, and libvips'.
_METADATA = {"icc_profile": "icc-profile-data", "exif": "exif-data", "xmp": "xmp-data"}
CheckSize = Callable[[int, int], None]  # of width and height; raises PictureError


def read_bmp(name: str, file: BinaryIO, check: CheckSize) -> Any:
    """Read all of a BMP into a pyvips.Image.

    Args:
        check: called with width and height before any pixel is decoded.

    Raises:
        PictureError: it is damaged.
    """
    # Image.open has a lower limit on pixels than srgan.
    return _read(name, lambda: BmpImagePlugin.BmpImageFile(file), check)


def read_tiff(name: str, file: BinaryIO, directory: Directory, check: CheckSize) -> Any:
    """Read all of a TIFF that libvips cannot read; 12 bits become 16. As `read_bmp`."""
    image = _read(name, lambda: TiffImagePlugin.TiffImageFile(file), check)
    if directory.first(258, 8) != 12:
        return image
    wide = image.cast("float") * (65535 / 4095)
    return wide.rint().cast("ushort").copy(interpretation="grey16")


def read_with_plugin(name: str, format: str, file: BinaryIO, check: CheckSize) -> Any:
    """Read all of a HEIC or JPEG XL file. As `read_bmp`.

    Raises:
        UnknownFormatError: the plugin is not installed.
    """
    module, package, register = _PLUGINS[format]
    try:
        plugin = importlib.import_module(module)
    except ImportError:
        title = {"heic": "HEIC", "jxl": "JPEG XL"}[format]
        raise UnknownFormatError(
            f"{name}: {title} cannot be decoded here: pip install {package}, "
            "or convert it to JPEG or PNG first"
        ) from None
    if register:
        getattr(plugin, register)()
    return _read(name, lambda: Image.open(file), check)


def _read(name: str, load: Callable[[], Image.Image], check: CheckSize) -> Any:
    try:
        picture = load()
        check(picture.width, picture.height)
        modes = {"1": "L", "L": "L", "LA": "LA", "RGBA": "RGBA"}
        wide = picture.mode.startswith("I;16")
        converted = picture if wide else picture.convert(modes.get(picture.mode, "RGB"))
        pixels = np.asarray(converted, np.uint16 if wide else np.uint8)
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        raise decode_error(name, str(error)) from error
    vips = load_vips()
    image = vips.Image.new_from_array(pixels)
    across, down = picture.info.get("dpi", (72, 72))
    image = image.copy(xres=float(across) / 25.4, yres=float(down) / 25.4)
    for key, field in _METADATA.items():
        value = picture.info.get(key)
        if isinstance(value, bytes) and value:
            image.set_type(vips.GValue.blob_type, field, value)
    return image
