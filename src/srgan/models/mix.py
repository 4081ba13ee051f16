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

from srgan.errors import OptionError
from srgan.models.file import shipped_models
from srgan.models.load import load_checkpoint
from srgan.networks.architecture import Checkpoint
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
    """(1 - detail) times the weights of one model plus detail times those of another (`mix`).

    Args:
        detail: 0 to 1.

    Returns:
        A model with the vivid one's info, the detail, and int8 ranges of its own.

    Raises:
        OptionError: the models have different architectures.
    """
    # The faithful model to the bit, where it is that.
    mixed = faithful if detail == 0 else mix([(faithful, 1 - detail), (vivid, detail)])
    info = {**vivid.info, "detail": detail}
    info.pop("int8", None)
    if "int8" in mixed.info:
        info["int8"] = mixed.info["int8"]
    return replace(mixed, info=info)


def mix(models: Sequence[tuple[Checkpoint, float]]) -> Checkpoint:
    """The sum of models' weights, each times its share of the whole.

    BN is folded into the convolutions first: its statistics and gains do not mix by themselves.
    What is left of it divides by the first model's deviations. int8 ranges are mixed, too, unless a
    model has none, or a share below 0.

    Args:
        models: with their shares, which are divided by their sum; they may be below 0.

    Returns:
        A model without other info.

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
    info = _mixed_ranges([(checkpoint.info, share / total) for checkpoint, share in models])
    return with_deviations_of(first, Checkpoint(first.architecture, sums, info))


def _mixed_ranges(infos: Sequence[tuple[dict[str, Any], float]]) -> dict[str, Any]:
    """The int8 ranges, as an info, of models with these infos and shares."""
    if any(share < 0 or "int8" not in info for info, share in infos):
        return {}
    names = infos[0][0]["int8"]
    return {
        "int8": {
            name: [sum(share * info["int8"][name][end] for info, share in infos) for end in (0, 1)]
            for name in names
        }
    }
