"""The metadata that goes from the file of a picture into the file of its result."""

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from srgan.pictures.codec.extras import Extras
from srgan.pictures.codec.formats import Format, Kind
from srgan.pictures.codec.label import icc_profile
from srgan.pictures.codec.photoshop import IPTC_HEAD
from srgan.pictures.codec.rowstream import load_vips
from srgan.pictures.codec.tiff_facts import MOST_BYTES
from srgan.pictures.codec.xmp import fitting_xmp

_SCREEN_RESOLUTION = 72 / 25.4  # pixels per mm, libvips' default for JPEG and PNG
_MAX_RESOLUTION = 1e6  # pixels per mm; libvips rejects more, with a warning on stderr
_COLOUR_SPACE = "exif-ifd2-ColorSpace"
# The head of its entry in an EXIF block of either byte order: tag 0xA001, one SHORT.
_COLOUR_TAGS = b"\x01\xa0\x03\0\x01\0\0\0", b"\xa0\x01\0\x03\0\0\0\x01"
# libvips' names of the kinds of metadata.
_NAMES: dict[Kind, str] = {
    "EXIF": "exif-data",
    "XMP": "xmp-data",
    "IPTC": "iptc-data",
    "ICC": "icc-profile-data",
}


@dataclass(frozen=True)
class Metadata:
    """The metadata to copy from one file into another.

    Attributes:
        fields: libvips' type, name and value of each.
        resolution: horizontal and vertical, in pixels per mm.
        extras: what libvips does not pass on.
    """

    fields: tuple[tuple[int, str, Any], ...] = ()
    resolution: tuple[float, float] = (_SCREEN_RESOLUTION, _SCREEN_RESOLUTION)
    extras: Extras = field(default_factory=Extras)

    def has(self, kind: Kind) -> bool:
        """Whether it contains "EXIF", "XMP", "IPTC" or "ICC"."""
        return any(name == _NAMES[kind] for _, name, _ in self.fields)

    def block(self, kind: Kind) -> bytes | None:
        """The bytes of "EXIF", "XMP", "IPTC" or "ICC"; None without."""
        return next((value for _, name, value in self.fields if name == _NAMES[kind]), None)

    @property
    def profile(self) -> bytes | None:
        """The ICC profile."""
        return self.block("ICC")

    @property
    def label_profile(self) -> bytes | None:
        """The ICC profile that says what the colour label says, if it has none of its own."""
        label = self.extras.label
        return icc_profile(label) if label is not None and self.profile is None else None

    @property
    def kinds(self) -> dict[Kind, str]:
        """The kinds that it contains, each with a name for notes to the user."""
        kinds: dict[Kind, str] = {kind: kind for kind in _NAMES if self.has(kind)}
        if IPTC_HEAD not in (self.block("IPTC") or IPTC_HEAD):
            kinds["IPTC"] = "Photoshop's data"
        return kinds

    @property
    def names(self) -> list[str]:
        """What it contains, for notes to the user."""
        names = list(self.kinds.values())
        names += ["text"] if self.extras.text else []
        return names + (["the colour label"] if self.extras.label else [])

    def keep(self, format: Format) -> str:
        """The saver's argument `keep`: the kinds of metadata to write.

        With "exif" libvips invents an EXIF block for a picture that has none. JPEG's resolution
        is written only together with EXIF, so an unusual resolution needs that block.
        """
        exif = self.has("EXIF")
        usual = math.isclose(self.resolution[0], _SCREEN_RESOLUTION, rel_tol=1e-3)
        kinds: list[Kind] = ["XMP", "IPTC", "ICC"]
        kinds = [kind for kind in kinds if format.takes(kind)]
        return "|".join(["exif"] * (exif or not usual) + [kind.lower() for kind in kinds])


def attach(image: Any, metadata: Metadata, *, png: bool) -> Any:
    """A copy of the image with the metadata. Orientation is reset and the thumbnail removed."""
    xres, yres = metadata.resolution
    image = image.copy(xres=xres, yres=yres)  # only a copy may be changed
    for gtype, name, value in metadata.fields:
        if name != _NAMES["EXIF"] or len(value) <= MOST_BYTES:
            image.set_type(gtype, name, value)
    if not png and image.bands > 2 and (profile := metadata.label_profile):
        image.set_type(load_vips().GValue.blob_type, _NAMES["ICC"], profile)
    # Without a colour space libvips writes "uncalibrated", which says that it is not sRGB.
    coloured = image.get_typeof(_NAMES["ICC"]) or metadata.extras.label is not None
    if not coloured and not any(tag in (metadata.block("EXIF") or b"") for tag in _COLOUR_TAGS):
        image.set_type(load_vips().GValue.gstr_type, _COLOUR_SPACE, "1 (sRGB, Short, 1, 2 bytes)")
    # Setting the EXIF block has unpacked it, with the old orientation and thumbnail.
    image.set_type(load_vips().GValue.gint_type, "orientation", 1)
    for name in image.get_fields():
        if name.startswith("exif-ifd1-") or name == "jpeg-thumbnail-data":
            image.remove(name)
    return image


def read_metadata(image: Any, extras: Extras) -> Metadata:
    """The metadata of a pyvips.Image. Savers drop a colour profile that does not fit the pixels."""
    kept = (*_NAMES.values(), "resolution-unit")
    # `get_fields` fails for names that are not UTF-8, such as keywords of PNG in Latin-1.
    types = {name: image.get_typeof(name) for name in sorted(kept)}
    fields = [(gtype, name, image.get(name)) for name, gtype in types.items() if gtype]
    fields = [(t, name, fitting_xmp(v) if name == _NAMES["XMP"] else v) for t, name, v in fields]
    return Metadata(tuple(fields), _resolution(image), extras)


def _resolution(image: Any) -> tuple[float, float]:
    """Horizontal and vertical resolution in pixels per mm.

    libvips says 1 without a resolution, and for WebP and AVIF, where only EXIF has it.
    """
    if (image.xres, image.yres) != (1, 1):
        usable = max(image.xres, image.yres) < _MAX_RESOLUTION
        return (image.xres, image.yres) if usable else (_SCREEN_RESOLUTION, _SCREEN_RESOLUTION)
    try:
        unit = 10 if image.get("exif-ifd0-ResolutionUnit").startswith("3") else 25.4
        x, y = (
            float(Fraction(image.get(f"exif-ifd0-{axis}Resolution").split()[0])) / unit
            for axis in "XY"
        )
    except (load_vips().Error, ValueError, ZeroDivisionError, IndexError):
        return _SCREEN_RESOLUTION, _SCREEN_RESOLUTION
    return (
        (x, y)
        if min(x, y) > 0 and max(x, y) < _MAX_RESOLUTION
        else (_SCREEN_RESOLUTION, _SCREEN_RESOLUTION)
    )
