"""The model file: one safetensors file that rebuilds its generator with no config.

Tensors carry the generator's names (see `expected_shapes`); the metadata says which
architecture and hyperparameters they belong to, how they were trained and what they score.
Reading and writing need numpy only, never torch, and never execute anything from the file.
"""

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

FORMAT_VERSION = 2
SCALES = (2, 4, 8)
MOST = 1024  # blocks or channels: beyond it a file is damaged
LARGEST_KERNEL = 31
ALWAYS_WRITTEN = ("blocks", "channels", "scale")
# Tensor with the hyperparameters as JSON, where they are not the paper's: programs that see
# tensors without metadata, as spandrel, could not know them otherwise.
ARCHITECTURE = "architecture"
PRETRAINED = Path(__file__).parent / "pretrained"

Tensors = dict[str, np.ndarray]
InputRange = Literal["unit", "symmetric", "imagenet"]
Trunk = Literal["bn", "prelu", "none"]
Output = Literal["tanh", "clamp"]


class CheckpointError(Exception):
    """A model that cannot be loaded: one line with the file, the reason and what to do."""


@dataclass(frozen=True)
class Architecture:
    """Hyperparameters of the SRResNet generator (Ledig et al. 2017, section 2.1.1, figure 4).

    From `kernel` on, the defaults are the paper's network, and the only one that training
    makes; the other values are what other implementations do (`srgan.layouts`).

    Args:
        blocks: residual blocks (B in the paper).
        channels: feature maps of every hidden convolution.
        scale: SR pixels per LR pixel along each axis, one of 2, 4, 8.
        kernel: side of the hidden convolutions' kernels, odd as all of them.
        head_kernel: side of the first convolution's kernel.
        tail_kernel: side of the last convolution's kernel.
        input: what the head reads: LR in [0, 1] as it is, mapped to [-1, 1], or with ImageNet's
            mean and standard deviation taken out.
        batch_norm: of both convolutions of a block.
        trunk: what follows the convolution after the blocks; "none" leaves out that
            convolution and the skip around the blocks, too.
        shuffle_prelu: an activation after each PixelShuffle.
        hr_conv: one more hidden convolution with PReLU at the size of SR.
        bilinear: the network's output is added to LR enlarged bilinearly.
        output: (tanh(x) + 1) / 2, or x clamped to [0, 1].
    """

    blocks: int = 16
    channels: int = 64
    scale: int = 4
    kernel: int = 3
    head_kernel: int = 9
    tail_kernel: int = 9
    input: InputRange = "unit"
    batch_norm: bool = True
    trunk: Trunk = "bn"
    shuffle_prelu: bool = True
    hr_conv: bool = False
    bilinear: bool = False
    output: Output = "tanh"

    def __post_init__(self) -> None:
        if type(self.scale) is not int or self.scale not in SCALES:
            raise ValueError(f"scale must be one of {SCALES}, not {self.scale}")
        for name in ("blocks", "channels"):
            number = getattr(self, name)
            if type(number) is not int or not 1 <= number <= MOST:
                raise ValueError(f"{name} must be an integer from 1 to {MOST}, not {number}")
        for name in ("kernel", "head_kernel", "tail_kernel"):
            side = getattr(self, name)
            if type(side) is not int or not 1 <= side <= LARGEST_KERNEL or side % 2 == 0:
                raise ValueError(f"{name} must be odd, from 1 to {LARGEST_KERNEL}, not {side}")
        for name, kind in (("input", InputRange), ("trunk", Trunk), ("output", Output)):
            if getattr(self, name) not in get_args(kind):
                raise ValueError(f"{name} must be one of {get_args(kind)}")
        for name in ("batch_norm", "shuffle_prelu", "hr_conv", "bilinear"):
            if type(getattr(self, name)) is not bool:
                raise ValueError(f"{name} must be true or false")

    @property
    def upsamplings(self) -> int:
        """Number of sub-pixel blocks, each doubling both sides."""
        return self.scale.bit_length() - 1


