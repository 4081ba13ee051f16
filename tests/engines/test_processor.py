from pathlib import Path

import pytest

from srgan.engines import processor
from srgan.engines.processor import bf16_is_slow, has_vnni, processor_flags

CPUINFO = """\
processor\t: 0
vendor_id\t: {vendor}
model name\t: {vendor} processor
flags\t\t: fpu avx2 avx512f avx512_bf16 {more}

processor\t: 1
vendor_id\t: {vendor}
flags\t\t: fpu
"""


@pytest.mark.parametrize(
    ("vendor", "more", "slow"),
    [
        ("GenuineIntel", "avx512_fp16", True),
        ("GenuineIntel", "amx_bf16 amx_tile", False),
        ("AuthenticAMD", "avx512_vnni", False),
    ],
)
def test_bf16_is_slow_on_intel_without_amx(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vendor: str, more: str, slow: bool
) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(CPUINFO.format(vendor=vendor, more=more))
    monkeypatch.setattr(processor, "CPUINFO", path)
    assert processor_flags() == {"fpu", "avx2", "avx512f", "avx512_bf16", *more.split()}
    assert bf16_is_slow() is slow


def test_nothing_is_known_where_the_system_does_not_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "none")
    assert processor_flags() == set()
    assert has_vnni() is None
    assert not bf16_is_slow()


@pytest.mark.parametrize(
    ("limit", "bf16", "vnni"),
    [(None, True, True), ("avx512_core_vnni", False, True), ("AVX2", False, False)],
)
def test_onednn_limit_of_instructions_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str | None, bf16: bool, vnni: bool
) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(CPUINFO.format(vendor="AuthenticAMD", more="avx512_vnni"))
    monkeypatch.setattr(processor, "CPUINFO", path)
    if limit:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    else:
        monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    assert ("avx512_bf16" in processor_flags()) is bf16
    assert has_vnni() is vnni
