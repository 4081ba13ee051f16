"""The generator as plain data: its hyperparameters, and the names and shapes of its arrays."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isqrt
from typing import Any, Literal, get_args

import numpy as np

from srgan.networks.options import SCALES

UNSHUFFLES = (1, 2, 4)
# How a network enlarges its features: the steps of its sub-pixel blocks, by the whole.
STEPS = {2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}
MOST = 1024  # blocks or channels; a file that states more is damaged
LARGEST_KERNEL = 31

Tensors = dict[str, np.ndarray]
InputRange = Literal["unit", "symmetric", "imagenet"]
Trunk = Literal["bn", "prelu", "none"]
Output = Literal["tanh", "clamp"]


@dataclass(frozen=True)
class Architecture:
    """Hyperparameters of the SRResNet generator (Ledig et al. 2017, section 2.1.1, figure 4).

    The defaults from `kernel` on are the paper's network. Training makes only that network. The
    other values describe networks of other implementations (`srgan.models.layouts`).

    Args:
        blocks: number of residual blocks (B in the paper), 1 to 1024.
        channels: feature maps of every hidden convolution, 1 to 1024.
        scale: SR pixels per LR pixel along each axis, one of 1, 2, 3, 4, 8.
        kernel: side of the hidden convolutions' kernels. All kernel sides are odd, 1 to 31.
        head_kernel: side of the first convolution's kernel.
        tail_kernel: side of the last convolution's kernel.
        input: how LR in [0, 1] enters the head. "unit" leaves it unchanged, "symmetric" maps it
            to [-1, 1], "imagenet" subtracts ImageNet's mean and divides by its deviation.
        batch_norm: both convolutions of a block have a BN.
        trunk: the layer after the convolution that follows the blocks. "none" also leaves out
            that convolution and the skip connection around the blocks.
        shuffle_prelu: each PixelShuffle is followed by a PReLU.
        hr_conv: one more hidden convolution with PReLU runs at the size of SR.
        bilinear: the network's output is added to the bilinearly enlarged LR; for scale 1, to LR.
        output: "tanh" is (tanh(x) + 1) / 2, "clamp" is x clamped to [0, 1].
        unshuffle: 1, 2 or 4: PixelUnshuffle makes one position of this many LR pixels along each
            axis before the head, so that the trunk computes fewer positions. The sub-pixel blocks
            then enlarge by scale * unshuffle, which must be 2, 3, 4 or 8.

    Raises:
        ValueError: a value is outside its range or of a wrong type.
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
    unshuffle: int = 1

    def __post_init__(self) -> None:
        for name, choices in (("scale", SCALES), ("unshuffle", UNSHUFFLES)):
            number = getattr(self, name)
            if type(number) is not int or number not in choices:
                raise ValueError(f"{name} must be one of {choices}, not {number}")
        if self.cell not in STEPS:
            raise ValueError(
                f"scale * unshuffle must be one of {tuple(STEPS)}, not {self.scale} * "
                f"{self.unshuffle}"
            )
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
    def cell(self) -> int:
        """SR pixels along each axis that one position of the features becomes."""
        return self.scale * self.unshuffle

    @property
    def steps(self) -> tuple[int, ...]:
        """How many times each sub-pixel block enlarges both sides."""
        return STEPS[self.cell]


@dataclass(frozen=True)
class Checkpoint:
    """A generator as plain arrays, as read from a model file.

    Attributes:
        tensors: float32, with the names and shapes of `expected_shapes(architecture)`.
        info: the other metadata of the file as JSON values: name, description, licence, training
            summary, metrics, int8 ranges.
    """

    architecture: Architecture
    tensors: Tensors
    info: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def scale(self) -> int:
        """SR pixels per LR pixel along each axis."""
        return self.architecture.scale


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

    inputs = 3 * architecture.unshuffle**2
    convolution("head.conv", channels, inputs, architecture.head_kernel)
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
    for i, step in enumerate(architecture.steps):
        convolution(f"upsample.{i}.conv", step**2 * channels, channels, kernel)
        if architecture.shuffle_prelu:
            shapes[f"upsample.{i}.prelu.weight"] = (1,)
    if architecture.hr_conv:
        convolution("hr.conv", channels, channels, kernel)
        shapes["hr.prelu.weight"] = (1,)
    convolution("tail", 3, channels, architecture.tail_kernel)
    return shapes


def enlargement(tensors: Tensors, named: Callable[[str], str] = str) -> int:
    """The product of the steps of a generator's sub-pixel blocks, from the shapes of its tensors.

    Args:
        named: maps the name of a tensor to the name that the text of an error shows.

    Raises:
        ValueError: the network has no such block, or the steps are not those of `STEPS`.
    """
    steps: list[int] = []
    while (name := f"upsample.{len(steps)}.conv.weight") in tensors:
        outputs, inputs = tensors[name].shape[:2]
        steps.append(isqrt(outputs // inputs))
        if outputs != steps[-1] ** 2 * inputs:
            raise ValueError(f"{named(name)} has {outputs} outputs for {inputs} inputs")
    for whole, parts in STEPS.items():
        if parts == tuple(steps):
            return whole
    known = ", ".join(" x ".join(map(str, each)) for each in STEPS.values())
    raise ValueError(f"it enlarges {' x '.join(map(str, steps))} times; known are {known}")


def parameters(checkpoint: Checkpoint) -> int:
    """Number of trainable values. BN's running statistics do not count."""
    return sum(t.size for name, t in checkpoint.tensors.items() if ".running_" not in name)


def mismatch(
    expected: Mapping[str, tuple[int, ...]],
    tensors: Tensors,
    named: Callable[[str], str] = str,
) -> str | None:
    """The first way in which `tensors` differ from `expected`, in words; None if they fit.

    They differ if a tensor is missing, unexpected, of another shape, or not finite.

    Args:
        named: maps the name of a tensor to the name that the text shows.
    """
    for name, shape in expected.items():
        if name not in tensors:
            return f"tensor {named(name)} is missing"
        if tensors[name].shape != shape:
            return f"tensor {named(name)} has shape {tensors[name].shape}, not {shape}"
        if not np.isfinite(tensors[name]).all():
            return f"tensor {named(name)} holds values that are not finite"
    unexpected = sorted(set(tensors) - set(expected))
    return f"tensor {named(unexpected[0])} is unexpected" if unexpected else None
