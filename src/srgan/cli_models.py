"""The `srgan convert`, `srgan export` and `srgan push` commands: each parses, calls, prints."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from srgan.config import OptionError

CONVERT_EXAMPLES = """\
Examples:

  srgan convert checkpoint_srgan.pth.tar

  srgan convert net_g_latest.pth -o mine.safetensors

  srgan upscale photo.jpg --model mine.safetensors

Known are the SRResNet and SRGAN generators of sgrvinod, Lornatang, BasicSR, KAIR, mmagic,
leftthomas and dongheehand. Nothing in a file is ever executed. srgan upscale takes the files as
they are, too; converted, they need no PyTorch.
"""
EXPORT_EXAMPLES = """\
Examples:

  srgan export srresnet-x4 --format onnx

  srgan export mine.safetensors --format openvino --precision fp16 -o deploy/

  srgan export srresnet-x4 --format torchscript --uint8

Pictures may have any size. The input is called lr, the output sr. ONNX also runs in chaiNNer.
A file that does not compute what srgan computes is deleted; the largest difference is printed.
"""
PUSH_EXAMPLES = """\
Example:

  hf auth login

  srgan push runs/srgan/best.safetensors me/my-srgan

  srgan upscale photo.jpg --model hf:me/my-srgan
"""


def convert(
    file: Path,
    /,
    *,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    overwrite: bool = False,
) -> None:
    """Make a model file of another project's SRResNet or SRGAN: srgan convert generator.pth

    Args:
        file: Checkpoint, .pth or .safetensors, whatever is saved beside the generator.
        output: Model file to write; by default beside FILE, as .safetensors.
        overwrite: Replace a file that exists.
    """
    from srgan.checkpoint import load_checkpoint, parameters, save_checkpoint

    name = file.name.partition(".")[0] + ".safetensors"
    output = _target(output, name, overwrite, beside=file.parent)
    checkpoint = load_checkpoint(file)
    save_checkpoint(output, checkpoint)
    architecture = checkpoint.architecture
    print(f"{file} -> {output}")
    print(
        f"  {checkpoint.info.get('source', 'srgan')}: x{architecture.scale}, "
        f"{architecture.blocks} blocks of {architecture.channels} channels, "
        f"{parameters(checkpoint):,} parameters"
    )


def export(
    model: str,
    /,
    *,
    format: Literal["onnx", "openvino", "torchscript"],
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    precision: Literal["fp32", "fp16"] = "fp32",
    uint8: bool = False,
    overwrite: bool = False,
) -> None:
    """Write a model for other programs, and check that it computes the same.

    Args:
        model: A shipped model, a model file, or whatever else --model of srgan upscale takes.
        format: openvino is a pair of files, .xml and .bin; it needs nothing more installed, the
            others need: pip install 'srgan[export]'
        output: File to write, or a folder; by default MODEL's name in the current folder.
        precision: fp16 is half as large and not as exact; input and output stay float32.
        uint8: (N, H, W, 3) uint8 in and out instead of (N, 3, H, W) float32 in [0, 1]; RGB.
        overwrite: Replace a file that exists.
    """
    from srgan.checkpoint import load_checkpoint
    from srgan.export import SIZES, SUFFIXES
    from srgan.export import export as write

    stem = model.rpartition("/")[2].removesuffix(".safetensors")
    output = _target(output, stem + SUFFIXES[format], overwrite)
    difference = write(load_checkpoint(model), output, format, precision=precision, uint8=uint8)
    print(f"{model} -> {output}")
    print(
        f"  {format}, {precision}: differs from srgan by at most {difference:.1e} of white "
        f"(pictures of {len(SIZES)} sizes)"
    )


def push(model: str, repository: str, /, *, private: bool = False) -> None:
    """Put a model on the Hugging Face hub, with a card: srgan push mine.safetensors USER/NAME

    Args:
        model: A model file, or whatever else --model of srgan upscale takes.
        repository: USER/NAME; made if it does not exist.
        private: Make it a private one.
    """
    from srgan.checkpoint import load_checkpoint
    from srgan.hub import push as upload

    print(upload(load_checkpoint(model), repository, private=private))


def _target(output: Path | None, name: str, overwrite: bool, *, beside: Path = Path()) -> Path:
    """The file to write, by default `name` in the folder given or `beside`."""
    if output is None:
        output = beside / name
    elif output.is_dir():
        output = output / name
    if not output.parent.is_dir():
        raise OptionError(f"{output}: no such folder as {output.parent}")
    if output.exists() and not overwrite:
        raise OptionError(f"{output}: exists; use --overwrite")
    return output
