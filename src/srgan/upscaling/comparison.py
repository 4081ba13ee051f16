"""Writes the result of a picture and, for the eye, a labelled picture of bicubic beside SR."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from srgan.pictures.images import PictureError, make_folder, open_picture, write_picture
from srgan.pictures.pixels import Pixels
from srgan.pictures.resample import bicubic, round_to
from srgan.upscaling.upscaler import Upscaler

PANEL = 1024  # pixels: larger results show only their middle
LABEL = 40  # pixels: height of the line of text


def compare(image_path: Path, upscaler: Upscaler, output_dir: Path, label: str) -> list[Path]:
    """Upscale a picture; write the result as PNG, and beside it a labelled comparison.

    Files of the same names are replaced.

    Returns:
        The two files: NAME_LABEL.png, NAME_LABEL_comparison.png.

    Raises:
        PictureError: the picture cannot be read, or a result cannot be written.
    """
    picture = open_picture(image_path)
    height, width, bands = picture.shape
    size = upscaler.target(height, width)
    make_folder(output_dir)
    result = output_dir / f"{image_path.stem}_{label.lower()}.png"
    comparison = result.with_name(f"{result.stem}_comparison.png")
    if any(path.exists() and path.samefile(image_path) for path in (result, comparison)):
        raise PictureError(f"{image_path}: the result would replace it: choose another folder")
    write_picture(
        result,
        upscaler.rows(picture),
        (*size, bands),
        picture.dtype,
        format="png",
        source=picture,
        overwrite=True,
    )
    panels = np.asarray(side_by_side(picture, open_picture(result), label))
    write_picture(comparison, [panels], panels.shape, panels.dtype, format="png", overwrite=True)
    return [result, comparison]


def side_by_side(lr: Pixels, sr: Pixels, label: str) -> Image.Image:
    """Draw bicubic beside SR, at 100 %; of large pictures only the middle.

    Args:
        lr: (h, w, bands), uint8 or uint16.
        sr: (scale * h, scale * w, bands), of the same type.
        label: the text above SR.
    """
    scale = sr.shape[0] // lr.shape[0]
    windows = [_middle(length, PANEL // scale) for length in lr.shape[:2]]
    part = lr[windows[0], windows[1]]
    top = np.iinfo(lr.dtype).max
    height, width = (length * scale for length in part.shape[:2])
    plain = bicubic(part.astype(np.float32) / top * 255, height, width)
    window = [slice(each.start * scale, each.stop * scale) for each in windows]
    panels = [plain, sr[window[0], window[1]].astype(np.float32) / top * 255]
    pictures = [_rgb(round_to(panel, np.dtype(np.uint8))) for panel in panels]
    return labelled(pictures, ["bicubic", label])


def _middle(length: int, size: int) -> slice:
    start = max(length - size, 0) // 2
    return slice(start, min(start + size, length))


def _rgb(image: np.ndarray) -> Image.Image:
    """(H, W, bands) uint8 as an RGB image, with white behind transparent pixels."""
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    if picture.mode in ("LA", "RGBA"):
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    return picture.convert("RGB")


def labelled(pictures: list[Image.Image], labels: list[str]) -> Image.Image:
    """Draw pictures of the same size side by side, each under its label."""
    width, height = pictures[0].size
    gap = 8
    canvas = Image.new("RGB", ((width + gap) * len(pictures) - gap, height + LABEL), "white")
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(22)
    for i, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        left = i * (width + gap)
        canvas.paste(picture, (left, LABEL))
        draw.text((left + 8, LABEL // 2), label, fill="black", font=font, anchor="lm")
    return canvas
