"""`srgan models`, `convert`, `mix`, `export` and `push`: each parses, calls, prints."""

import json as json_lines
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from srgan.cli.run import command
from srgan.errors import OptionError

if TYPE_CHECKING:
    from srgan.networks.foreign import ForeignNetwork

convert_app = command(
    "convert",
    epilogue="""\
Examples:

  srgan convert checkpoint_srgan.pth.tar

  srgan convert net_g_latest.pth -o mine.safetensors

  srgan upscale photo.jpg --model mine.safetensors

  srgan convert RealESRGAN_x4plus.pth -o x4plus.onnx

It reads the SRResNet and SRGAN generators of sgrvinod, Lornatang, BasicSR, KAIR, mmagic,
leftthomas and dongheehand, which become model files; and the networks that spandrel knows (ESRGAN,
Compact, SPAN, DAT, SwinIR and others), which become ONNX files. It never executes code from a
file. srgan upscale also takes these files directly, with PyTorch; a converted file does not need
PyTorch.
""",
)
mix_app = command(
    "mix",
    usage="Usage: srgan mix MODEL=SHARE... --output STR [OPTIONS]",
    epilogue="""\
Examples:

  srgan mix runs/srgan/state-*.pt -o mean.safetensors

  srgan mix srresnet-x4=0.3 mine.safetensors=0.7 -o softer.safetensors

  srgan mix mine.safetensors=1 gained.safetensors=1 before.safetensors=-1 -o start.safetensors

The first writes the mean of a run's states, which is often better than each of them. The third
adds the progress from before to gained, as a start for more training. Models can be mixed if one
was trained from the other, or both from the same model.
""",
)
export_app = command(
    "export",
    epilogue="""\
Examples:

  srgan export srresnet-x4 --format onnx

  srgan export mine.safetensors --format openvino --precision fp16 -o deploy/

  srgan export srresnet-x4 --format torchscript --uint8

The exported model takes pictures of any size. Its input is called lr, its output sr. ONNX files
also run in chaiNNer. srgan compares the result with its own, prints the largest difference, and
deletes a file that differs too much.
""",
)
push_app = command(
    "push",
    epilogue="""\
Example:

  hf auth login

  srgan push runs/srgan/best.safetensors me/my-srgan

  srgan upscale photo.jpg --model hf:me/my-srgan
""",
)

models_app = command(
    "models",
    epilogue="""\
The folder is SRGAN_MODELS, by default srgan/models in your data folder. Its files can be named
without path and suffix.
""",
)


@models_app.default
def models(*, json: bool = False) -> None:
    """List the models that come with srgan, with their cards, and those in the models folder.

    Args:
        json: Print one JSON object per model.
    """
    from srgan.models.file import shipped_models
    from srgan.models.folder import found_models, models_folder
    from srgan.models.load import load_checkpoint

    for name, path in shipped_models().items():
        checkpoint = load_checkpoint(name)
        if json:
            print(json_lines.dumps({"name": name, "path": str(path), **checkpoint.info}))
        else:
            _print_markdown(path.with_suffix(".md").read_text(encoding="utf-8"))
    if not json:
        print(f"Models in {models_folder()}: {', '.join(found_models()) or 'none'}")
        return
    for name, path in found_models().items():
        print(json_lines.dumps({"name": name, "path": str(path)}))


def _print_markdown(text: str) -> None:
    from rich.console import Console
    from rich.markdown import Markdown

    console: Any = Console()
    console.print(Markdown(text))


@convert_app.default
def convert(
    file: str,
    /,
    *,
    output: Annotated[str | None, Parameter(alias="-o")] = None,
    overwrite: bool = False,
) -> None:
    """Convert another project's network to a file that needs no PyTorch: srgan convert x.pth

    Args:
        file: Checkpoint, .pth or .safetensors, which may hold more than the generator; or
            hf:USER/NAME/FILE on the Hugging Face hub.
        output: File to write, or a folder/. An SRResNet becomes a model file, .safetensors; other
            networks become .onnx, with pip install 'srgan[export]'. Default: beside FILE.
        overwrite: Replace a file that exists.
    """
    from srgan.models.convert import bare_name
    from srgan.models.file import save_checkpoint
    from srgan.models.load import load_model
    from srgan.networks.architecture import parameters
    from srgan.networks.foreign import ForeignNetwork

    path = Path(file)
    beside = Path() if file.startswith("hf:") else path.parent
    checkpoint = load_model(file)
    suffix = ".onnx" if isinstance(checkpoint, ForeignNetwork) else ".safetensors"
    target = _target(output, beside / (bare_name(path) + suffix), overwrite)
    if isinstance(checkpoint, ForeignNetwork):
        _convert_foreign(file, checkpoint, target)
        return
    save_checkpoint(target, checkpoint)
    architecture = checkpoint.architecture
    print(f"{file} -> {target}")
    print(
        f"  {checkpoint.info.get('source', 'srgan')}: x{architecture.scale}, "
        f"{architecture.blocks} blocks of {architecture.channels} channels, "
        f"{parameters(checkpoint):,} parameters"
    )


def _convert_foreign(file: str, network: "ForeignNetwork", target: Path) -> None:
    from srgan.models.standalone import SIZES, write_standalone

    difference = write_standalone(network, target)
    print(f"{file} -> {target}")
    print(
        f"  {network.architecture}: x{network.scale}, {network.parameters:,} parameters; differs "
        f"from PyTorch by at most {difference:.1e} of white (pictures of {len(SIZES)} sizes)"
    )


@mix_app.default
def mix(
    *models: Annotated[str, Parameter(name="MODEL=SHARE")],
    output: Annotated[str, Parameter(alias="-o")],
    overwrite: bool = False,
) -> None:
    """Write a weighted mean of models' weights: srgan mix a.safetensors=0.7 b.safetensors=0.3

    Args:
        models: One or more models; the default share is 1. Shares are divided by their sum; a
            negative share subtracts a model. MODEL takes the same values as --model of srgan
            upscale, or a training state. A model with a partner counts as its vivid end,
            --detail 1.
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


@export_app.default
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
        model: The same values as --model of srgan upscale.
        format: openvino writes a pair of files, .xml and .bin. The others need:
            pip install 'srgan[export]'
        output: File to write, or a folder/. Default: MODEL's name in the current folder.
        detail: From 0 to 1, as in srgan upscale. Default: the model's own.
        precision: fp16 is half as large and less exact; input and output stay float32.
        uint8: Input and output are (N, H, W, 3) uint8 RGB, not (N, 3, H, W) float32 in [0, 1].
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


@push_app.default
def push(model: str, repository: str, /, *, private: bool = False) -> None:
    """Put a model on the Hugging Face hub, with a card: srgan push mine.safetensors USER/NAME

    Args:
        model: The same values as --model of srgan upscale.
        repository: USER/NAME; created if it does not exist.
        private: Create REPOSITORY as private.
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