@dataclass(frozen=True)
class Checkpoint:
    """A generator as plain arrays.

    `tensors` are float32, named and shaped as `expected_shapes(architecture)`. `info` holds
    what else the file says of itself, as JSON values: name, description, licence, training
    summary, metrics, int8 calibration.
    """

    architecture: Architecture
    tensors: Tensors
    info: dict[str, Any] = field(default_factory=dict)


def expected_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of a generator: the layout of the model file."""
    channels, kernel = architecture.channels, architecture.kernel
    shapes: dict[str, tuple[int, ...]] = {}

    def convolution(name: str, outputs: int, inputs: int, side: int) -> None:
        shapes[f"{name}.weight"] = (outputs, inputs, side, side)
        shapes[f"{name}.bias"] = (outputs,)

    def normalization(name: str) -> None:
        for tensor in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{tensor}"] = (channels,)

    convolution("head.conv", channels, 3, architecture.head_kernel)
    shapes["head.prelu.weight"] = (1,)
    for i in range(architecture.blocks):
        convolution(f"blocks.{i}.conv1", channels, channels, kernel)
        shapes[f"blocks.{i}.prelu.weight"] = (1,)
        convolution(f"blocks.{i}.conv2", channels, channels, kernel)
        if architecture.batch_norm:
            normalization(f"blocks.{i}.bn1")
            normalization(f"blocks.{i}.bn2")
    if architecture.trunk != "none":
        convolution("trunk.conv", channels, channels, kernel)
    if architecture.trunk == "bn":
        normalization("trunk.bn")
    if architecture.trunk == "prelu":
        shapes["trunk.prelu.weight"] = (1,)
    for i in range(architecture.upsamplings):
        convolution(f"upsample.{i}.conv", 4 * channels, channels, kernel)
        if architecture.shuffle_prelu:
            shapes[f"upsample.{i}.prelu.weight"] = (1,)
    if architecture.hr_conv:
        convolution("hr.conv", channels, channels, kernel)
        shapes["hr.prelu.weight"] = (1,)
    convolution("tail", 3, channels, architecture.tail_kernel)
    return shapes


def parameters(checkpoint: Checkpoint) -> int:
    """Number of trainable values."""
    return sum(t.size for name, t in checkpoint.tensors.items() if ".running_" not in name)


def shipped_models() -> dict[str, Path]:
    """Model files inside the package, by the name that `--model` takes."""
    return {path.stem: path for path in sorted(PRETRAINED.glob("*.safetensors"))}


def load_checkpoint(model: str | Path) -> Checkpoint:
    """Load a shipped model by name, or by its path a model file or another SRResNet's.

    Files other than .safetensors are taken for PyTorch's, and need it: see `srgan.convert`.
    hf:USER/NAME is downloaded from the Hugging Face hub.

    Raises:
        CheckpointError: no such model, or not an SRResNet's, or damaged.
        HubError: the hub does not give it.
    """
    if str(model).startswith("hf:"):
        from srgan.hub import fetch

        model = fetch(str(model))
    path = shipped_models().get(str(model), Path(model))
    if not path.is_file():
        raise CheckpointError(
            f"{model}: no such model; use a path to a model file, hf:USER/NAME, or one of: "
            + ", ".join(shipped_models())
        )
    if path.suffix != ".safetensors":
        from srgan.convert import load_foreign

        return load_foreign(path)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, TypeError) as error:
        raise CheckpointError(
            f"{path}: not a readable safetensors file ({error}); download or train it again"
        ) from error
    if metadata.get("format") != "srgan-model":
        from srgan.convert import convert

        return convert(path, tensors)
    return _checked(path, metadata, tensors)


def _checked(path: Path, metadata: Mapping[str, str], tensors: Tensors) -> Checkpoint:
    try:
        version = int(metadata["format_version"])
        if version < 1:
            raise ValueError(f"format version {version}")
        if version > FORMAT_VERSION:
            raise CheckpointError(
                f"{path}: written by a newer srgan (format {version}, this one reads up to "
                f"{FORMAT_VERSION}); run: pip install --upgrade srgan"
            )
        architecture = Architecture(**json.loads(metadata["architecture"]))
        info = json.loads(metadata["info"])
        _check_info(info)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: damaged metadata ({error!r})") from error
    tensors.pop(ARCHITECTURE, None)
    return fitting(path, architecture, tensors, info)


def fitting(
    path: Path, architecture: Architecture, tensors: Tensors, info: dict[str, Any]
) -> Checkpoint:
    """What a file holds, as a Checkpoint.

    Raises:
        CheckpointError: the tensors are not those of the architecture.
    """
    problem = mismatch(expected_shapes(architecture), tensors)
    if problem:
        raise CheckpointError(f"{path}: {problem}; this file does not fit its own architecture")
    return Checkpoint(
        architecture, {name: t.astype(np.float32) for name, t in tensors.items()}, info
    )


def _check_info(info: Any) -> None:
    if not isinstance(info, dict):
        raise TypeError("info is not an object")
    for name, (low, high) in info.get("int8", {}).items():
        if not low <= 0 <= high or low == high:
            raise ValueError(f"int8 range of {name}: {low} to {high}")


def mismatch(
    expected: Mapping[str, tuple[int, ...]],
    tensors: Tensors,
    named: Callable[[str], str] = str,
) -> str | None:
    """The first thing wrong with `tensors`, in words, or None; `named` says what to call them."""
    for name, shape in expected.items():
        if name not in tensors:
            return f"tensor {named(name)} is missing"
        if tensors[name].shape != shape:
            return f"tensor {named(name)} has shape {tensors[name].shape}, not {shape}"
        if not np.isfinite(tensors[name]).all():
            return f"tensor {named(name)} holds values that are not finite"
    unexpected = sorted(set(tensors) - set(expected))
    return f"tensor {named(unexpected[0])} is unexpected" if unexpected else None


def _written(architecture: Architecture) -> dict[str, Any]:
    """The hyperparameters that a model file names: those of every network, and deviations."""
    usual = asdict(Architecture())
    return {
        name: value
        for name, value in asdict(architecture).items()
        if name in ALWAYS_WRITTEN or value != usual[name]
    }


def save_checkpoint(path: Path, checkpoint: Checkpoint, *, half: bool = False) -> None:
    """Write a model file, atomically: a killed process leaves the old file or the new one.

    Args:
        half: store the convolutions' weights as float16. Biases and batch-norm tensors stay
            float32: they are few, and running variances do not fit float16's range.

    Raises:
        ValueError: the tensors are not those of the architecture.
    """
    problem = mismatch(expected_shapes(checkpoint.architecture), checkpoint.tensors)
    if problem:
        raise ValueError(problem)
    tensors: Tensors = {
        # safetensors writes memory as it lies; channels_last weights do not lie as their shape.
        name: np.ascontiguousarray(tensor, np.float16 if half and tensor.ndim == 4 else np.float32)
        for name, tensor in checkpoint.tensors.items()
    }
    architecture = _written(checkpoint.architecture)
    usual = architecture.keys() == set(ALWAYS_WRITTEN)
    if not usual:
        tensors[ARCHITECTURE] = np.frombuffer(json.dumps(architecture).encode(), np.uint8)
    metadata = {
        "format": "srgan-model",
        # The paper's network as ever, so that older versions read it.
        "format_version": "1" if usual else "2",
        "architecture": json.dumps(architecture),
        "info": json.dumps(checkpoint.info),
    }
    file = tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False)  # noqa: SIM115
    try:
        with file:
            file.write(save(tensors, metadata))
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).chmod(0o644)
        Path(file.name).replace(path)
    except BaseException:
        Path(file.name).unlink(missing_ok=True)
        raise
