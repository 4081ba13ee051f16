"""The processor's features, cores and memory. What is read from Linux is unknown elsewhere."""

import functools
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
# How long idle threads of OpenMP spin. None: threads then leave their core to other programs.
# libgomp (torch's wheels for Linux) reads the first, Intel's and LLVM's library the second.
_PASSIVE = {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0"}

# By a part of the features' names: the limits of oneDNN that exclude them.
_NO_VNNI = {"SSE41", "AVX", "AVX2", "AVX512_CORE"}
_NO_BF16 = _NO_VNNI | {"AVX2_VNNI", "AVX512_CORE_VNNI"}
_NO_AMX = _NO_BF16 | {"AVX2_VNNI_2", "AVX512_CORE_BF16", "AVX512_CORE_FP16"}
_WITHOUT = {"vnni": _NO_VNNI, "bf16": _NO_BF16, "amx": _NO_AMX}


def usable_cores() -> int:
    """The cores that this process may use: by its affinity and by the CPU quota of its container.

    A part of a core counts as one.
    """
    cores = affine_cores()
    quota = cpu_quota()
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def quota_cores() -> int | None:
    """The cores to use where a CPU quota allows fewer than the affinity, else None."""
    cores = usable_cores()
    return cores if cores < affine_cores() else None


def affine_cores() -> int:
    """The cores that this process may run on, such as those that taskset or Slurm gave it."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_quota() -> float | None:
    """The smallest CPU quota of the process's cgroups, in cores; None without one."""
    quotas = [quota for folder in _cgroups() if (quota := _quota(folder)) is not None]
    return min(quotas, default=None)


def _cgroups() -> Iterator[Path]:
    """The folders of the process's cgroups (version 2, and version 1's cpu) and those above."""
    try:
        lines = OWN_CGROUPS.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        for root in [CGROUPS / name for name in (controllers, "cpu")] if controllers else [CGROUPS]:
            # A container may see its own cgroup as the root: the path is then that of the host.
            own = root / path.lstrip("/")
            yield from [own, *(above for above in own.parents if above.is_relative_to(root))]


def _quota(cgroup: Path) -> float | None:
    try:
        if (cgroup / "cpu.max").exists():
            quota, period = (cgroup / "cpu.max").read_text().split()
        else:
            quota = (cgroup / "cpu.cfs_quota_us").read_text()
            period = (cgroup / "cpu.cfs_period_us").read_text()
        return float(quota) / float(period) if float(quota) > 0 else None
    except (OSError, ValueError):  # no such file; "max"
        return None


def wait_passively() -> None:
    """Make OpenMP's idle threads sleep. It counts for libraries that are imported later.

    Threads that spin while they wait take the time of other programs on the same cores, and of
    their own threads that work. A variable that the user has set stays.
    """
    for name, value in _PASSIVE.items():
        os.environ.setdefault(name, value)


def busy_cores() -> float:
    """About how many cores of the machine other programs use, over the last minute and now."""
    if not hasattr(os, "getloadavg"):
        return 0.0
    load = os.getloadavg()[0]
    try:
        running = int(Path("/proc/loadavg").read_text().split()[3].partition("/")[0])
    except (OSError, ValueError, IndexError):
        return load
    return min(load, running - 1)  # without this process; a run that has just ended is not there


def processor_flags() -> set[str]:
    """The processor's features by their Linux names; empty on other systems.

    Without what oneDNN's limit excludes, such as ONEDNN_MAX_CPU_ISA=AVX512_CORE_VNNI: openvino
    and torch then do not use it either.
    """
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "ALL").upper()
    excluded = [name for name, limits in _WITHOUT.items() if limit in limits]
    flags = _entry("flags").split()
    return {flag for flag in flags if not any(name in flag for name in excluded)}


def has_vnni() -> bool | None:
    """Whether the processor multiplies 8-bit integers exactly and fast; None where unknown."""
    flags = processor_flags()
    return any("vnni" in flag for flag in flags) if flags else None


def has_amx() -> bool:
    """Whether the processor has AMX, beside which bf16 is faster than all but int8."""
    return "amx_bf16" in processor_flags()


def bf16_is_slow() -> bool:
    """Whether bf16 is known to be slower than fp32 on this processor.

    It is on Intel processors whose AMX is missing or, as on many virtual machines, hidden. There
    the network ran at 0.55 times the speed of fp32 (Emerald Rapids, benchmarks/RESULTS.md). AMD's
    avx512_bf16 and Intel's AMX are faster than fp32.
    """
    return _entry("vendor_id") == "GenuineIntel" and not has_amx()


def torch_has_bf16() -> bool:
    """Whether torch can compute bf16 on this CPU: it has AVX-512's bf16. Imports torch."""
    import torch

    return torch.cpu._is_avx512_bf16_supported()  # pyright: ignore[reportPrivateUsage] - no public one


def _entry(name: str) -> str:
    """The value of an entry of the first core in /proc/cpuinfo; empty if there is none."""
    try:
        text = _read(CPUINFO)
    except OSError:
        return ""
    entries = (line.partition(":") for line in text.splitlines())
    return next((value.strip() for key, _, value in entries if key.strip() == name), "")


@functools.cache
def _read(path: Path) -> str:
    # It does not change, and an engine asks several times; a hundred cores take milliseconds.
    return path.read_text()


def peak_memory(pid: int | None = None) -> int:
    """The most memory that a process has used so far, in bytes; 0 where Linux does not tell.

    Args:
        pid: None for this process.
    """
    try:
        status = Path(f"/proc/{pid or 'self'}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
