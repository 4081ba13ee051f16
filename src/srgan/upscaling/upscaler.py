"""Pictures of any size and kind through the network, in tiles, to any target size."""

import logging
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import lru_cache, partial
from math import isqrt
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar, cast, overload

import numpy as np
from PIL import Image

from srgan.engines.base import Engine, EngineError
from srgan.engines.create import create_engine
from srgan.engines.options import MIN_TILE, EngineOptions, Precision
from srgan.models.load import load_checkpoint
from srgan.models.mix import with_detail
from srgan.networks.architecture import Checkpoint
from srgan.pictures.images import open_picture
from srgan.pictures.options import MAX_SCALE
from srgan.pictures.pixels import (
    Pixels,
    check_array,
    fill_transparent,
    from_pil,
    levels,
    quantise,
    result_type,
    to_pil,
    unit_range,
)
from srgan.pictures.resample import bicubic, resize_rows
from srgan.upscaling.options import DEFAULT_MODEL
from srgan.upscaling.tiles import Part, Span, flips_and_turns, shape_for, spans, tile_by_tile

MIN_SIDE = 8  # LR pixels: smaller pictures are padded
HALO = 16  # LR pixels: beyond it the trunk's influence stays under 0.01 8-bit levels
TRUNK_PIXELS = 600_000  # LR pixels of a trunk tile: 0.6 GB in fp32
TRUNK_SHARE = 0.6  # of the shipped network's multiplications
BAND_BYTES = 200_000_000  # of finished SR rows held at once; a few more for very wide pictures
BLOCK_BYTES = 20_000_000  # of SR rows yielded at a time

log = logging.getLogger("srgan")

ImageLike = TypeVar("ImageLike", np.ndarray, Image.Image)


