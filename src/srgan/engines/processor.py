"""Features of the processor, read from Linux; other systems report none."""

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


def _entry(name: str) -> str:
    """The value of an entry of the first core in /proc/cpuinfo; empty if there is none."""
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:
        return ""
    entries = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in entries if key.strip() == name), "")
