"""Reads and writes animations: GIF, animated PNG, WebP and AVIF, one frame after the other.

libvips reads and writes GIF and WebP. Pillow reads animated PNG and AVIF, which libvips does not
know, and writes AVIF. An animated PNG is put together here from PNGs.
"""

import io
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, PngImagePlugin

from srgan.pictures.codec.encode import Rows, encode_bytes, encode_file, losses
from srgan.pictures.codec.exif import as_upright, orientation
from srgan.pictures.codec.extras import check_whole_gif
from srgan.pictures.codec.failure import failure
from srgan.pictures.codec.metadata import Metadata
from srgan.pictures.codec.rowstream import load_vips, reading
from srgan.pictures.codec.timing import seconds_of_png, whole_durations
from srgan.pictures.files import decode_error, encode_error

# libvips' loaders, and which faults of a file are errors: with less, damaged frames are black.
_VIPS = {"gif": "warning", "webp": "truncated"}
# What makes pictures of EXIF's orientations 2 to 8 upright.
_TRANSPOSITIONS = (
    Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.ROTATE_180,
    Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.TRANSPOSE,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSVERSE,
    Image.Transpose.ROTATE_90,
)
ANIMATED_FORMATS = (*_VIPS, "png", "avif")
# What Pillow raises for damaged files. AVIF's decoder raises RuntimeError.
_PILLOW_ERRORS = (OSError, SyntaxError, ValueError, EOFError, RuntimeError, ArithmeticError)
_TURNS = {k + 2: each for k, each in enumerate(_TRANSPOSITIONS)}
_AVIF_QUALITY, _AVIF_SPEED = 90, 8
_MOST_PLAYS = (1 << 31) - 1  # of animated PNG
_MOST_PLAYS_16_BIT = (1 << 16) - 1  # of GIF and WebP


@dataclass(frozen=True)
class Animation:
    """What an animation is, beside its pixels.

    Attributes:
        durations: of each frame, in milliseconds.
        plays: how often it is shown; 0 for without end.
        bands: 3 for RGB, or 4 with alpha.
    """

    durations: tuple[Fraction, ...]
    plays: int
    bands: int

    @property
    def frames(self) -> int:
        """How many there are."""
        return len(self.durations)


def read_animation(
    name: str, file: BinaryIO, format: str, exif: bytes | None, frames: int
) -> Animation | None:
    """Decode all frames once, to know what they are; None for a picture that does not move.

    Args:
        name: the picture's, for errors.
        format: one of ANIMATED_FORMATS.
        exif: of a PNG, whose orientation its frames have.
        frames: by its header; 0 if it does not say.

    Raises:
        PictureError: a frame is damaged, or there are more than `frames`.
    """
    durations: list[Fraction] = []
    opaque, plays = True, 0
    for frame in _frames(name, file, format, exif):
        durations.append(Fraction(frame.info.get("duration") or 0).limit_denominator(1000))
        plays = frame.info.get("loop") or 0
        opaque &= frame.mode == "RGB" or frame.getextrema()[-1] == (255, 255)
        if len(durations) > frames > 0:
            raise decode_error(name, f"more than the {frames} frames of its header")
    if len(durations) < 2:
        return None
    return Animation(tuple(durations), min(plays, _MOST_PLAYS), 3 if opaque else 4)


def read_frames(
    name: str, file: BinaryIO, format: str, exif: bytes | None, animation: Animation
) -> Iterator[np.ndarray]:
    """The frames as they are shown, (H, W, 3 or 4) uint8; alpha is straight."""
    mode = "RGB" if animation.bands == 3 else "RGBA"
    for frame in _frames(name, file, format, exif):
        yield np.asarray(frame.convert(mode))


def _frames(name: str, file: BinaryIO, format: str, exif: bytes | None) -> Iterator[Image.Image]:
    """Each frame, whole and upright, as RGB or RGBA, with its duration and the count of plays."""
    try:
        yield from _by_vips(file, format) if format in _VIPS else _by_pillow(file, format, exif)
    except (load_vips().Error, UnicodeDecodeError) as error:
        raise failure(name, format, b"", error) from error
    except (*_PILLOW_ERRORS, zlib.error, struct.error) as error:
        raise decode_error(name, str(error)) from error