class Upscaler:
    """A model ready to upscale pictures. It holds its engines, and serves one thread at a time.

    Examples:
        >>> upscaler = Upscaler.load("srresnet-x4")
        >>> sr = upscaler(lr)  # a path, a PIL image or an array
    """

    def __init__(self, checkpoint: Checkpoint, options: EngineOptions | None = None) -> None:
        """Build the engine at once, so that an unsupported one fails before any work.

        Args:
            checkpoint: the network, from `load_checkpoint`.
            options: engine, precision, threads and tiles.

        Raises:
            EngineError: the engine is not installed, or lacks the precision.
        """
        self.checkpoint = checkpoint
        self.options = options or EngineOptions()
        self.scale = checkpoint.architecture.scale
        self._engines: dict[Precision, Engine] = {}
        self._engine(self.options.precision)

    @classmethod
    def load(
        cls, model: str | Path = DEFAULT_MODEL, *, detail: float | None = None, **options: Any
    ) -> "Upscaler":
        """Load a model.

        Args:
            model: the name of a shipped model, the path of a model file, or hf:USER/NAME.
            detail: 0 (faithful) to 1 (vivid), for the models whose file names a partner:
                srgan-x4, srgan-blurry-x4. The default is the model's own.
            options: the fields of `EngineOptions`.

        Raises:
            CheckpointError: the model does not exist, or its file is damaged.
            EngineError: the engine is not installed, or lacks the precision.
        """
        return cls(with_detail(load_checkpoint(model), detail), EngineOptions(**options))

    def _engine(self, precision: Precision) -> Engine:
        if precision not in self._engines:
            options = replace(self.options, precision=precision)
            self._engines[precision] = create_engine(self.checkpoint, options)
        return self._engines[precision]

    def engine_for(self, dtype: np.dtype) -> Engine:
        """The engine for pictures of `dtype`: bf16 keeps too few levels for 16 bits."""
        engine = self._engine(self.options.precision)
        if self.options.precision == "auto" and dtype != np.uint8 and engine.precision != "fp32":
            return self._engine("fp32")
        return engine

    def target(self, height: int, width: int, scale: float | None = None) -> tuple[int, int]:
        """Height and width of the result; the default of `scale` is the model's own."""
        factor = self.scale if scale is None else scale
        if not 0 < factor <= MAX_SCALE:
            raise ValueError(f"scale must be above 0 and at most {MAX_SCALE}, not {factor}")
        return max(round(height * factor), 1), max(round(width * factor), 1)

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
            tta: average over the 8 flips and turns: 8 times the work, a little more PSNR.

        Raises:
            PictureError: the path cannot be read.
            TypeError: an array of another type.
            ValueError: an array of another shape, or `scale` is out of range.
        """
        if isinstance(image, str | Path):
            picture = open_picture(Path(image))
            return self._whole(cast(Pixels, picture), scale, tta)
        if isinstance(image, Image.Image):
            return to_pil(self._whole(from_pil(image), scale, tta), image)
        array = check_array(np.asarray(image))
        result = self._whole(array if array.ndim == 3 else array[..., None], scale, tta)
        return result.astype(array.dtype, copy=False).reshape(*result.shape[:2], *array.shape[2:])

    def _whole(self, image: Pixels, scale: float | None, tta: bool) -> np.ndarray:
        height, width, _ = image.shape
        size = self.target(height, width, scale)
        return np.concatenate(list(self.rows(image, size=size, tta=tta)))

    def rows(
        self,
        image: Pixels,
        *,
        size: tuple[int, int] | None = None,
        tta: bool = False,
        progress: Callable[[float], None] = lambda _fraction: None,
    ) -> Generator[np.ndarray, None, None]:
        """Upscale in bands of rows, for progress, cancelling and streaming.

        Args:
            image: (H, W, bands): gray, gray and alpha, RGB, or RGBA with straight alpha.
            size: (height, width) of the result; the default is the model's scale. For other
                sizes the network's result is resized.
            tta: average over the 8 flips and turns: 8 times the work, a little more PSNR.
            progress: called after every tile with the fraction of the network's work that is
                done; an exception that it raises ends the work. Tiles are finer than bands.

        Yields:
            Finished rows of SR from top to bottom, (rows, width, bands), of the image's dtype
            (float32 for floats); together they are the picture. Memory does not grow with the
            picture.
        """
        if isinstance(image, np.ndarray):
            image = check_array(image)
            image = image if image.ndim == 3 else image[..., None]
        height, width, _ = image.shape
        if min(height, width) < MIN_SIDE:
            yield from self._tiny(image, size, tta, progress)
            return
        native = self.target(height, width)
        if size is None or size == native:
            yield from self._bands(image, image.dtype, tta, progress)
            return
        # More levels than the result has, so that rounding twice does not show.
        wide = np.dtype(np.uint16 if image.dtype.kind == "u" else np.float32)
        for block in resize_rows(self._bands(image, wide, tta, progress), native, size):
            result = np.empty(block.shape, result_type(image.dtype))
            quantise(block / levels(wide), result)
            yield result

    def _tiny(
        self,
        image: Pixels,
        size: tuple[int, int] | None,
        tta: bool,
        progress: Callable[[float], None],
    ) -> Generator[np.ndarray, None, None]:
        """A picture of a few pixels a side: its edges repeated, since the network's zero padding
        would outweigh it."""
        height, width, _ = image.shape
        missing = [max(MIN_SIDE - length, 0) for length in (height, width)]
        padding = [(pixels // 2, pixels - pixels // 2) for pixels in missing]
        padded = np.pad(image[:height, :width], [*padding, (0, 0)], "edge")
        wanted_height, wanted_width = size or self.target(height, width)
        scales = wanted_height / height, wanted_width / width
        target = [round(n * s) for n, s in zip(padded.shape[:2], scales, strict=True)]
        bands = self.rows(padded, size=(target[0], target[1]), tta=tta, progress=progress)
        rows = np.concatenate(list(bands))
        top, left = (round(p[0] * s) for p, s in zip(padding, scales, strict=True))
        yield rows[top : top + wanted_height, left : left + wanted_width]

    def _bands(
        self, image: Pixels, dtype: np.dtype, tta: bool, progress: Callable[[float], None]
    ) -> Iterator[np.ndarray]:
        """Rows of tiles at the model's scale; tiles get smaller when memory runs out."""
        height, width, bands = image.shape
        engine = self.engine_for(image.dtype)
        side = self.options.tile
        pixels = side**2 if side else TRUNK_PIXELS
        top = 0

        def report(pixels: float) -> None:  # SR pixels of the rows of tiles that begin at top
            done = top / height + pixels / (height * width * self.scale**2)
            progress(min(done, 1.0))  # a tile computed again in fp32 counts twice

        while top < height:
            tile = (isqrt(pixels),) * 2 if side else shape_for(width, pixels, HALO)
            fit = BAND_BYTES // (width * self.scale**2 * bands * dtype.itemsize)
            tile = max(min(tile[0], fit + 2 * HALO), MIN_TILE), tile[1]
            row = spans(height, tile[0], HALO, first=top)[0]
            try:
                columns = spans(width, tile[1], HALO)
                band = self._band(engine, image, row, columns, dtype, tta, report)
            except MemoryError:
                if pixels <= MIN_TILE**2:
                    raise
                pixels = max(pixels // 4, MIN_TILE**2)
                log.warning("out of memory: going on with tiles of half the side")
                continue
            block = max(BLOCK_BYTES // band[0].nbytes, 1)
            for start in range(0, len(band), block):  # copies, so that the band can go
                yield band[start : start + block].copy()
            del band
            top = row.last

    def _band(
        self,
        engine: Engine,
        image: Pixels,
        row: Span,
        columns: list[Span],
        dtype: np.dtype,
        tta: bool,
        report: Callable[[float], None],
    ) -> np.ndarray:
        bands = image.shape[2]
        scale = self.scale
        done = 0.0

        def advance(pixels: float) -> None:
            nonlocal done
            done += pixels
            report(done)

        rows = (row.last - row.first) * scale
        result = np.empty((rows, columns[-1].last * scale, bands), result_type(dtype))
        for column in columns:
            tile = unit_range(image[row.read, column.read])
            colour, alpha = (tile, None) if bands in (1, 3) else (tile[..., :-1], tile[..., -1:])
            if alpha is not None:
                colour = fill_transparent(colour, alpha)
            target = result[:, column.first * scale : column.last * scale]
            lr = np.broadcast_to(colour, (*colour.shape[:2], 3)).transpose(2, 0, 1)[None]
            pixels = rows * (column.last - column.first) * scale
            trunk_done = partial(advance, TRUNK_SHARE * pixels)
            for y, x, sr in self._super_resolve(engine, lr, row, column, tta, trunk_done):
                part = target[y : y + sr.shape[1], x : x + sr.shape[2], : colour.shape[2]]
                sr = sr if colour.shape[2] == 3 else sr.mean(0, keepdims=True)
                quantise(sr.transpose(1, 2, 0), part)
                advance((1 - TRUNK_SHARE) * part.shape[0] * part.shape[1])
            if alpha is not None:
                height, width, _ = alpha.shape
                grown = bicubic(alpha, height * scale, width * scale)
                quantise(grown[row.valid(scale), column.valid(scale)], target[..., -1:])
        return result

    def _super_resolve(
        self,
        engine: Engine,
        lr: np.ndarray,
        row: Span,
        column: Span,
        tta: bool,
        trunk_done: Callable[[], None],
    ) -> Iterator[Part]:
        """The parts of a tile's SR; all again in fp32 where a lower precision overflows."""
        run = flips_and_turns if tta else tile_by_tile
        for part in run(engine, lr, row, column, trunk_done):
            if not np.isfinite(part.sr.sum()):
                break
            yield part
        else:
            return
        if engine.precision == "fp32":
            raise EngineError("the network's output is not finite; the model file is damaged")
        log.warning("%s gave values that are not finite: tile computed in fp32", engine.precision)
        yield from self._super_resolve(self._engine("fp32"), lr, row, column, tta, trunk_done)


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
    """Upscale one picture. The model stays loaded for the next one; threads take turns.

    Args:
        image: a path (gives an array), a PIL image (gives a PIL image) or an array, as in
            `Upscaler.__call__`.
        model: the name of a shipped model, the path of a model file, or hf:USER/NAME.
        scale: result pixels per pixel; the default is the model's own, 4 for the shipped ones.

    Returns:
        The picture, of the same kind as `image`.

    Raises:
        PictureError: the path cannot be read.
        CheckpointError: the model does not exist, or its file is damaged.

    Examples:
        >>> sr = srgan.upscale("photo.jpg")
    """
    with _turn:
        return _loaded(model)(image, scale=scale)


_turn = Lock()


@lru_cache(maxsize=1)
def _loaded(model: str | Path) -> Upscaler:
    return Upscaler.load(model)
