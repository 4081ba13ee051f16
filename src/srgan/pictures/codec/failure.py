"""What an error of libvips means for the user."""

import os
from pathlib import Path
from typing import Any

from srgan.pictures.files import PictureError, decode_error

_PNG_END = b"IEND\xaeB`\x82"  # the last chunk's name and checksum
_TAIL = 1 << 16  # bytes in which the end is sought: more may follow it


def failure(name: str, format: str, source: Path | bytes, error: Any) -> PictureError:
    """The error for a file that libvips cannot read.

    Args:
        name: the picture's.
        format: as `recognise` names it.
        source: the file, or its bytes.
        error: a pyvips.Error, or the UnicodeDecodeError that pyvips raises in its place: libvips
            quotes names from the file, and damaged ones are no text.
    """
    if isinstance(error, UnicodeDecodeError):
        text = error.object.decode(errors="replace")
    else:
        text = str(error.detail)
    if format == "png" and "png read error" in text and _has_end(source):
        text = "png: its pixels are damaged"  # libvips says the same of one that is cut short
    return decode_error(name, text)


def _has_end(source: Path | bytes) -> bool:
    """Whether the last chunk of a PNG is there."""
    if isinstance(source, bytes):
        return _PNG_END in source[-_TAIL:]
    try:
        with source.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - _TAIL, 0))
            return _PNG_END in file.read()
    except OSError:  # it has been removed
        return False
