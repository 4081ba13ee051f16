"""`srgan models`, `convert`, `mix`, `export` and `push`: each parses, calls, prints."""

import json as json_lines
import math
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from srgan.errors import OptionError

CONVERT_EXAMPLES = """\
Examples:

  srgan convert checkpoint_srgan.pth.tar

  srgan convert net_g_latest.pth -o mine.safetensors

  srgan upscale photo.jpg --model mine.safetensors

Known are the SRResNet and SRGAN generators of sgrvinod, Lornatang, BasicSR, KAIR, mmagic,
leftthomas and dongheehand. Nothing in a file is ever executed. srgan upscale takes the files as
they are, too; converted, they need no PyTorch.
"""
MIX_EXAMPLES = """\
Examples:

  srgan mix runs/srgan/state-*.pt -o mean.safetensors

  srgan mix srresnet-x4=0.3 mine.safetensors=0.7 -o softer.safetensors

  srgan mix mine.safetensors=1 gained.safetensors=1 before.safetensors=-1 -o start.safetensors

The first is the mean of a run's states, often better than each of them. The third adds what a
model has gained since another one: a start to train on from. Only relatives can be mixed: models
of which one was trained from the other, or all from the same.
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


def models(*, json: bool = False) -> None:
    """List the models that come with srgan, with their cards.

    Args:
        json: One JSON object a model on standard output.
    """
    from srgan.models.file import shipped_models
    from srgan.models.load import load_checkpoint

    for name, path in shipped_models().items():
        checkpoint = load_checkpoint(name)
        if json:
            print(json_lines.dumps({"name": name, "path": str(path), **checkpoint.info}))
        else:
            _print_markdown(path.with_suffix(".md").read_text(encoding="utf-8"))


def _print_markdown(text: str) -> None:
    from rich.console import Console
    from rich.markdown import Markdown

    console: Any = Console()
    console.print(Markdown(text))


def convert(
    file: str,
    /,
    *,
    output: Annotated[str | None, Parameter(alias="-o")] = None,
    overwrite: bool = False,
) -> None:
    """Make a model file of another project's SRResNet or SRGAN: srgan convert generator.pth

    Args:
        file: Checkpoint, .pth or .safetensors, whatever is saved beside the generator; or
            hf:USER/NAME/FILE on the Hugging Face hub.
        output: Model file to write, .safetensors, or a folder/; by default beside FILE.
        overwrite: Replace a file that exists.
    """
    from srgan.models.convert import bare_name
    from srgan.models.file import save_checkpoint
    from srgan.models.load import load_checkpoint
    from srgan.networks.architecture import parameters

    path = Path(file)
    beside = Path() if file.startswith("hf:") else path.parent
    target = _target(output, beside / (bare_name(path) + ".safetensors"), overwrite)
    checkpoint = load_checkpoint(file)
    save_checkpoint(target, checkpoint)
    architecture = checkpoint.architecture
    print(f"{file} -> {target}")
    print(
        f"  {checkpoint.info.get('source', 'srgan')}: x{architecture.scale}, "
        f"{architecture.blocks} blocks of {architecture.channels} channels, "
        f"{parameters(checkpoint):,} parameters"
    )


def mix(
    *models: str,
    output: Annotated[str, Parameter(alias="-o")],
    overwrite: bool = False,
) -> None:
    """Make a model file of a sum of models' weights: srgan mix a.safetensors=0.7 b.safetensors=0.3

    Args:
        models: MODEL=SHARE, or MODEL, whose share is 1. Shares are divided by their sum; one below
            0 takes a model away. MODEL is whatever --model of srgan upscale takes, or a training
            state; of a model with a partner it is the vivid end, --detail 1.
        output: Model file to write, .safetensors.
        overwrite: Replace a file that exists.
    """
    from dataclasses import replace

    from srgan.models.file import save_checkpoint
    from srgan.models.load import load_checkpoint
    from srgan.models.mix import mix as mixed

    if not models:
        raise OptionError(
            "nothing to mix: name models, as in: srgan mix a.safetensors=0.7 srgan-x4"
        )
    target = _target(output, Path("mixed.safetensors"), overwrite)
    shares = [_share(model) for model in models]
    checkpoint = mixed([(load_checkpoint(model), share) for model, share in shares])
    total = sum(share for _, share in shares)
    parts = [(Path(model).name, share / total) for model, share in shares]
    info = {**checkpoint.info, "name": target.stem, "mix": parts}
    save_checkpoint(target, replace(checkpoint, info=info))
    for name, share in parts:
        print(f"{share:8.4f}  {name}")
    print(f"-> {target}")


def _share(model: str) -> tuple[str, float]:
    """MODEL=SHARE in two; a file may have "=" in its name."""
    name, _, number = model.rpartition("=")
    try:
        share = float(number) if name else 1.0
    except ValueError:
        return model, 1.0
    if not math.isfinite(share):
        raise OptionError(f"{model}: a share must be a number")
    return name or model, share


def export(
    model: str,
    /,
    *,
    format: Literal["onnx", "openvino", "torchscript"],
    output: Annotated[str | None, Parameter(alias="-o")] = None,
    detail: float | None = None,
    precision: Literal["fp32", "fp16"] = "fp32",
    uint8: bool = False,
    overwrite: bool = False,
) -> None:
    """Write a model for other programs, and check that it computes the same.

    Args:
        model: A shipped model, a model file, or whatever else --model of srgan upscale takes.
        format: openvino is a pair of files, .xml and .bin; it needs nothing more installed, the
            others need: pip install 'srgan[export]'
        output: File to write, or a folder/; by default MODEL's name in the current folder.
        detail: From 0 to 1, as of srgan upscale; by default the model's own.
        precision: fp16 is half as large and not as exact; input and output stay float32.
        uint8: (N, H, W, 3) uint8 in and out instead of (N, 3, H, W) float32 in [0, 1]; RGB.
        overwrite: Replace a file that exists.
    """
    from srgan.models.convert import bare_name
    from srgan.models.export import SIZES, SUFFIXES
    from srgan.models.export import export as write
    from srgan.models.load import load_checkpoint
    from srgan.models.mix import with_detail

    target = _target(output, Path(bare_name(Path(model)) + SUFFIXES[format]), overwrite)
    checkpoint = with_detail(load_checkpoint(model), detail)
    difference = write(checkpoint, target, format, precision=precision, uint8=uint8)
    print(f"{model} -> {target}")
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
    from srgan.models.hub import push as upload
    from srgan.models.load import load_checkpoint
    from srgan.upscaling.upscaler import Upscaler

    checkpoint = load_checkpoint(model)
    upscaler = Upscaler(checkpoint)
    print(upload(checkpoint, repository, upscale=upscaler, private=private))


def _target(output: str | None, default: Path, overwrite: bool) -> Path:
    """The file to write: the one given, or one named as `default` in the folder given."""
    target = default
    if output is not None:
        folder = output.endswith(("/", os.sep)) or Path(output).is_dir()
        target = Path(output, default.name) if folder else Path(output)
    if target.suffix != default.suffix:
        raise OptionError(f"{target}: must end with {default.suffix}")
    if target.exists() and not overwrite:
        raise OptionError(f"{target}: exists; use --overwrite")
    target.parent.mkdir(parents=True, exist_ok=True)
    return target
