"""Features of the processor. Those read from Linux are unknown on other systems."""

from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def processor_flags() -> set[str]:
    """The processor's features by their Linux names; empty on other systems."""
    return set(_entry("flags").split())


def bf16_is_slow() -> bool:
    """Whether bf16 is known to be slower than fp32 on this processor.

    It is on Intel processors whose AMX is missing or, as on many virtual machines, hidden. There
    the network ran at 0.55 times the speed of fp32 (Emerald Rapids, benchmarks/RESULTS.md). AMD's
    avx512_bf16 and Intel's AMX are faster than fp32.
    """
    return _entry("vendor_id") == "GenuineIntel" and "amx_bf16" not in processor_flags()


def torch_has_bf16() -> bool:
    """Whether torch can compute bf16 on this CPU: it has AVX-512's bf16. Imports torch."""
    import torch

    return torch.cpu._is_avx512_bf16_supported()  # pyright: ignore[reportPrivateUsage] - no public one


def _entry(name: str) -> str:
    """The value of an entry of the first core in /proc/cpuinfo; empty if there is none."""
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:
        return ""
    entries = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in entries if key.strip() == name), "")
