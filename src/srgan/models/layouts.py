"""Translates the tensors of other SRResNet implementations to our names and architecture.

The names of the tensors show which implementation wrote a file. Their shapes give channels,
blocks, kernels, scale and BN; the implementation fixes the other hyperparameters.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from srgan.networks.architecture import (
    Architecture,
    Checkpoint,
    Tensors,
    enlargement,
    expected_shapes,
    mismatch,
)


class LayoutError(ValueError):
    """The tensors do not form an SRResNet of a known layout. The text is the reason."""


@dataclass(frozen=True)
class Layout:
    """The tensors' names of one implementation.

    Attributes:
        source: the project, OWNER/NAME.
        modules: (their name, our name) of each module with tensors; # stands for an index.
        slopes: negative slopes of activations without parameters, by the first part of our name.
        options: hyperparameters that the implementation fixes, as keywords of `Architecture`.
    """

    source: str
    modules: tuple[tuple[str, str], ...]
    slopes: Mapping[str, float] = field(default_factory=dict[str, float])
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def ours(self, name: str) -> str | None:
        """Our name of their tensor; None where there is none."""
        module, _, leaf = name.rpartition(".")
        return _renamed(module, leaf, self.modules)

    def theirs(self, name: str) -> str:
        """Their name of our tensor; our name where they have none."""
        module, _, leaf = name.rpartition(".")
        return _renamed(module, leaf, ((b, a) for a, b in self.modules)) or name


def _renamed(module: str, leaf: str, names: Iterable[tuple[str, str]]) -> str | None:
    for source, target in names:
        match = re.fullmatch(re.escape(source).replace(r"\#", r"(\d+)"), module)
        if match:
            index = str(int(match[1])) if match.groups() else ""
            return f"{target.replace('#', index)}.{leaf}"
    return None


def _blocks(theirs: str, *names: str) -> tuple[tuple[str, str], ...]:
    """Pairs for the residual blocks; `names` are of convolution, BN, PReLU, convolution, BN."""
    ours = ("conv1", "bn1", "prelu", "conv2", "bn2")
    return tuple((f"{theirs}.{a}", f"blocks.#.{b}") for a, b in zip(names, ours, strict=True))


SGRVINOD = Layout(
    "sgrvinod/a-PyTorch-Tutorial-to-Super-Resolution",
    (
        ("conv_block1.conv_block.0", "head.conv"),
        ("conv_block1.conv_block.1", "head.prelu"),
        *_blocks(
            "residual_blocks.#",
            "conv_block1.conv_block.0",
            "conv_block1.conv_block.1",
            "conv_block1.conv_block.2",
            "conv_block2.conv_block.0",
            "conv_block2.conv_block.1",
        ),
        ("conv_block2.conv_block.0", "trunk.conv"),
        ("conv_block2.conv_block.1", "trunk.bn"),
        ("subpixel_convolutional_blocks.#.conv", "upsample.#.conv"),
        ("subpixel_convolutional_blocks.#.prelu", "upsample.#.prelu"),
        ("conv_block3.conv_block.0", "tail"),
    ),
    options={"input": "imagenet"},
)
LORNATANG = Layout(
    "Lornatang/SRGAN-PyTorch",
    (
        ("conv1.0", "head.conv"),
        ("conv1.1", "head.prelu"),
        *_blocks("trunk.#.rcb", "0", "1", "2", "3", "4"),
        ("conv2.0", "trunk.conv"),
        ("conv2.1", "trunk.bn"),
        ("upsampling.#.upsample_block.0", "upsample.#.conv"),
        ("upsampling.#.upsample_block.2", "upsample.#.prelu"),
        ("conv3", "tail"),
        # Names until 2022.
        ("conv_block1.0", "head.conv"),
        ("conv_block1.1", "head.prelu"),
        ("conv_block2.0", "trunk.conv"),
        ("conv_block2.1", "trunk.bn"),
        ("conv_block3", "tail"),
        *((f"upsampling.{3 * i}", f"upsample.{i}.conv") for i in range(3)),
        *((f"upsampling.{3 * i + 2}", f"upsample.{i}.prelu") for i in range(3)),
    ),
    options={"output": "clamp"},
)
MSRRESNET = Layout(
    "MSRResNet of XPixelGroup/BasicSR or cszn/KAIR",
    (
        ("conv_first", "head.conv"),
        ("body.#.conv1", "blocks.#.conv1"),
        ("body.#.conv2", "blocks.#.conv2"),
        ("upconv1", "upsample.0.conv"),
        ("upconv2", "upsample.1.conv"),
        ("conv_hr", "hr.conv"),
        ("conv_last", "tail"),
        # Names in KAIR.
        ("recon_trunk.#.conv1", "blocks.#.conv1"),
        ("recon_trunk.#.conv2", "blocks.#.conv2"),
        ("HRconv", "hr.conv"),
    ),
    slopes={"head": 0.1, "blocks": 0.0, "upsample": 0.1, "hr": 0.1},
    options={"trunk": "none", "hr_conv": True, "bilinear": True, "output": "clamp"},
)
MMAGIC = Layout(
    "MSRResNet of open-mmlab/mmagic",
    (
        ("conv_first", "head.conv"),
        ("trunk_net.#.conv1", "blocks.#.conv1"),
        ("trunk_net.#.conv2", "blocks.#.conv2"),
        ("upsample1.upsample_conv", "upsample.0.conv"),
        ("upsample2.upsample_conv", "upsample.1.conv"),
        ("conv_hr", "hr.conv"),
        ("conv_last", "tail"),
    ),
    slopes=MSRRESNET.slopes,
    options={**MSRRESNET.options, "shuffle_prelu": False},
)
LEFTTHOMAS = Layout(
    "leftthomas/SRGAN",
    (
        ("block1.0", "head.conv"),
        ("block1.1", "head.prelu"),
        *(
            (f"block{i + 2}.{part}", f"blocks.{i}.{part}")
            for i in range(5)
            for part in ("conv1", "bn1", "prelu", "conv2", "bn2")
        ),
        ("block7.0", "trunk.conv"),
        ("block7.1", "trunk.bn"),
        ("block8.#.conv", "upsample.#.conv"),
        ("block8.#.prelu", "upsample.#.prelu"),
        ("block8.#", "tail"),
    ),
)
# The published netG_epoch_4_100.pth has a PReLU in place of the trunk's BN.
LEFTTHOMAS_PRELU = replace(
    LEFTTHOMAS,
    modules=tuple((a, "trunk.prelu" if b == "trunk.bn" else b) for a, b in LEFTTHOMAS.modules),
    options={"trunk": "prelu"},
)
DONGHEEHAND = Layout(
    "dongheehand/SRGAN-PyTorch",
    (
        ("conv01.body.0", "head.conv"),
        ("conv01.body.1", "head.prelu"),
        *_blocks("body.#.body", "0.body.0", "0.body.1", "0.body.2", "1.body.0", "1.body.1"),
        ("conv02.body.0", "trunk.conv"),
        ("conv02.body.1", "trunk.bn"),
        ("tail.#.body.0.body.0", "upsample.#.conv"),
        ("tail.#.body.2", "upsample.#.prelu"),
        ("last_conv.body.0", "tail"),
    ),
    options={"input": "symmetric"},
)
_OWN = tuple(
    f"{part}.{leaf}"
    for part, leaves in {
        "head": ("conv", "prelu"),
        "blocks.#": ("conv1", "bn1", "prelu", "conv2", "bn2"),
        "trunk": ("conv", "bn"),
        "upsample.#": ("conv", "prelu"),
    }.items()
    for leaf in leaves
)
# `state_dict` of `srgan.networks.generator.Generator`, saved by a program of the user's own.
OWN = Layout("srgan", tuple((name, name) for name in (*_OWN, "tail")))
LAYOUTS = (OWN, SGRVINOD, LORNATANG, MSRRESNET, MMAGIC, LEFTTHOMAS, LEFTTHOMAS_PRELU, DONGHEEHAND)


def recognise(tensors: Tensors) -> Checkpoint:
    """Translate tensors of any of `LAYOUTS` to a Checkpoint; `info["source"]` names another
    project's.

    Convolutions without bias get a bias of zeros. Activations without parameters get their
    slope as a parameter.

    Raises:
        LayoutError: no layout has these names, or tensors are missing or have the wrong shape.
    """
    tensors = {name: t for name, t in tensors.items() if not name.endswith("num_batches_tracked")}
    strange = {
        layout.source: [name for name in tensors if layout.ours(name) is None] for layout in LAYOUTS
    }
    known = [layout for layout in LAYOUTS if not strange[layout.source]]
    if not known:
        source, names = min(strange.items(), key=lambda item: len(item[1]))
        few = ", ".join(names[:3])
        near = f"nearest is {source}, which has no {few}" if len(names) < len(tensors) else few
        raise LayoutError(f"not a model file of srgan, nor a known SRResNet layout: {near}")
    problems: list[LayoutError] = []
    for layout in known:
        try:
            return _translated(layout, tensors)
        except LayoutError as error:
            problems.append(error)
    raise problems[0]


def _translated(layout: Layout, theirs: Tensors) -> Checkpoint:
    tensors = {str(layout.ours(name)): t.astype(np.float32) for name, t in theirs.items()}
    architecture = _architecture(layout, tensors)
    shapes = expected_shapes(architecture)
    for name, shape in shapes.items():
        part, _, leaf = name.partition(".")
        if name in tensors:
            continue
        if leaf.endswith("prelu.weight") and part in layout.slopes:
            tensors[name] = np.array([layout.slopes[part]], np.float32)
        elif name.endswith(".bias") and len(shapes[name.replace("bias", "weight")]) == 4:
            tensors[name] = np.zeros(shape, np.float32)
    if problem := mismatch(shapes, tensors, layout.theirs):
        raise LayoutError(f"laid out as {layout.source}, but {problem}")
    return Checkpoint(architecture, tensors, {} if layout is OWN else {"source": layout.source})


def _architecture(layout: Layout, tensors: Tensors) -> Architecture:
    """The architecture from the tensors' names and shapes, the rest from the layout."""

    def side(name: str) -> int:
        return _shape(layout, tensors, name)[-1]

    channels = _shape(layout, tensors, "head.conv.weight")[0]
    _shape(layout, tensors, "upsample.0.conv.weight")
    try:
        return Architecture(
            blocks=count("blocks", tensors),
            channels=channels,
            scale=enlargement(tensors, layout.theirs),
            kernel=side("blocks.0.conv1.weight"),
            head_kernel=side("head.conv.weight"),
            tail_kernel=side("tail.weight"),
            batch_norm="blocks.0.bn1.weight" in tensors,
            **layout.options,
        )
    except ValueError as error:
        raise LayoutError(f"laid out as {layout.source}, but {error}") from error


def _shape(layout: Layout, tensors: Tensors, name: str) -> tuple[int, ...]:
    shape = tensors[name].shape if name in tensors else ()
    if len(shape) != 4:
        problem = f"has shape {shape}, not a convolution's" if shape else "is missing"
        raise LayoutError(f"laid out as {layout.source}, but {layout.theirs(name)} {problem}")
    return shape


def count(part: str, tensors: Tensors) -> int:
    """Number of modules in `part`: their highest index plus 1."""
    return max((int(n.split(".")[1]) + 1 for n in tensors if n.startswith(f"{part}.")), default=0)
