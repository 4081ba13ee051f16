"""Animations as picture files: what a `Picture` is one, its frames, and how one is written."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from srgan.pictures.codec.animation import (
    ANIMATED_FORMATS,
    Animation,
    encode_animation,
    read_animation,
    read_frames,
)
from srgan.pictures.codec.metadata import read_metadata
from srgan.pictures.files import new_file
from srgan.pictures.images import Picture

__all__ = [
    "Animation",
    "animation_of",
    "frames_of_animation",
    "frames_of_result",
    "write_animation",
]


def frames_of_result(picture: Picture, format: str) -> int:
    """How many frames a result of `format` has, by the picture's header; 0 if it does not say."""
    return picture.extras.frames if {picture.format, format} <= set(ANIMATED_FORMATS) else 1


def animation_of(picture: Picture, format: str) -> Animation | None:
    """The animation that a picture is, if a result of `format` can be one; else None.

    Raises:
        PictureError: a frame is damaged.
    """
    frames = frames_of_result(picture, format)
    if frames == 1:
        return None
    with picture.open_file() as file:
        return read_animation(picture.name, file, picture.format, picture.extras.exif, frames)


def frames_of_animation(picture: Picture, animation: Animation) -> Iterator[np.ndarray]:
    """Its frames as they are shown, (H, W, bands) uint8."""
    with picture.open_file() as file:
        yield from read_frames(picture.name, file, picture.format, picture.extras.exif, animation)


def write_animation(
    path: Path | None,
    frames: Iterable[np.ndarray],
    animation: Animation,
    source: Picture,
    *,
    format: str,
    quality: int | None = None,
    overwrite: bool = False,
) -> tuple[bytes, list[str]]:
    """Write frames (H, W, bands) uint8 as they arrive.

    Args:
        path: the file, which appears whole or not at all; None for bytes.
        source: the picture whose metadata are copied.
        format: one of ANIMATED_FORMATS.
        quality, overwrite: as in `write_picture`.

    Returns:
        The bytes, empty if a file was written, and notes on what the format cannot hold.

    Raises:
        PictureError: as `write_picture`.
    """
    metadata = read_metadata(source.image, source.extras)
    bits = ["16 bits rounded to 8: frames have no more"] if source.dtype == np.uint16 else []
    name = source.name if path is None else str(path)

    def encode(file: Path | None) -> tuple[bytes, list[str]]:
        content, notes = encode_animation(
            file, name, frames, animation, format=format, quality=quality, metadata=metadata
        )
        return content, [*bits, *notes]

    if path is None:
        return encode(None)
    with new_file(path, overwrite) as temporary:
        return encode(temporary)
