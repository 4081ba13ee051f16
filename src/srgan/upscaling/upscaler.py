"""`Upscaler`: a picture of any size and kind in, the upscaled picture out, at any size.

This module holds the public calls: kinds of input, target sizes. The loop over tiles is in
`srgan.upscaling.bands`, their plan in `srgan.upscaling.tiles`.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast, overload

import numpy as np
from PIL import Image

from srgan.engines.base import Engine
from srgan.engines.create import create_engine
from srgan.engines.options import EngineOptions, Precision
from srgan.models.load import load_model
from srgan.models.mix import with_detail
from srgan.networks.foreign import Model
from srgan.pictures.images import open_picture
from srgan.pictures.options import MAX_SCALE
from srgan.pictures.pixels import (
    Pixels,
    check_array,
    from_pil,
    is_gray,
    levels,
    quantise,
    resize_alpha_rows,
    result_type,
    to_pil,
)
from srgan.pictures.resample import resize_rows
from srgan.upscaling.bands import TiledRun
from srgan.upscaling.options import DEFAULT_MODEL

ImageLike = TypeVar("ImageLike", np.ndarray, Image.Image)


class Upscaler:
    """A model that is ready to upscale pictures. Not for use by two threads at once.

    Examples:
        >>> upscaler = Upscaler.load("srresnet-x4")
        >>> sr = upscaler(lr)  # a path, a PIL image or an array
    """

    def __init__(self, model: Model, options: EngineOptions | None = None) -> None:
        """Build the engine, so that an unsupported one fails before any work.

        Args:
            model: the network, from `load_model`.
            options: engine, precision, threads and tiles.

        Raises:
            EngineError: the engine is not installed, or lacks the precision.
        """
        self.model = model
        self.options = options or EngineOptions()
        self.scale = model.scale
        self._engines: dict[Precision, Engine] = {}
        self._engine(self.options.precision)

    @classmethod
    def load(
        cls, model: str | Path = DEFAULT_MODEL, *, detail: float | None = None, **options: Any
    ) -> "Upscaler":
        """Load a model.

        Args:
            model: the name of a shipped model, the path of a model file, or hf:USER/NAME.
            detail: 0 (faithful) to 1 (vivid), for the models whose file names a partner, such as
                srgan-x4. The default is the model's own.
            options: the fields of `EngineOptions`.

        Raises:
            CheckpointError: the model does not exist, or its file is damaged.
            EngineError: the engine is not installed, or lacks the precision.
        """
        return cls(with_detail(load_model(model), detail), EngineOptions(**options))

    def __reduce__(self) -> tuple[Any, ...]:
        """What pickle keeps, for other processes: engines are built again."""
        return type(self), (self.model, self.options)

    def _engine(self, precision: Precision) -> Engine:
        if precision not in self._engines:
            options = replace(self.options, precision=precision)
            self._engines[precision] = create_engine(self.model, options)
        return self._engines[precision]

    def engine_for(self, dtype: np.dtype) -> Engine:
        """The engine for pictures of `dtype`.

        With precision "auto" it is fp32 for 16-bit and float pictures: bf16 has too few levels.
        """
        engine = self._engine(self.options.precision)
        if self.options.precision == "auto" and dtype != np.uint8 and engine.precision != "fp32":
            return self._engine("fp32")
        return engine

    def target(self, height: int, width: int, scale: float | None = None) -> tuple[int, int]:
        """Height and width of the result.

        Args:
            scale: result pixels per pixel; the default is the model's own.

        Raises:
            ValueError: `scale` is out of range.
        """
        return target_size(height, width, self.scale if scale is None else scale)

    @overload
    def __call__(
        self, image: str | Path, *, scale: float | None = None, tta: bool = False
    ) -> np.ndarray: ...
    @overload
    def __call__(
        self, image: ImageLike, *, scale: float | None = None, tta: bool = False
    ) -> ImageLike: ...
    def __call__(
        self,
        image: str | Path | np.ndarray | Image.Image,
        *,
        scale: float | None = None,
        tta: bool = False,
    ) -> np.ndarray | Image.Image:
        """Upscale a whole picture in memory.

        Args:
            image: a path (gives an array), a PIL image (gives a PIL image), or an array (H, W)
                or (H, W, C) with 1 to 4 bands of uint8, uint16 or float in [0, 1] (gives an
                array of the same type).
            scale: result pixels per pixel; the default is the model's own.
            tta: average over the 8 flips and rotations: 8 times the work, a little more PSNR.

        Raises:
            PictureError: the path cannot be read.
            TypeError: an array of another type.
            ValueError: an array of another shape, or `scale` is out of range.
        """
        pixels = as_pixels(image)
        height, width, _ = pixels.shape
        size = self.target(height, width, scale)
        result = np.concatenate(list(self.rows(pixels, size=size, tta=tta)))
        if isinstance(image, str | Path):
            return result
        if isinstance(image, Image.Image):
            return to_pil(result, image)
        bands = np.shape(image)[2:]  # of an array (H, W) the result has none either
        return result.astype(pixels.dtype, copy=False).reshape(*size, *bands)

    def rows(
        self,
        image: Pixels,
        *,
        size: tuple[int, int] | None = None,
        tta: bool = False,
        gray: bool | None = None,
        progress: Callable[[float], None] = lambda _fraction: None,
    ) -> Generator[np.ndarray, None, None]:
        """Upscale in blocks of rows, for progress, cancelling and streaming.

        Args:
            image: (H, W, bands): gray, gray and alpha, RGB, or RGBA with straight alpha.
            size: (height, width) of the result; the default is the model's scale. For other
                sizes the network's result is resized.
            tta: average over the 8 flips and rotations: 8 times the work, a little more PSNR.
            gray: the picture shows only grays, and so does the result: a network gives even
                equal R, G and B a tint. None: looks whether it does. False is for a gray part
                of a picture in colour.
            progress: called after every tile, so more often than rows are yielded, with the
                fraction of the network's work that is done. An exception that it raises ends
                the work.

        Yields:
            Finished rows of SR from top to bottom, (rows, width, bands), of the image's dtype
            (float32 for floats); together they are the picture. Memory does not grow with the
            picture.

        Raises:
            PictureError: the picture turns out to be damaged.
            TypeError, ValueError: an array of another type or shape, or a size below 1.
            MemoryError: memory does not suffice for the smallest tiles.
            EngineError: the network's output is not finite.
        """
        if isinstance(image, np.ndarray):
            image = as_pixels(cast(np.ndarray, image))
        height, width, _ = image.shape
        native = self.target(height, width)
        if size is not None and min(size) < 1:
            raise ValueError(f"size must be (height, width), at least 1 each, not {size}")
        gray = is_gray(image) if gray is None else gray
        if size is None or size == native:
            yield from self._bands(image, image.dtype, tta, gray, progress)
            return
        # More levels than the result has, so that rounding twice does not show.
        wide = np.dtype(np.uint16 if image.dtype.kind == "u" else np.float32)
        bands = self._bands(image, wide, tta, gray, progress)
        resize = resize_alpha_rows if image.shape[2] in (2, 4) else resize_rows
        for block in resize(bands, native, size):
            result = np.empty(block.shape, result_type(image.dtype))
            quantise(block / levels(wide), result)
            yield result

    def _bands(
        self,
        image: Pixels,
        dtype: np.dtype,
        tta: bool,
        gray: bool,
        progress: Callable[[float], None],
    ) -> Iterator[np.ndarray]:
        """Rows of SR at the model's own scale, as `dtype`."""
        engine = self.engine_for(image.dtype)
        run = TiledRun(
            image,
            dtype,
            engine,
            lambda: self._engine("fp32"),
            tta,
            network_alpha=self.options.alpha == "network",
            gray=gray,
        )
        return run.rows(self.options.tile, progress)


def as_pixels(image: str | Path | np.ndarray | Image.Image) -> Pixels:
    """The pixels (H, W, bands) of a picture of any kind that `Upscaler` takes.

    Raises:
        PictureError, TypeError, ValueError: as in `Upscaler.__call__`.
    """
    if isinstance(image, str | Path):
        return open_picture(Path(image))
    if isinstance(image, Image.Image):
        return from_pil(image)
    array = check_array(np.asarray(image))
    return array if array.ndim == 3 else array[..., None]


def target_size(height: int, width: int, factor: float) -> tuple[int, int]:
    """Height and width of a result, at least 1 each.

    Raises:
        ValueError: the factor is out of range.
    """
    if not 0 < factor <= MAX_SCALE:
        raise ValueError(f"scale must be above 0 and at most {MAX_SCALE}, not {factor}")
    return max(round(height * factor), 1), max(round(width * factor), 1)
