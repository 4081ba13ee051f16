"""What the processor can do, as Linux tells it; elsewhere nothing is known."""

from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def processor_flags() -> set[str]:
    """The processor's features as Linux names them; empty where the system does not tell."""
    return set(_entry("flags").split())


def bf16_is_slow() -> bool:
    """Whether bf16 is known to be slower than fp32, although the processor has it.

    So it is on Intel's where AMX is missing or, as on many virtual machines, hidden: the network
    ran at 0.55 times the speed of fp32 on an Emerald Rapids (benchmarks/RESULTS.md). AMD's
    avx512_bf16 and Intel's AMX are faster than fp32.
    """
    return _entry("vendor_id") == "GenuineIntel" and "amx_bf16" not in processor_flags()


def _entry(name: str) -> str:
    """An entry of the first core in /proc/cpuinfo, or nothing."""
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:
        return ""
    entries = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in entries if key.strip() == name), "")
