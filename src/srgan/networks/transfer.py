"""Starts a network from the weights of one of another scale: takes all tensors that fit."""

from dataclasses import asdict, dataclass

import numpy as np

from srgan.networks.architecture import Architecture, Checkpoint, expected_shapes

# Hyperparameters in which the two networks may differ.
FREE = ("blocks", "scale", "unshuffle", "bilinear", "output")
ENDS = ("weight", "bias")  # of the last layer of a block: at 0, the block returns its input


class TransferError(ValueError):
    """The networks have different trunks. The text says in what."""


@dataclass(frozen=True)
class Transfer:
    """The network to start from.

    Attributes:
        report: what it took and what is new, in words.
    """

    checkpoint: Checkpoint
    report: str


def transfer(source: Checkpoint, start: Checkpoint) -> Transfer:
    """Take the tensors of `source` that fit into the architecture of `start`.

    - The trunk, and the sub-pixel blocks with the same step, are taken as they are. Of more blocks
      than are needed, the first ones are taken. Blocks that are new return their input at first.
    - The head is new if it reads another number of pixels. Random weights gain more in the first
      100 iterations than the old ones for the mean of the pixels (docs/recipes.md).
    - The tail is 0 if its output is added to LR and that of `source` is not: the new network
      starts by returning LR.

    Args:
        start: random weights, kept for the tensors that are new.

    Raises:
        TransferError: other hyperparameters than `FREE` differ.
    """
    theirs, ours = source.architecture, start.architecture
    _check(theirs, ours)
    new = _new_parts(theirs, ours)
    names = expected_shapes(ours)
    taken = {n: source.tensors[n] for n in names if _part(n) not in new and n in source.tensors}
    tensors = {n: start.tensors[n] for n in names} | taken
    remarks = [f"took {len(taken)} of {len(names)} tensors"]
    if ours.blocks > theirs.blocks:
        last = "bn2" if ours.batch_norm else "conv2"
        ends = [
            f"blocks.{i}.{last}.{name}" for i in range(theirs.blocks, ours.blocks) for name in ENDS
        ]
        tensors |= {name: np.zeros_like(tensors[name]) for name in ends}
        remarks.append(f"{ours.blocks - theirs.blocks} new blocks that return their input")
    if "tail" in new:
        tensors |= {n: np.zeros_like(t) for n, t in tensors.items() if _part(n) == "tail"}
        remarks.append("tail starts at 0, so that SR starts as LR")
    random = [part for part in new if part != "tail"]
    if random:
        remarks.append(f"{', '.join(random)} from random values")
    return Transfer(Checkpoint(ours, tensors), "; ".join(remarks))


def _check(theirs: Architecture, ours: Architecture) -> None:
    a, b = asdict(theirs), asdict(ours)
    names = [name for name in b if name not in FREE and a[name] != b[name]]
    if names:
        has, needs = (", ".join(f"{name}={of[name]}" for name in names) for of in (a, b))
        raise TransferError(f"has {has}, this run has {needs}")


def _new_parts(theirs: Architecture, ours: Architecture) -> list[str]:
    """The modules of our network that cannot take their weights."""
    new = ["head.conv"] if ours.unshuffle != theirs.unshuffle else []
    known = theirs.steps
    new += [f"upsample.{i}" for i, step in enumerate(ours.steps) if known[i : i + 1] != (step,)]
    if ours.bilinear and not theirs.bilinear:
        new.append("tail")
    return new


def _part(name: str) -> str:
    """The module of a tensor, as `_new_parts` names it."""
    part = name.rpartition(".")[0]
    return ".".join(part.split(".")[:2]) if part.startswith("upsample.") else part
