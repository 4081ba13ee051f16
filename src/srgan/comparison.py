"""Before and after: a labelled picture of bicubic beside SR, at 100 %."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from srgan.images import PictureError, open_picture, write_picture
from srgan.resample import bicubic, round_to
from srgan.upscaler import Upscaler

PANEL = 1024  # pixels: larger results are shown by their middle
LABEL = 40  # height of the line of text


def compare(image_path: Path, upscaler: Upscaler, output_dir: Path, label: str) -> list[Path]:
    """Upscale a picture; write the result as PNG and beside it a labelled comparison.

    Returns:
        The two files: NAME_LABEL.png, NAME_LABEL_comparison.png. Files of these names from an
        earlier run are replaced.

    Raises:
        PictureError: the picture cannot be read, or the results not be written.
    """
    picture = open_picture(image_path)
    lr = picture[: picture.shape[0], : picture.shape[1]]
    sr = upscaler(lr)
    output_dir.mkdir(parents=True, exist_ok=True)
    result = output_dir / f"{image_path.stem}_{label.lower()}.png"
    comparison = result.with_name(f"{result.stem}_comparison.png")
    if result.exists() and result.samefile(image_path):
        raise PictureError(f"{image_path}: the result would replace it; choose another folder")
    write_picture(result, [sr], sr.shape, sr.dtype, format="png", source=picture, overwrite=True)
    panels = np.asarray(side_by_side(lr, sr, label))
    write_picture(comparison, [panels], panels.shape, panels.dtype, format="png", overwrite=True)
    return [result, comparison]


def side_by_side(lr: np.ndarray, sr: np.ndarray, label: str) -> Image.Image:
    """Bicubic beside SR, of uint8 or uint16 arrays (H, W, bands); the middle of large ones."""
    levels = np.iinfo(lr.dtype).max
    height, width, _ = sr.shape
    plain = bicubic(lr.astype(np.float32) / levels * 255, height, width)
    panels = [round_to(plain, np.dtype(np.uint8)), (sr // (levels // 255)).astype(np.uint8)]
    top, left = max(height - PANEL, 0) // 2, max(width - PANEL, 0) // 2
    window = slice(top, top + PANEL), slice(left, left + PANEL)
    pictures = [_rgb(panel[window]) for panel in panels]
    return _labelled(pictures, ["bicubic", label])


def _rgb(image: np.ndarray) -> Image.Image:
    """On white where it is transparent."""
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    if picture.mode in ("LA", "RGBA"):
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    return picture.convert("RGB")


def _labelled(pictures: list[Image.Image], labels: list[str]) -> Image.Image:
    width, height = pictures[0].size
    gap = 8
    canvas = Image.new("RGB", (width * len(pictures) + gap, height + LABEL), "white")
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(22)
    for i, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        left = i * (width + gap)
        canvas.paste(picture, (left, LABEL))
        draw.text((left + 8, LABEL // 2), label, fill="black", font=font, anchor="lm")
    return canvas
