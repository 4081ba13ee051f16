"""Mixes models: weighted sums of their weights, such as the steps from faithful to vivid.

An SRGAN is trained from an SRResNet, so their weights can be mixed: the pictures of the mixed
network lie between those of both (network interpolation: Wang et al. 2019, arXiv:1811.10515;
ESRGAN, arXiv:1809.00219, section 3.4). The same sum averages several states of a run (model soups:
Wortsman et al. 2022, arXiv:2203.05482), and adds the gain of one model to another (task
arithmetic: Ilharco et al. 2023, arXiv:2212.04089).
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, overload

import numpy as np

from srgan.errors import OptionError
from srgan.models.file import shipped_models
from srgan.models.load import load_checkpoint
from srgan.networks.architecture import Checkpoint
from srgan.networks.batch_norm import with_deviations_of, without_bn
from srgan.networks.foreign import ForeignNetwork, Model

SMALLEST_TOTAL = 1e-6  # of shares; smaller sums cannot be divided by


@overload
def with_detail(checkpoint: Checkpoint, detail: float | None) -> Checkpoint: ...
@overload
def with_detail(checkpoint: Model, detail: float | None) -> Model: ...
def with_detail(checkpoint: Model, detail: float | None) -> Model:
    """Mix a model with its partner, the shipped model that `info["partner"]` names.

    Args:
        detail: 0 is the partner, 1 the model itself. None is the model's own default,
            `info["detail"]`; without one, the model itself.

    Raises:
        OptionError: the model has no partner, or none that is shipped, or `detail` is not in
            [0, 1].
    """
    if isinstance(checkpoint, ForeignNetwork):
        if detail is not None:
            raise OptionError(
                f"--detail works only for srgan's own models, not for {checkpoint.architecture}"
            )
        return checkpoint
    partner = checkpoint.info.get("partner")
    if partner is None:
        if detail is not None:
            raise OptionError("--detail works only for models with a partner in their file")
        return checkpoint
    step = float(checkpoint.info.get("detail", 1) if detail is None else detail)
    if not 0 <= step <= 1:
        raise OptionError(f"--detail must be from 0 (faithful) to 1 (vivid), not {step:g}")
    if step == 1:
        return checkpoint
    if partner not in shipped_models():  # a model file must not name other files or URLs
        raise OptionError(f"--detail: the model's partner {partner} is not a shipped model")
    return interpolate(load_checkpoint(partner), checkpoint, step)


def interpolate(faithful: Checkpoint, vivid: Checkpoint, detail: float) -> Checkpoint:
    """Mix two models: (1 - detail) times the faithful weights plus detail times the vivid ones.

    Args:
        detail: 0 to 1.

    Returns:
        A model with the info of the vivid one, except for `detail`, the int8 ranges, and what int8
        loses: at most what the worse of both loses.

    Raises:
        OptionError: the models have different architectures.
    """
    # `mix` folds BN, which would change the faithful model's last bits.
    mixed = faithful if detail == 0 else mix([(faithful, 1 - detail), (vivid, detail)])
    info = {**vivid.info, "detail": detail}
    info.pop("int8", None)
    info.pop("int8_loss", None)
    if "int8" in mixed.info:
        info["int8"] = mixed.info["int8"]
        used = [faithful, vivid] if detail else [faithful]
        if all("int8_loss" in each.info for each in used):
            info["int8_loss"] = max(each.info["int8_loss"] for each in used)
    return replace(mixed, info=info)


def mix(models: Sequence[tuple[Checkpoint, float]]) -> Checkpoint:
    """Sum the weights of models, each multiplied by its share.

    BN is folded into the convolutions before, because its statistics and gains cannot be summed
    separately. The BN of the result divides by the first model's deviations
    (`with_deviations_of`). The int8 ranges are summed, too, unless a model has none or a
    share is below 0.

    Args:
        models: with their shares, which are divided by their sum. Shares may be below 0.

    Returns:
        A model whose info holds int8 ranges only.

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
    zero = np.zeros((), np.float32)
    sums = {
        name: sum((np.float32(share) * tensors[name] for tensors, share in folded), zero)
        for name in first.tensors
    }
    info = _mixed_ranges([(checkpoint.info, share / total) for checkpoint, share in models])
    return with_deviations_of(first, Checkpoint(first.architecture, sums, info))


def _mixed_ranges(infos: Sequence[tuple[dict[str, Any], float]]) -> dict[str, Any]:
    """The weighted sum of the models' int8 ranges, as an info."""
    if any(share < 0 or "int8" not in info for info, share in infos):
        return {}
    names = infos[0][0]["int8"]
    return {
        "int8": {
            name: [sum(share * info["int8"][name][end] for info, share in infos) for end in (0, 1)]
            for name in names
        }
    }
