"""Upscale a picture with SRGAN: writes the result and a comparison with bicubic.

python3 test_srgan.py --image_path IMG --srgan_ckpt CKPT
"""

from pathlib import Path

from srgan.cli.run import run_script


def main(*, image_path: Path, srgan_ckpt: str, output_dir: Path = Path()) -> None:
    """Upscale a picture with SRGAN; print the paths of the result and of a comparison.

    Args:
        image_path: The picture.
        srgan_ckpt: A model file, or the name of a shipped model.
        output_dir: Folder for both files; by default the current one.
    """
    from srgan.upscaling.comparison import compare
    from srgan.upscaling.upscaler import Upscaler

    for path in compare(image_path, Upscaler.load(srgan_ckpt), output_dir, "SRGAN"):
        print(path)


if __name__ == "__main__":
    run_script(main)
