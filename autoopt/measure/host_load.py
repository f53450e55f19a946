"""What else a host did between two moments: CPU time of other programs, stolen CPU time, thermal throttling.

Read from the kernel in well under a millisecond. What cannot be read is None, never guessed; on systems other than
Linux that is everything.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoopt.core.short_file import read_short

PROC = Path("/proc")
CPUS = Path("/sys/devices/system/cpu")
_BUSY = (0, 1, 2, 5, 6)  # user, nice, system, irq, softirq; a guest's time is in user and nice already
_STEAL = 7
_UTIME, _STIME, _START = 11, 12, 19  # counted after the name of the program, which may hold anything


@dataclass(frozen=True)
class Ticks:
    """Clock ticks that some cores spent since boot: computing anything, and stolen by the hypervisor."""

    busy: int
    steal: int


@dataclass(frozen=True)
class Own:
    """One process: when it started (ticks after boot) and its CPU time in ticks."""

    start: int
    ticks: int


@dataclass(frozen=True)
class Snapshot:
    """The host's counters at one moment; `at_s` never goes back. `own` is None where one of the processes is gone."""

    at_s: float
    cores: tuple[int, ...]
    host: Ticks | None
    own: Mapping[int, Own] | None
    throttles: int | None


@dataclass(frozen=True)
class Load:
    """What happened in `wall_s` seconds.

    `foreign_share` and `steal_share` are the CPU-seconds of other programs, and those that the hypervisor took, as
    fractions of all CPU-seconds of the cores that this process may run on. `throttles` counts how often a core or its
    package was slowed because it was hot.
    """

    wall_s: float
    foreign_share: float | None
    steal_share: float | None
    throttles: int | None


def snapshot(pids: Collection[int] = (), *, proc: Path = PROC, cpus: Path = CPUS) -> Snapshot:
    """The counters now, of the cores that this process may use; `pids` are the processes that are not foreign.

    The two paths are where the kernel describes processes and cores.
    """
    cores = tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()
    at_s, host = time.monotonic(), host_ticks(read_short(proc / "stat"), cores)
    found = {pid: process_ticks(read_short(proc / str(pid) / "stat")) for pid in pids}
    own = {pid: item for pid, item in found.items() if item is not None}
    return Snapshot(
        at_s=at_s,
        cores=cores,
        host=host,
        own=own if len(own) == len(found) else None,
        throttles=_throttles(cpus, cores),
    )


def between(before: Snapshot, after: Snapshot, *, ticks_per_s: int | None = None) -> Load:
    """What the host did from one snapshot to the next.

    The kernel counts in hundredths of a second: over much less than a second the shares are coarse. Where one of the
    processes ended meanwhile `foreign_share` is unknown, because its last seconds would count as foreign.
    """
    unit = ticks_per_s or os.sysconf("SC_CLK_TCK")
    wall_s = after.at_s - before.at_s
    capacity = len(before.cores) * wall_s * unit
    foreign = steal = None
    if before.host is not None and after.host is not None and before.cores == after.cores and capacity > 0:
        steal = _share(after.host.steal - before.host.steal, capacity)
        own = _own_ticks(before.own, after.own)
        foreign = None if own is None else _share(after.host.busy - before.host.busy - own, capacity)
    counts = (before.throttles, after.throttles) if before.cores == after.cores else (None, None)
    return Load(
        wall_s=wall_s,
        foreign_share=foreign,
        steal_share=steal,
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
    if len(fields) <= _START:
        return None
    return Own(int(fields[_START]), int(fields[_UTIME]) + int(fields[_STIME]))


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


def _throttles(cpus: Path, cores: Sequence[int]) -> int | None:
    """Times the cores were throttled, and the package of the first one."""
    total = 0
    names = [f"cpu{core}/thermal_throttle/core_throttle_count" for core in cores]
    names += [f"cpu{core}/thermal_throttle/package_throttle_count" for core in cores[:1]]
    for name in names:
        text = read_short(f"{cpus}/{name}").strip()
        if not text.isdigit():
            return None
        total += int(text)
    return total if names else None
