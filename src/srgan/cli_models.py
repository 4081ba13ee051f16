"""The `srgan convert`, `srgan export` and `srgan push` commands: each parses, calls, prints."""

from pathlib import Path
from typing import Annotated

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

    if output is None:
        output = file.with_name(file.name.partition(".")[0] + ".safetensors")
    _check_output(output, overwrite)
    checkpoint = load_checkpoint(file)
    save_checkpoint(output, checkpoint)
    architecture = checkpoint.architecture
    print(f"{file} -> {output}")
    print(
        f"  {checkpoint.info.get('source', 'srgan')}: x{architecture.scale}, "
        f"{architecture.blocks} blocks of {architecture.channels} channels, "
        f"{parameters(checkpoint):,} parameters"
    )


def _check_output(output: Path, overwrite: bool) -> None:
    if output.exists() and not overwrite:
        raise OptionError(f"{output}: exists; use --overwrite")
