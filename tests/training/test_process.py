import platform
import subprocess
import sys

import pytest

from srgan.training.process import keep_freed_memory

FAULTS = """
import resource
import torch
from srgan.training.process import keep_freed_memory

if {keep}:
    keep_freed_memory()
faults = []
for step in range(12):
    start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24).add(1)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - start)
print(min(faults))
"""


def page_faults(keep: bool) -> int:
    """Fewest of any step that takes and frees 128 MiB: the heap settles after a few of them."""
    code = FAULTS.format(keep=keep)
    command = [sys.executable, "-c", code]
    return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc is set")
def test_freed_memory_is_kept() -> None:
    assert page_faults(keep=False) > 100  # huge pages are few
    assert page_faults(keep=True) < 20


def test_without_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr("ctypes.CDLL", lambda _: pytest.fail("no mallopt to call here"))
    keep_freed_memory()
