"""The host is read from the kernel: quotas of both cgroup versions, flags, models, and nothing invented."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from autoopt.measure.host import (
    cpu_model,
    cpu_quota,
    current_host,
    instruction_sets,
    library_versions,
    usable_cores,
    usable_memory_bytes,
)


@pytest.fixture
def tree(tmp_path: Path) -> tuple[Path, Path]:
    """An empty cgroup mount and the file that lists the process's cgroups."""
    (tmp_path / "mount").mkdir()
    return tmp_path / "mount", tmp_path / "membership"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_quota_v2(tree: tuple[Path, Path]) -> None:
    """The smallest quota of the own v2 cgroup and its parents counts."""
    mount, membership = tree
    membership.write_text("0::/pod/container\n")
    write(mount / "pod/container/cpu.max", "max 100000\n")
    write(mount / "pod/cpu.max", "150000 100000\n")
    write(mount / "cpu.max", "400000 100000\n")
    assert cpu_quota(mount, membership) == 1.5


def test_quota_v1(tree: tuple[Path, Path]) -> None:
    """A v1 quota is found where the controller is mounted, also when the listed path is not below it."""
    mount, membership = tree
    membership.write_text("4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n")
    write(mount / "cpu,cpuacct/cpu.cfs_quota_us", "250000\n")
    write(mount / "cpu,cpuacct/cpu.cfs_period_us", "100000\n")
    assert cpu_quota(mount, membership) == 2.5


def test_no_quota(tree: tuple[Path, Path]) -> None:
    """No limit, in the words of either version, is no quota; nor are files that do not exist."""
    mount, membership = tree
    assert cpu_quota(mount, membership) is None
    membership.write_text("1:cpu:/\n0::/\n")
    write(mount / "cpu/cpu.cfs_quota_us", "-1\n")
    write(mount / "cpu/cpu.cfs_period_us", "100000\n")
    write(mount / "cpu.max", "max 100000\n")
    assert cpu_quota(mount, membership) is None


@pytest.mark.parametrize(("quota", "cores"), [("20000", 1), ("190000", 1), ("200000", 2), ("9900000", 4)])
def test_usable_cores(tree: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, quota: str, cores: int) -> None:
    """The quota is rounded down, at least one core, never more than the affinity."""
    mount, membership = tree
    membership.write_text("0::/\n")
    write(mount / "cpu.max", f"{quota} 100000\n")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    assert usable_cores(mount, membership) == cores


def test_memory_limit(tree: tuple[Path, Path]) -> None:
    """The cgroup limit counts where it is smaller than the physical memory; "unlimited" does not count."""
    mount, membership = tree
    membership.write_text("4:memory:/job\n0::/\n")
    write(mount / "memory/memory.limit_in_bytes", "9223372036854771712\n")
    assert usable_memory_bytes(mount, membership, physical=8 << 30) == 8 << 30
    write(mount / "memory/job/memory.limit_in_bytes", str(2 << 30))
    assert usable_memory_bytes(mount, membership, physical=8 << 30) == 2 << 30
    write(mount / "memory.max", str(1 << 30))
    assert usable_memory_bytes(mount, membership, physical=8 << 30) == 1 << 30


def test_cpuinfo_x86() -> None:
    """Model and flags of an x86 processor, in our order, without those that decide nothing."""
    text = "processor\t: 0\nmodel name\t: Test CPU @ 2 GHz\nflags\t\t: fpu amx_bf16 avx2 avx512_bf16 sse\n\n"
    assert cpu_model(text) == "Test CPU @ 2 GHz"
    assert instruction_sets(text) == ("avx2", "avx512_bf16", "amx_bf16")


def test_cpuinfo_arm() -> None:
    """An arm64 processor has no model name: its numbers stand for it; its flags are the arm ones."""
    text = "processor\t: 0\nFeatures\t: fp asimd asimdhp i8mm bf16\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n"
    assert cpu_model(text) == "arm implementer 0x41 part 0xd40"
    assert instruction_sets(text) == ("asimd", "asimdhp", "i8mm", "bf16")


def test_unknown_is_absent() -> None:
    """What /proc/cpuinfo does not say is empty."""
    assert cpu_model("") == ""
    assert instruction_sets("") == ()


def test_current_host() -> None:
    """This machine has cores, memory and the versions of what is installed, and is read once."""
    current = current_host()
    assert current is current_host()
    assert 1 <= current.cores <= (os.cpu_count() or 1)
    assert current.memory_bytes > 0
    assert "numpy" in current.versions
    assert len(current.fingerprint) == 12


def test_a_missing_library_has_no_version() -> None:
    """A package that is not installed is absent from the versions."""
    assert set(library_versions(["no-such-package-anywhere", "numpy"])) == {"python", "numpy"}
