"""The cores that a process may use."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from srgan.engines import processor
from srgan.engines.create import create_engine
from srgan.engines.options import EngineOptions
from srgan.engines.processor import cpu_quota, quota_cores, usable_cores, wait_passively
from srgan.models.load import load_model
from srgan.networks.architecture import Checkpoint
from srgan.networks.foreign import Model
from tests.support.architectures import small_state

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs Linux")


@pytest.fixture
def cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty tree of cgroups, and eight cores."""
    monkeypatch.setattr(processor, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(processor, "OWN_CGROUPS", tmp_path / "own")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    return tmp_path / "cgroup"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_no_quota(cgroups: Path) -> None:
    assert (cpu_quota(), quota_cores(), usable_cores()) == (None, None, 8)
    write(cgroups.parent / "own", "0::/a/b\n")
    write(cgroups / "a" / "cpu.max", "max 100000\n")
    assert (cpu_quota(), quota_cores(), usable_cores()) == (None, None, 8)


@pytest.mark.parametrize(("quota", "cores"), [(200000, 2), (150000, 2), (50000, 1), (10**7, 8)])
def test_a_quota_of_version_2(cgroups: Path, quota: int, cores: int) -> None:
    write(cgroups.parent / "own", "0::/kubepods/pod/container\n")
    write(cgroups / "kubepods" / "pod" / "cpu.max", f"{quota} 100000\n")
    write(cgroups / "kubepods" / "cpu.max", "900000 100000\n")
    assert usable_cores() == cores


@pytest.mark.parametrize("controllers", ["cpu,cpuacct", "cpu"])
def test_a_quota_of_version_1(cgroups: Path, controllers: str) -> None:
    write(cgroups.parent / "own", f"4:memory:/x\n3:cpuset:/x\n1:{controllers}:/docker/abc\n")
    # Inside the container its own cgroup is the root.
    write(cgroups / controllers / "cpu.cfs_quota_us", "300000\n")
    write(cgroups / controllers / "cpu.cfs_period_us", "100000\n")
    assert (cpu_quota(), quota_cores(), usable_cores()) == (3.0, 3, 3)
    write(cgroups / controllers / "cpu.cfs_quota_us", "-1\n")
    assert cpu_quota() is None


@pytest.mark.parametrize("name", ["ours", "Compact"])
def test_torch_follows_a_quota(
    cgroups: Path, monkeypatch: pytest.MonkeyPatch, small_checkpoint: Checkpoint, name: str
) -> None:
    write(cgroups.parent / "own", "0::/a\n")
    write(cgroups / "a" / "cpu.max", "300000 100000\n")
    threads: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    model: Model = small_checkpoint
    if name != "ours":
        torch.save({"params": small_state(name)}, cgroups.parent / "model.pth")
        model = load_model(cgroups.parent / "model.pth")
    monkeypatch.setenv("SRGAN_CACHE", str(cgroups.parent))
    create_engine(model, EngineOptions("torch", "fp32"))
    assert threads == [3]


def test_affinity_counts(cgroups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 5})
    assert (usable_cores(), quota_cores()) == (2, None)


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    monkeypatch.delenv("KMP_BLOCKTIME", raising=False)
    wait_passively()
    assert (os.environ["OMP_WAIT_POLICY"], os.environ["KMP_BLOCKTIME"]) == ("active", "0")
    monkeypatch.delenv("KMP_BLOCKTIME")


def test_the_command_waits_passively_before_torch_is_imported() -> None:
    code = (
        "import os, sys\n"
        "from srgan.cli import train\n"
        "assert 'torch' not in sys.modules\n"
        "def wait(): print('torch' in sys.modules)\n"
        "train.wait_passively = wait\n"
        "from srgan.cli.commands import app\n"
        "try: app('train srgan --data-folder /nowhere', exit_on_error=False)\n"
        "except Exception: pass\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[0] == "False", done.stderr
