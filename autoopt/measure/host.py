"""What this machine is: cores and memory that may really be used, instruction sets, library versions.

Read from the kernel, never by importing the libraries. What cannot be read is absent, never guessed. Only target.py
calls `current_host`: all others ask a `Target` for its host.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from autoopt.core.host import Host
from autoopt.core.short_file import read_short

DISTRIBUTIONS = ("openvino", "onnxruntime", "torch", "nncf", "numpy")
"""The packages whose versions decide what runs and how fast."""

X86_FLAGS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "amx_fp16",
    "avx_ne_convert",
)
ARM_FLAGS = ("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve")
_MAC_FLAGS = {
    "hw.optional.avx2_0": "avx2",
    "hw.optional.avx512f": "avx512f",
    "hw.optional.AdvSIMD": "asimd",
    "hw.optional.arm.FEAT_FP16": "asimdhp",
    "hw.optional.arm.FEAT_DotProd": "asimddp",
    "hw.optional.arm.FEAT_I8MM": "i8mm",
    "hw.optional.arm.FEAT_BF16": "bf16",
}
_UNLIMITED_BYTES = 1 << 60  # cgroup v1 writes "no limit" as a number near 2**63
_CPUINFO_BYTES = 16 << 20  # some kilobytes a core
_MEMORY_STEP_BYTES = 64 << 20  # the kernel's own share of the memory varies a little from boot to boot


@functools.cache
def current_host() -> Host:
    """What decides the speed of this machine. Read once per process."""
    cpuinfo = read_short("/proc/cpuinfo", _CPUINFO_BYTES)
    mac = sys.platform == "darwin"
    return Host(
        cpu=(_sysctl("machdep.cpu.brand_string") if mac else cpu_model(cpuinfo)) or platform.processor() or "unknown",
        arch=platform.machine(),
        cores=usable_cores(),
        memory_bytes=round(usable_memory_bytes() / _MEMORY_STEP_BYTES) * _MEMORY_STEP_BYTES,
        isa=_mac_isa() if mac else instruction_sets(cpuinfo),
        system=_system(),
        versions=library_versions(),
    )


def usable_cores(cgroups: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> int:
    """The cores this process may use: its affinity, cut by the CPU quota of its cgroups (v1 or v2); at least 1.

    The two paths are where the cgroup file systems are mounted and the process's own cgroups are listed.
    """
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(cgroups, membership)
    return max(1, available if quota is None else min(available, int(quota)))


def cpu_quota(cgroups: Path, membership: Path) -> float | None:
    """The smallest CPU quota, in cores, of the process's cgroups and their parents; None without one."""
    quotas = []
    for folder in _cgroup_folders(cgroups, membership, "cpu"):
        words = read_short(folder / "cpu.max").split()
        if len(words) == 2 and words[0] != "max":
            quotas.append(float(words[0]) / float(words[1]))
        quota, period = (
            read_short(folder / "cpu.cfs_quota_us").strip(),
            read_short(folder / "cpu.cfs_period_us").strip(),
        )
        if quota.isdigit() and period.isdigit():  # -1 means no quota
            quotas.append(float(quota) / float(period))
    return min(quotas, default=None)


def usable_memory_bytes(
    cgroups: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup"), physical: int | None = None
) -> int:
    """The physical memory, cut by the limits of the process's cgroups; 0 when it cannot be read."""
    total = _physical_bytes() if physical is None else physical
    limits = [total] if total else []
    for folder in _cgroup_folders(cgroups, membership, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            text = read_short(folder / name).strip()
            if text.isdigit() and int(text) < _UNLIMITED_BYTES:
                limits.append(int(text))
    return min(limits, default=0)


def cpu_model(cpuinfo: str) -> str:
    """The model name in /proc/cpuinfo; on arm64, where there is none, its implementer and part numbers."""
    fields = dict(re.findall(r"^([^\t:\n]+?)\s*:\s*(.+)$", cpuinfo, flags=re.MULTILINE))
    if "model name" in fields:
        return str(fields["model name"])
    numbers = [
        f"{name[4:]} {fields[name]}" for name in ("CPU implementer", "CPU part", "CPU variant") if name in fields
    ]
    return f"arm {' '.join(numbers)}" if numbers else ""


def instruction_sets(cpuinfo: str) -> tuple[str, ...]:
    """The instruction sets in /proc/cpuinfo that decide speed, in a fixed order.

    Some kernels do not list avx_ne_convert and amx_fp16: then they count as absent.
    """
    line = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", cpuinfo, flags=re.MULTILINE)
    found = set(line.group(1).split()) if line else set()
    known = ARM_FLAGS if "asimd" in found else X86_FLAGS
    return tuple(flag for flag in known if flag in found)


def _cgroup_folders(cgroups: Path, membership: Path, controller: str) -> Iterator[Path]:
    """Every folder that may limit this process: its own cgroup and all above, in v2 and v1 layouts.

    Inside a container the listed path may not exist under the mount, whose root is then its own cgroup.
    """
    for line in read_short(membership).splitlines():
        number, controllers, path = line.split(":", 2)
        names = controllers.split(",")
        if number == "0":
            mounts = [cgroups, cgroups / "unified"]
        elif controller in names:
            mounts = [cgroups / controllers, cgroups / controller]
        else:
            continue
        inner = PurePosixPath(path.lstrip("/"))
        for mount in mounts:
            yield from (mount / part for part in (inner, *inner.parents))


def _physical_bytes() -> int:
    if sys.platform == "darwin":
        text = _sysctl("hw.memsize")
        return int(text) if text.isdigit() else 0
    match = re.search(r"^MemTotal:\s*(\d+) kB", read_short("/proc/meminfo"), flags=re.MULTILINE)
    return int(match.group(1)) * 1024 if match else 0


def _mac_isa() -> tuple[str, ...]:
    return tuple(flag for key, flag in _MAC_FLAGS.items() if _sysctl(key) == "1")


def _sysctl(name: str) -> str:
    try:
        done = subprocess.run(["/usr/sbin/sysctl", "-n", name], capture_output=True, text=True, timeout=5, check=False)
    except OSError:
        return ""
    return done.stdout.strip()


def _system() -> str:
    """The system and its C library. Not the kernel's release: an update would end every study."""
    return " ".join(filter(None, [platform.system(), *platform.libc_ver()]))


def library_versions(distributions: Sequence[str] = DISTRIBUTIONS) -> dict[str, str]:
    """The versions of Python and of those `distributions` that are installed."""
    versions = {"python": platform.python_version()}
    for name in distributions:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
