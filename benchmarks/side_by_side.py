"""Ten small pictures of ten kinds, enlarged by srgan and by another project's network.

    python benchmarks/side_by_side.py RealESRGAN_x4plus.safetensors

Seven pictures are from scikit-image, and three are drawn here. Each is reduced to a quarter by one
of the chains of real_world.py, as it might come from a phone, a gallery, a messenger or a
screenshot. What is written shows a part of each at 100 %: bicubic, srgan, the other network, the
original.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyvips
from PIL import Image
from real_world import CHAINS, SCALE
from rich.console import Console
from skimage import data

from srgan.cli.commands import app
from srgan.cli.run import run_script
from srgan.degradation.degrade import fixed_rng
from srgan.pictures.pixels import rgb_uint8
from srgan.pictures.resample import bicubic_8bit
from srgan.upscaling.comparison import labelled
from srgan.upscaling.upscaler import Upscaler

DOCS = Path(__file__).parent.parent / "docs"
HEIGHT, WIDTH = 264, 392  # of a part, in pixels of the result
AROUND = 64  # pixels around it that are computed, too
GAP = 8


def drawn(svg: bytes, width: int) -> np.ndarray:
    """A vector drawing as a picture `width` pixels wide, on white."""
    natural = pyvips.Image.svgload_buffer(svg).width
    return pyvips.Image.svgload_buffer(svg, scale=width / natural).flatten(background=[255]).numpy()


def help_in_a_terminal() -> np.ndarray:
    """A screenshot of `srgan --help`."""
    console = Console(record=True, width=80, file=io.StringIO())
    app.help_print([], console=console)
    return drawn(console.export_svg(title="srgan --help").encode(), 2400)


def scanned() -> np.ndarray:
    """The licence, a little askew, on paper that is not quite white."""
    words = (DOCS.parent / "LICENSE").read_text(encoding="utf-8")[:1500]
    ink = pyvips.Image.text(words.replace("&", "and").replace("<", ""), width=1500, dpi=170)
    page = (232 - ink * 0.75).embed(80, 80, ink.width + 160, ink.height + 160, background=[232])
    askew = page.rotate(0.7, background=[232])
    grain = pyvips.Image.gaussnoise(askew.width, askew.height, sigma=4, mean=0, seed=0)
    return (askew + grain).cast("uchar").numpy()


class Example(NamedTuple):
    """A picture, the chain that reduces it, and the corner of the part that is shown."""

    picture: Callable[[], np.ndarray]
    chain: str
    top: int
    left: int


EXAMPLES = {
    "face": Example(data.astronaut, "messenger", 20, 90),
    "fur": Example(data.chelsea, "camera", 20, 60),
    "text": Example(data.text, "messenger", 0, 0),
    "sky": Example(data.rocket, "messenger", 20, 160),
    "night": Example(data.hubble_deep_field, "camera", 300, 300),
    "foliage": Example(data.grass, "camera", 100, 60),
    "brick": Example(data.brick, "gallery", 100, 60),
    "scan": Example(scanned, "messenger", 90, 90),
    "screenshot": Example(help_in_a_terminal, "screenshot", 300, 40),
    "drawing": Example(
        lambda: drawn((DOCS / "upscaling.svg").read_bytes(), 2000), "messenger", 300, 100
    ),
}


def main(
    peer: Path, /, *, model: str = "srgan-blurry-x4", folder: Path = DOCS / "side-by-side"
) -> None:
    """Draw the pictures.

    Args:
        peer: Another project's network, as `srgan upscale --model` takes it.
        model: Ours.
        folder: For NAME.webp.
    """
    folder.mkdir(exist_ok=True)
    upscalers = {"srgan": Upscaler.load(model), peer.stem: Upscaler.load(str(peer))}
    for name, example in EXAMPLES.items():
        original, (down, right) = part_of(rgb_uint8(np.atleast_3d(example.picture())), example)
        lr = CHAINS[example.chain](original, fixed_rng(0, name))
        shown = {f"{name}, bicubic": bicubic_8bit(lr, *original.shape[:2])}
        shown |= {label: upscaler(lr) for label, upscaler in upscalers.items()}
        shown["original"] = original
        parts = [
            Image.fromarray(np.ascontiguousarray(each[down, right])) for each in shown.values()
        ]
        labels = list(shown)
        rows = [labelled(parts[k : k + 2], labels[k : k + 2]) for k in (0, 2)]
        path = folder / f"{name}.webp"
        stacked(rows).save(path, quality=85, method=6)
        print(path)


def part_of(picture: np.ndarray, example: Example) -> tuple[np.ndarray, tuple[slice, slice]]:
    """The part to compute, its sides multiples of the scale, and where in it to show which part."""
    read: list[slice] = []
    show: list[slice] = []
    sides = (example.top, HEIGHT), (example.left, WIDTH)
    for length, (at, side) in zip(picture.shape, sides, strict=False):
        first = max(at - AROUND, 0)
        last = min(at + side + AROUND, length)
        read.append(slice(first, last - (last - first) % SCALE))
        show.append(slice(at - first, at - first + side))
    return np.ascontiguousarray(picture[read[0], read[1]]), (show[0], show[1])


def stacked(rows: list[Image.Image]) -> Image.Image:
    """Rows of one size, one below the other."""
    width, height = rows[0].size
    canvas = Image.new("RGB", (width, len(rows) * (height + GAP) - GAP), "white")
    for k, row in enumerate(rows):
        canvas.paste(row, (0, k * (height + GAP)))
    return canvas


if __name__ == "__main__":
    run_script(main)
