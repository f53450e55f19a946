"""What else the host did between two moments: foreign and stolen CPU time, the clock frequency, thermal throttling.

Read from the kernel in well under a millisecond. What cannot be read is None, never guessed; elsewhere than on Linux
that is everything.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
CPUS = Path("/sys/devices/system/cpu")
_READ_BYTES = 1 << 17
_BUSY = (0, 1, 2, 5, 6)  # user, nice, system, irq, softirq; a guest's time is in user and nice already
_STEAL = 7
_UTIME, _STIME, _START, _PROCESSOR = 11, 12, 19, 36  # counted after the name of the program, which may hold anything


@dataclass(frozen=True)
class Ticks:
    """Clock ticks that some cores spent since boot: computing anything, and stolen by the hypervisor."""

    busy: int
    steal: int


@dataclass(frozen=True)
class Own:
    """One process: when it started (ticks after boot), its CPU time in ticks, the core it was last seen on."""

    start: int
    ticks: int
    core: int


@dataclass(frozen=True)
class Snapshot:
    """The host's counters at one moment; `at_s` is monotonic. `own` is None where one of the processes is gone."""

    at_s: float
    cores: tuple[int, ...]
    host: Ticks | None
    own: Mapping[int, Own] | None
    frequency_hz: float | None
    throttles: int | None


@dataclass(frozen=True)
class Load:
    """What happened in `wall_s` seconds.

    `foreign_share` and `steal_share` are CPU-seconds of other programs, and taken by the hypervisor, over those of the
    cores that this process may run on. `frequency_hz` is that of the cores the own processes ran on; `throttles`
    counts how often a core or its package was slowed because it was hot.
    """

    wall_s: float
    foreign_share: float | None
    steal_share: float | None
    frequency_hz: float | None
    throttles: int | None


def snapshot(pids: Collection[int] = (), *, proc: Path = PROC, cpus: Path = CPUS) -> Snapshot:
    """The counters now, of the cores this process may use; `pids` are the processes whose time is not foreign.

    The two paths are where the kernel tells of processes and of cores.
    """
    cores = tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()
    at_s, host = time.monotonic(), host_ticks(_text(proc / "stat"), cores)
    found = {pid: process_ticks(_text(proc / str(pid) / "stat")) for pid in pids}
    own = {pid: item for pid, item in found.items() if item is not None}
    return Snapshot(
        at_s=at_s,
        cores=cores,
        host=host,
        own=own if len(own) == len(found) else None,
        frequency_hz=_frequency_hz(cpus, sorted({item.core for item in own.values()})),
        throttles=_throttles(cpus, cores),
    )


def between(before: Snapshot, after: Snapshot, *, ticks_per_s: int | None = None) -> Load:
    """What the host did from one snapshot to the next.

    The kernel counts in hundredths of a second: over much less than a second the shares are coarse. A process that
    ended meanwhile leaves `foreign_share` unknown, because its last seconds would count as foreign.
    """
    unit = ticks_per_s or os.sysconf("SC_CLK_TCK")
    wall_s = after.at_s - before.at_s
    capacity = len(before.cores) * wall_s * unit
    foreign = steal = None
    if before.host is not None and after.host is not None and before.cores == after.cores and capacity > 0:
        steal = _share(after.host.steal - before.host.steal, capacity)
        own = _own_ticks(before.own, after.own)
        foreign = None if own is None else _share(after.host.busy - before.host.busy - own, capacity)
    frequencies = [item.frequency_hz for item in (before, after) if item.frequency_hz is not None]
    counts = (before.throttles, after.throttles) if before.cores == after.cores else (None, None)
    return Load(
        wall_s=wall_s,
        foreign_share=foreign,
        steal_share=steal,
        frequency_hz=sum(frequencies) / len(frequencies) if frequencies else None,
        throttles=counts[1] - counts[0] if counts[0] is not None and counts[1] is not None else None,
    )


def host_ticks(stat: str, cores: Collection[int]) -> Ticks | None:
    """The ticks of `cores` in /proc/stat; None unless it lists every one of them."""
    rows = {
        int(number): [int(field) for field in fields.split()]
        for number, fields in re.findall(r"^cpu(\d+)((?: +\d+)+)", stat, flags=re.MULTILINE)
    }
    if not cores or any(len(rows.get(core, ())) <= _STEAL for core in cores):
        return None
    return Ticks(
        busy=sum(rows[core][index] for core in cores for index in _BUSY),
        steal=sum(rows[core][_STEAL] for core in cores),
    )


def process_ticks(stat: str) -> Own | None:
    """One process from its /proc/PID/stat, all its threads together; None where that is empty or not one."""
    fields = stat.rpartition(")")[2].split()
    if len(fields) <= _PROCESSOR:
        return None
    return Own(int(fields[_START]), int(fields[_UTIME]) + int(fields[_STIME]), int(fields[_PROCESSOR]))


def _own_ticks(before: Mapping[int, Own] | None, after: Mapping[int, Own] | None) -> int | None:
    """The ticks of the same processes at both moments; None when they are not the same."""
    if before is None or after is None or before.keys() != after.keys():
        return None
    if any(before[pid].start != after[pid].start for pid in before):  # the number was given to another process
        return None
    return sum(after[pid].ticks - before[pid].ticks for pid in before)


def _share(ticks: float, capacity: float) -> float:
    """Ticks are sampled, so a little more than everything or less than nothing may be counted."""
    return min(1.0, max(0.0, ticks / capacity))


def _frequency_hz(cpus: Path, cores: Collection[int]) -> float | None:
    """The mean over `cores`: only those that ran, since an idle core is slow and old kernels take 10 ms to ask it."""
    texts = [_text(cpus / f"cpu{core}" / "cpufreq" / "scaling_cur_freq").strip() for core in cores]
    known = [int(text) * 1000 for text in texts if text.isdigit()]
    return sum(known) / len(known) if known and len(known) == len(texts) else None


def _throttles(cpus: Path, cores: Sequence[int]) -> int | None:
    """Times the cores were throttled, and the package of the first one."""
    total = 0
    names = [f"cpu{core}/thermal_throttle/core_throttle_count" for core in cores]
    names += [f"cpu{core}/thermal_throttle/package_throttle_count" for core in cores[:1]]
    for name in names:
        text = _text(f"{cpus}/{name}").strip()
        if not text.isdigit():
            return None
        total += int(text)
    return total if names else None


def _text(path: Path | str) -> str:
    """A short file of the kernel in one read: what stands behind the cores in /proc/stat is long and not needed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(descriptor, _READ_BYTES).decode(errors="replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)