def _by_vips(file: BinaryIO, format: str) -> Iterator[Image.Image]:
    vips = load_vips()
    content = file.read()
    if format == "gif":
        check_whole_gif(content)  # libvips leaves out frames that are missing
    load = getattr(vips.Image, f"{format}load_buffer")
    with reading:
        vips.vips_lib.vips_error_clear()
        image = load(content, n=-1, access="random", fail_on=_VIPS[format])
    count = image.get("n-pages") if image.get_typeof("n-pages") else 1
    height = image.height // count
    delays = image.get("delay") if image.get_typeof("delay") else [0] * count
    turn = image.get("orientation") if image.get_typeof("orientation") else 1
    region = vips.Region.new(image.colourspace("srgb"))
    for k, delay in enumerate(delays):
        with reading:
            pixels = region.fetch(0, k * height, image.width, height)
        frame = np.frombuffer(pixels, np.uint8).reshape(height, image.width, -1)
        info = {"duration": delay, "loop": image.get("loop") if image.get_typeof("loop") else 0}
        yield _upright(Image.fromarray(frame), turn, info)


def _by_pillow(file: BinaryIO, format: str, exif: bytes | None) -> Iterator[Image.Image]:
    # Pillow reads an EXIF after the pixels with the last frame; AVIF's decoder has turned them.
    turn = 1 if exif is None else orientation(exif)
    picture = _opened(file, format)
    hidden = 1 if picture.info.get("default_image") else 0  # shown by other programs only
    for k in range(hidden, getattr(picture, "n_frames", 1)):
        picture.seek(k)
        picture.load()
        transparent = picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info
        yield _upright(picture.convert("RGBA" if transparent else "RGB"), turn, picture.info)


def _opened(file: BinaryIO, format: str) -> Image.Image:
    if format == "png":
        return PngImagePlugin.PngImageFile(file)
    from PIL import AvifImagePlugin  # loads a large library

    return AvifImagePlugin.AvifImageFile(file)


def _upright(frame: Image.Image, turn: int, info: dict[Any, Any]) -> Image.Image:
    if turn in _TURNS:
        frame = frame.transpose(_TURNS[turn])
    frame.info = dict(info)
    return frame


def encode_animation(
    path: Path | None,
    name: str,
    frames: Iterable[np.ndarray],
    animation: Animation,
    *,
    format: str,
    quality: int | None,
    metadata: Metadata,
) -> tuple[bytes, list[str]]:
    """Encode frames (H, W, bands) as they arrive, into a file or into bytes.

    The encoders of AVIF and WebP hold the whole animation.

    Args:
        path: the file to write; None for bytes.
        name: the picture's, for errors.
        format: one of ANIMATED_FORMATS.
        quality: 1 to 100, for WebP and AVIF; None for the default.

    Returns:
        The bytes, empty if a file was written, and notes for the user.

    Raises:
        PictureError: the animation cannot be encoded. Errors of the frames pass unchanged.
    """
    first, frames = _peeked(frames)
    if format in ("gif", "webp"):
        rows, metadata = _as_one_picture(frames, first.shape, animation, metadata, format)
        if path is None:
            return encode_bytes(name, rows, format, quality, metadata)
        return b"", encode_file(path, name, rows, format, quality, metadata)
    metadata = replace(metadata, extras=replace(metadata.extras, frames=1))
    buffer = io.BytesIO()
    with buffer if path is None else path.open("wb") as file:
        try:
            if format == "png":
                notes = _write_png(file, name, frames, animation, metadata)
            else:
                notes = _write_avif(file, frames, animation, quality, metadata)
        except OSError as error:
            raise encode_error(name, str(error)) from error
        return (buffer.getvalue() if path is None else b""), notes


