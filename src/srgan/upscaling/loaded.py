"""`srgan.upscale`: one picture in a call, by a model that stays loaded."""

from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import overload

import numpy as np
from PIL import Image

from srgan.engines.options import EngineOptions
from srgan.upscaling.auto import ModelChooser
from srgan.upscaling.options import AUTO, DEFAULT_MODEL
from srgan.upscaling.upscaler import ImageLike, Upscaler, as_pixels, target_size

_turn = Lock()  # an Upscaler is not for two threads at once


@overload
def upscale(
    image: str | Path, model: str | Path = DEFAULT_MODEL, *, scale: float | None = None
) -> np.ndarray: ...
@overload
def upscale(
    image: ImageLike, model: str | Path = DEFAULT_MODEL, *, scale: float | None = None
) -> ImageLike: ...
def upscale(
    image: str | Path | np.ndarray | Image.Image,
    model: str | Path = DEFAULT_MODEL,
    *,
    scale: float | None = None,
) -> np.ndarray | Image.Image:
    """Upscale one picture. The model stays loaded for the next call; threads take turns.

    Args:
        image: a path (gives an array), a PIL image (gives a PIL image) or an array, as in
            `Upscaler.__call__`.
        model: the name of a shipped model, the path of a model file, hf:USER/NAME, or auto,
            which looks at the picture and chooses among the shipped models, as `srgan upscale`
            does. Only of a path does it know the quality of a JPEG.
        scale: result pixels per pixel; the default is the model's own: 4 for srgan-x4 and auto.

    Returns:
        The picture, of the same kind as `image`.

    Raises:
        PictureError: the path cannot be read.
        CheckpointError: the model does not exist, or its file is damaged.
        ValueError: `scale` is out of range, or an array has another shape.

    Examples:
        >>> sr = srgan.upscale("photo.jpg")
    """
    with _turn:
        upscaler = _chosen(image, scale) if model == AUTO else _loaded(model, _stamp(model))
        return upscaler(image, scale=scale)


def _chosen(image: str | Path | np.ndarray | Image.Image, scale: float | None) -> Upscaler:
    """The upscaler of the model that "auto" chooses for a picture."""
    chooser = _chooser()
    pixels = as_pixels(image)
    height, width, _ = pixels.shape
    size = target_size(height, width, chooser.scale if scale is None else scale)
    return chooser.upscaler(chooser.choose(pixels, size).model)


@lru_cache(maxsize=1)
def _chooser() -> ModelChooser:
    return ModelChooser(AUTO, None, EngineOptions())


def _stamp(model: str | Path) -> tuple[str, int, int] | None:
    """What tells a model file from the next one of its name; None for a model's name."""
    path = Path(model)
    try:
        found = path.stat()
    except OSError:
        return None
    return str(path.absolute()), found.st_mtime_ns, found.st_size


@lru_cache(maxsize=1)
def _loaded(model: str | Path, _version: tuple[str, int, int] | None) -> Upscaler:
    return Upscaler.load(model)
