"""Use the installed srgan as a newcomer does: upscale pictures, from another folder.

python .ci/smoke.py PICTURES [--without-torch] [--limit MEGABYTES]
"""

import argparse
import importlib.util
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from PIL import Image

import srgan

SCALE = 4
TOOLS = {"pip", "setuptools"}  # `python -m venv` brings them, srgan does not


def upscale(pictures: Path) -> int:
    """Upscale a folder by the command and one picture by the call; return how many it holds."""
    paths = sorted(pictures.glob("*.png"))
    assert paths, f"no pictures in {pictures}"
    with tempfile.TemporaryDirectory() as folder:
        command = shutil.which("srgan", path=sysconfig.get_path("scripts"))
        assert command, "no srgan command beside this Python"
        subprocess.run([command, "upscale", str(pictures), "-o", folder], cwd=folder, check=True)
        for path in paths:
            (result,) = Path(folder).glob(f"{path.stem}*.png")
            with Image.open(path) as lr, Image.open(result) as sr:
                assert sr.size == (SCALE * lr.width, SCALE * lr.height), (result.name, sr.size)
    with Image.open(paths[0]) as lr:
        assert srgan.upscale(lr).size == (SCALE * lr.width, SCALE * lr.height)
    return len(paths)


def megabytes(environment: Path) -> float:
    """Size of a virtual environment on disk, without pip and setuptools."""
    return sum(
        path.stat().st_blocks * 512
        for path in environment.rglob("*")
        if path.is_file()
        and not path.is_symlink()
        and not any(part.split("-")[0] in TOOLS for part in path.relative_to(environment).parts)
    ) / (1 << 20)


def main() -> None:
    """Exit with 0 if srgan works as installed, and is as small as asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--without-torch", action="store_true")
    parser.add_argument("--limit", type=float, metavar="MEGABYTES")
    options = parser.parse_args()

    source = Path(__file__).resolve().parents[1] / "src"
    assert source not in Path(srgan.__file__).resolve().parents, "srgan comes from the checkout"
    if options.without_torch:
        assert importlib.util.find_spec("torch") is None, "the base install brings torch"
    print(f"srgan {srgan.__version__}: {upscale(options.pictures.resolve())} pictures upscaled")
    if options.limit:
        size = megabytes(Path(sys.prefix))
        print(f"{size:.0f} MB installed, at most {options.limit:.0f}")
        assert size <= options.limit


if __name__ == "__main__":
    main()
