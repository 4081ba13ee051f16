import os
import platform
import subprocess
import sys

import pytest
import torch

from srgan.training import process
from srgan.training.process import keep_freed_memory, set_threads

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


def test_threads_follow_the_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for quota, wanted in ((None, None), (2, None), (2, 6)):
        monkeypatch.setattr("srgan.engines.torch.quota_cores", lambda quota=quota: quota)
        set_threads(wanted)
    assert threads == [2, 6]  # without a quota torch's own choice stays
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    set_threads(None)
    assert threads == [2, 6]


@pytest.mark.parametrize(("busy", "warned"), [(0.5, False), (3.0, False), (3.5, True), (9, True)])
def test_other_programs_on_the_same_cores_are_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, busy: float, warned: bool
) -> None:
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(process, "busy_cores", lambda: busy)
    set_threads(4)
    assert ("other programs use" in caplog.text) == warned


def test_without_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr("ctypes.CDLL", lambda _: pytest.fail("no mallopt to call here"))
    keep_freed_memory()
