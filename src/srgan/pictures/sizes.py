"""Sizes of results: from the options and the size of the source."""

from srgan.pictures.files import SizeError
from srgan.pictures.options import MAX_SCALE, ResultOptions


def enlarged_size(
    name: str, size: tuple[int, int], options: ResultOptions, model_scale: int
) -> tuple[int, int]:
    """(height, width) of the result for a source of (height, width) pixels, aspect kept.

    Args:
        name: of the source, for the error.

    Raises:
        SizeError: the size asked for is out of reach.
    """
    height, width = size
    scales = [float(options.scale or model_scale)]
    if options.width or options.height:
        wanted = ((options.width, width), (options.height, height))
        scales = [target / side for target, side in wanted if target]
    scale = min(scales)
    if scale > MAX_SCALE:
        raise SizeError(
            f"{name}: enlarging {width} x {height} pixels {scale:.3g} times is not "
            f"possible, at most {MAX_SCALE}: ask for a smaller width or height"
        )
    return max(round(height * scale), 1), max(round(width * scale), 1)


def size_tag(options: ResultOptions, model_scale: int) -> str:
    """What the name of a result beside its source gets: its size, such as _x4 or _w800."""
    if options.width or options.height:
        sides = (("w", options.width), ("h", options.height))
        return "_" + "".join(f"{side}{pixels}" for side, pixels in sides if pixels)
    return f"_x{options.scale or model_scale:g}"