def _peeked(frames: Iterable[np.ndarray]) -> tuple[np.ndarray, Iterator[np.ndarray]]:
    rest = iter(frames)
    first = next(rest)

    def all_frames() -> Iterator[np.ndarray]:
        yield first
        yield from rest

    return first, all_frames()


def _as_one_picture(
    frames: Iterator[np.ndarray],
    shape: tuple[int, ...],
    animation: Animation,
    metadata: Metadata,
    format: str,
) -> tuple[Rows, Metadata]:
    """The frames below each other, as libvips takes an animation."""
    height, width, bands = shape
    types = load_vips().GValue
    fields = (
        (types.gint_type, "page-height", height),
        (types.array_int_type, "delay", whole_durations(animation.durations, format)),
        (types.gint_type, "loop", min(animation.plays, _MOST_PLAYS_16_BIT)),
    )
    rows = Rows(frames, (height * animation.frames, width, bands), np.dtype(np.uint8))
    extras = replace(metadata.extras, frames=1)
    return rows, replace(metadata, fields=metadata.fields + fields, extras=extras)


def _write_png(
    file: BinaryIO,
    name: str,
    frames: Iterator[np.ndarray],
    animation: Animation,
    metadata: Metadata,
) -> list[str]:
    """Write an animated PNG (PNG specification, third edition, section 4.9)."""
    notes: list[str] = []
    number = 0  # of the chunks that make the animation
    for k, (frame, duration) in enumerate(zip(frames, animation.durations, strict=True)):
        rows = Rows([frame], (frame.shape[0], frame.shape[1], frame.shape[2]), frame.dtype)
        content, said = encode_bytes(name, rows, "png", None, Metadata() if k else metadata)
        control = _frame_control(number, frame.shape, duration)
        number += 1
        if k == 0:
            notes = said
            file.write(content[:8])
        waiting = True
        for kind, chunk in _png_chunks(content):
            if kind == b"IDAT" and waiting:
                waiting = False
                if k == 0:
                    counts = struct.pack(">II", animation.frames, animation.plays)
                    file.write(_png_chunk(b"acTL", counts))
                file.write(_png_chunk(b"fcTL", control))
            if kind == b"IDAT" and k:
                file.write(_png_chunk(b"fdAT", struct.pack(">I", number) + chunk))
                number += 1
            elif (k == 0 and kind != b"IEND") or kind == b"IDAT":
                file.write(_png_chunk(kind, chunk))
    file.write(_png_chunk(b"IEND", b""))
    return notes


def _frame_control(number: int, shape: tuple[int, ...], duration: Fraction) -> bytes:
    seconds = seconds_of_png(duration)
    return struct.pack(
        ">IIIIIHHBB",
        *(number, shape[1], shape[0], 0, 0),
        *(seconds.numerator, seconds.denominator, 0, 0),
    )


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 8
    while position < len(content):
        size, kind = struct.unpack_from(">I4s", content, position)
        yield kind, content[position + 8 : position + 8 + size]
        position += 12 + size


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def _write_avif(
    file: BinaryIO,
    frames: Iterator[np.ndarray],
    animation: Animation,
    quality: int | None,
    metadata: Metadata,
) -> list[str]:
    pictures = [Image.fromarray(frame) for frame in frames]
    options: dict[str, Any] = {"quality": quality or _AVIF_QUALITY, "speed": _AVIF_SPEED}
    kinds = {"icc-profile-data": "icc_profile", "xmp-data": "xmp"}
    for _, field, value in metadata.fields:
        if field == "exif-data":
            options["exif"] = as_upright(bytes(value)) or b""
        elif field in kinds:
            options[kinds[field]] = bytes(value)
    if profile := metadata.label_profile:
        options["icc_profile"] = profile
    pictures[0].save(
        file,
        "AVIF",
        save_all=True,
        append_images=pictures[1:],
        duration=whole_durations(animation.durations, "avif"),
        **options,
    )
    notes = losses("avif", animation.bands, np.dtype(np.uint8), metadata)
    if options.get("exif") == b"":
        notes.append("EXIF is damaged: left out")
    return [*notes, "AVIF does not say how often it is shown"] if animation.plays else notes
