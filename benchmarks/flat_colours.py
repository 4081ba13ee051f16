"""How far each model changes pictures of one colour, in 8-bit levels.

    python benchmarks/flat_colours.py [MODEL ...]

125 colours: each of R, G and B from 0 to 255 in five steps. Columns: the largest difference of the
outer 16 SR pixels and of the rest, and the colour in which it is largest.
"""

import itertools

import numpy as np
from rich.console import Console
from rich.table import Table

from srgan.cli.run import run_script
from srgan.models.file import shipped_models
from srgan.upscaling.upscaler import Upscaler

LEVELS = 0, 64, 128, 192, 255
SIDE, OUTER = 96, 16


def main(*models: str) -> None:
    """Print the differences of MODELS, by default of all shipped ones."""
    table = Table()
    for column in ("model", "outer 16 pixels", "inside", "colour"):
        table.add_column(column)
    for model in models or shipped_models():
        upscaler = Upscaler.load(model, precision="fp32", detail=None)
        side = SIDE // upscaler.scale
        found: list[tuple[int, int, tuple[int, ...]]] = []
        for colour in itertools.product(LEVELS, repeat=3):
            sr = upscaler(np.full((side, side, 3), colour, np.uint8)).astype(int)
            off = np.abs(sr - colour).max(-1)
            inside = int(off[OUTER:-OUTER, OUTER:-OUTER].max())
            off[OUTER:-OUTER, OUTER:-OUTER] = 0
            found.append((int(off.max()), inside, colour))
        worst = max(found, key=lambda each: max(each[:2]))
        outer, inside = (max(each[place] for each in found) for place in (0, 1))
        table.add_row(str(model), str(outer), str(inside), str(worst[2]))
    Console().print(table)


if __name__ == "__main__":
    run_script(main)
