"""Tells harmless warnings of libvips from damage: for files that it opens only with warnings.

libvips fills damaged tiles of a TIFF with black, unless `fail_on` is "warning". Then it also
rejects healthy files for an unsorted directory or a tag that it does not know. So a TIFF that opens
only without "warning" is decoded once, while its warnings are recorded.
"""

import contextlib
import re
from collections.abc import Generator
from typing import Any

from srgan.pictures.codec.rowstream import load_vips

# Decoding warns of these although the pixels are right.
_HARMLESS = re.compile("Old-style LZW codes")
_G_LOG_LEVEL_WARNING = 1 << 4


class DamageError(Exception):
    """The pixels are damaged; the text is libvips' message."""


@contextlib.contextmanager
def messages() -> Generator[set[str], None, None]:
    """Record what libvips says in the body: the lines of its warnings and of its errors."""
    vips = load_vips()
    said: set[str] = set()

    def record(_domain: Any, _level: int, message: Any, _data: Any) -> None:
        said.add(vips.ffi.string(message).decode(errors="replace"))

    callback = vips.ffi.callback("GLogFunc", record)
    vips.vips_lib.vips_error_clear()
    handler = vips.glib_lib.g_log_set_handler(
        b"VIPS", _G_LOG_LEVEL_WARNING, callback, vips.ffi.NULL
    )
    try:
        yield said
    finally:
        vips.glib_lib.g_log_remove_handler(b"VIPS", handler)
        text = vips.ffi.string(vips.vips_lib.vips_error_buffer()).decode(errors="replace")
        said.update(text.splitlines())
        vips.vips_lib.vips_error_clear()


def check_pixels(image: Any, known: set[str]) -> None:
    """Decode all of an image.

    Args:
        known: what libvips said when it read the header. It repeats that.

    Raises:
        DamageError: libvips says more.
        pyvips.Error: libvips fails.
    """
    with messages() as said:
        image.avg()
    new = sorted(text for text in said - known if text and not _HARMLESS.search(text))
    if new:
        raise DamageError("\n".join(new))
