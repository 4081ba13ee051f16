"""Which precision "auto" is on this CPU. openvino is imported only where it must be asked."""

import math
from collections.abc import Mapping
from typing import Any

from srgan.engines.options import Precision
from srgan.engines.processor import bf16_is_slow, has_amx, has_vnni, processor_flags

# Of the convolutions that int8 can take, "auto" leaves this one in float: a third of the error,
# and a tenth of the speed.
AUTO_KEPT_FLOAT = "upsample.0.conv"
AUTO_INT8_LOSS = 0.02  # dB, at most


def cpu_precision(info: Mapping[str, Any]) -> Precision:
    """The precision that "auto" is for one of our models, from its `info`."""
    return "int8" if automatic_ranges(info) else native_precision()


def automatic_ranges(info: Mapping[str, Any]) -> dict[str, list[float]]:
    """The int8 ranges that "auto" takes from a model's `info`; none where it takes a float."""
    exact = info.get("int8_loss", math.inf) <= AUTO_INT8_LOSS
    if not exact or not has_vnni() or has_amx():
        return {}
    return {name: ends for name, ends in info.get("int8", {}).items() if name != AUTO_KEPT_FLOAT}


def native_precision() -> Precision:
    """The float that is fast here.

    That is openvino's default where it is fp16 (ARM: untested), or bf16 and fast; otherwise fp32.
    """
    if not has_bf16() or bf16_is_slow():
        return "fp32"
    from srgan.engines.library import openvino, shared_core

    default = shared_core().get_property("CPU", "INFERENCE_PRECISION_HINT")
    if default == openvino.Type.f16:
        return "fp16"
    return "bf16" if default == openvino.Type.bf16 else "fp32"


def native_is_faster(precision: Precision) -> bool:
    """Whether our own convolutions in fp32 are faster than openvino in `precision`.

    They are than its fp32, and than its bf16 without AMX: 1.3 times on Zen 4.
    """
    return precision == "fp32" or (precision == "bf16" and not has_amx())


def has_bf16() -> bool:
    """Unless the processor's features are known and bf16 is not one of them."""
    flags = processor_flags()
    return not flags or any("bf16" in flag for flag in flags)
