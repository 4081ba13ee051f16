"""Between two models: from faithful to vivid.

An SRGAN starts from an SRResNet, so that their weights can be mixed (network interpolation, Wang
et al. 2019, arXiv:1811.10515, and ESRGAN, arXiv:1809.00219, section 3.4): every step between is a
network, whose pictures lie between theirs.
"""

from dataclasses import asdict, replace
from typing import Any

import numpy as np

from srgan.checkpoint import Checkpoint, load_checkpoint, shipped_models
from srgan.config import OptionError
from srgan.networks.folding import with_deviations_of, without_bn


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

    BN is folded into the convolutions first: its statistics and gains do not mix by themselves.
    What is left of it divides by the faithful model's deviations.
    int8 ranges are mixed too; where one model has none they are left out.

    Args:
        detail: 0 to 1.

    Raises:
        OptionError: the models have different architectures.
    """
    if faithful.architecture != vivid.architecture:
        raise OptionError(
            f"models of different architectures cannot be mixed: {asdict(faithful.architecture)} "
            f"and {asdict(vivid.architecture)}"
        )
    mixed = replace(vivid, info=_mixed_info(faithful.info, vivid.info, detail))
    if detail == 0:  # the faithful model to the bit
        return replace(mixed, tensors=faithful.tensors)
    start, end = without_bn(faithful).tensors, without_bn(vivid).tensors
    tensors = {
        name: ((1 - detail) * start[name].astype(np.float64) + detail * end[name]).astype(
            np.float32
        )
        for name in end
    }
    return with_deviations_of(faithful, replace(mixed, tensors=tensors))


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
