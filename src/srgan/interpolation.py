"""Sums of models' weights, above all between two models: from faithful to vivid.

An SRGAN starts from an SRResNet, so that their weights can be mixed (network interpolation, Wang
et al. 2019, arXiv:1811.10515, and ESRGAN, arXiv:1809.00219, section 3.4): every step between is a
network, whose pictures lie between theirs. So are means of a run's states (model soups, Wortsman
et al. 2022, arXiv:2203.05482), and what one model gained can be added to another (task arithmetic,
Ilharco et al. 2023, arXiv:2212.04089).
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from srgan.checkpoint import Checkpoint, load_checkpoint, shipped_models
from srgan.config import OptionError
from srgan.networks.folding import with_deviations_of, without_bn

SMALLEST_TOTAL = 1e-6


def with_detail(checkpoint: Checkpoint, detail: float | None) -> Checkpoint:
    """A model at a step of the way from its partner to itself.

    The partner is the shipped model that `info["partner"]` names.

    Args:
        detail: 0 is the partner, 1 the model itself; None the model's own default,
            `info["detail"]`, or the model itself.

    Raises:
        OptionError: the model has no partner, or none that is shipped, or `detail` is not in
            [0, 1].
    """
    partner = checkpoint.info.get("partner")
    if partner is None:
        if detail is not None:
            raise OptionError("--detail is for models with a partner, which their file names")
        return checkpoint
    step = float(checkpoint.info.get("detail", 1) if detail is None else detail)
    if not 0 <= step <= 1:
        raise OptionError(f"--detail must be from 0 (faithful) to 1 (vivid), not {step:g}")
    if step == 1:
        return checkpoint
    if partner not in shipped_models():  # a file must not make us open others, or a connection
        raise OptionError(f"--detail: the model's partner {partner} is not a shipped model")
    return interpolate(load_checkpoint(partner), checkpoint, step)


def interpolate(faithful: Checkpoint, vivid: Checkpoint, detail: float) -> Checkpoint:
    """(1 - detail) times the weights of one model plus detail times those of another.

    See `mix`. int8 ranges are mixed too; where one model has none they are left out.

    Args:
        detail: 0 to 1.

    Raises:
        OptionError: the models have different architectures.
    """
    info = _mixed_info(faithful.info, vivid.info, detail)
    if detail == 0:  # the faithful model to the bit
        return replace(faithful, info=info)
    return replace(mix([(faithful, 1 - detail), (vivid, detail)]), info=info)


def mix(models: Sequence[tuple[Checkpoint, float]]) -> Checkpoint:
    """The sum of models' weights, each times its share of the whole.

    BN is folded into the convolutions first: its statistics and gains do not mix by themselves.
    What is left of it divides by the first model's deviations.

    Args:
        models: with their shares, which are divided by their sum; they may be below 0.

    Returns:
        A model without info.

    Raises:
        OptionError: the models have different architectures, or the shares add up to 0.
    """
    first, _ = models[0]
    for other, _ in models:
        if other.architecture != first.architecture:
            raise OptionError(
                "models of different architectures cannot be mixed: "
                f"{asdict(first.architecture)} and {asdict(other.architecture)}"
            )
    total = sum(share for _, share in models)
    if abs(total) < SMALLEST_TOTAL:
        raise OptionError("the models' shares add up to 0")
    folded = [(without_bn(checkpoint).tensors, share / total) for checkpoint, share in models]
    nothing = np.zeros((), np.float32)
    sums = {
        name: sum((np.float32(share) * tensors[name] for tensors, share in folded), nothing)
        for name in first.tensors
    }
    return with_deviations_of(first, Checkpoint(first.architecture, sums))


def _mixed_info(faithful: dict[str, Any], vivid: dict[str, Any], detail: float) -> dict[str, Any]:
    """The vivid model's, with its step and the int8 ranges between the two."""
    info = {**vivid, "detail": detail}
    start, end = faithful.get("int8"), info.pop("int8", None)
    if start and end:
        info["int8"] = {
            name: [
                (1 - detail) * a + detail * b for a, b in zip(start[name], end[name], strict=True)
            ]
            for name in end
        }
    return info
