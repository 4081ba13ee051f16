"""XMP of an upscaled picture: it is upright, and it has no gain map and no extension."""

import re

_ORIENTATION = re.compile(rb"""(tiff:Orientation(?:\s*=\s*["']|>\s*))[2-8](?=\s*["'<])""")
# What names the extension, in further segments of a JPEG (XMP part 3, section 1.1.3.1).
_EXTENSION = re.compile(
    rb"""\sxmpNote:HasExtendedXMP\s*=\s*(?:"[^"<]*"|'[^'<]*')"""
    rb"""|<xmpNote:HasExtendedXMP>[^<]*</xmpNote:HasExtendedXMP>"""
)
_DIRECTORY = rb"(?:GContainer|Container):Directory\b"
# Every search stops at the next tag of its kind: files may be made to let it run for hours.
_GAIN_MAP = re.compile(
    rb"""\s(?:xmlns:hdrgm|hdrgm:\w+)\s*=\s*(?:"[^"<]*"|'[^'<]*')"""
    rb"""|<hdrgm:(\w+)[^<>]*(?:/>|>[^<]*(?:<(?!/?hdrgm:)[^<]*)*</hdrgm:\1>)"""
    rb"""|<%b[^<]*(?:<(?!/?%b)[^<]*)*</%b>""" % (_DIRECTORY, _DIRECTORY, _DIRECTORY)
)


def has_gain_map(xmp: bytes) -> bool:
    """Whether XMP announces a gain map (Ultra HDR)."""
    return b"hdrgm:Version" in xmp


def fitting_xmp(xmp: bytes) -> bytes:
    """XMP without the old orientation, and without announcing a gain map or an extension."""
    xmp = _EXTENSION.sub(b"", _ORIENTATION.sub(rb"\g<1>1", xmp))
    return _GAIN_MAP.sub(b"", xmp) if has_gain_map(xmp) else xmp
