"""The precisions that are fast on this machine's processor and GPU."""

import torch

from srgan.engines.processor import bf16_is_slow, processor_flags, torch_has_bf16
from srgan.networks import winograd
from srgan.training.options import SRGANOptions, SRResNetOptions


def fastest_precision(method: SRResNetOptions | SRGANOptions) -> str:
    """The choice of `--precision auto` here; if two are equally fast, the more exact one."""
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if not cpu_has_fast_bf16():
        return "fp32"
    if isinstance(method, SRGANOptions) or "amx_bf16" in processor_flags():
        return "bf16"
    # AVX-512's bf16 is no faster than Winograd's convolutions.
    gains = winograd.gain(method.channels, method.channels) and winograd.is_compiled()
    return "fp32" if gains else "bf16"


def cpu_has_fast_bf16() -> bool:
    """Whether the processor computes bf16 faster than fp32."""
    return torch_has_bf16() and not bf16_is_slow()
