"""Joules that the processor packages of a host consumed between two moments, by the counters of RAPL.

The hardware counts everything that runs on the host. What cannot be read is None, never guessed: many kernels let only
root read these counters.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autoopt.core.short_file import read_short

POWERCAP = Path("/sys/class/powercap")
MOST_WATTS = 1000.0
"""No package takes more: a counter that could have wrapped around more than once tells nothing."""
_UJ = 1e-6


@dataclass(frozen=True)
class Counter:
    """A counter of microjoules that starts again at 0 after `range_uj`."""

    energy_uj: int
    range_uj: int


@dataclass(frozen=True)
class Reading:
    """The counters at one moment, by the name of their folder; None where there is none, or one cannot be read.

    `at_s` never goes back.
    """

    at_s: float
    packages: Mapping[str, Counter] | None


def read(powercap: Path = POWERCAP) -> Reading:
    """The counters now; `powercap` is where the kernel describes RAPL, of Intel's and AMD's processors alike."""
    return Reading(time.monotonic(), packages(powercap))


def between(before: Reading, after: Reading) -> float | None:
    """The joules of all packages from one reading to the next; None where they are not known."""
    first, last = before.packages, after.packages
    if first is None or last is None or first.keys() != last.keys():
        return None
    wall_s = after.at_s - before.at_s
    if any(counter.range_uj * _UJ < MOST_WATTS * wall_s for counter in first.values()):
        return None
    return sum(consumed_uj(first[name], last[name]) for name in first) * _UJ


def why_unreadable(powercap: Path = POWERCAP) -> str:
    """Why no joules can be told on this host, and what to do; empty where they can."""
    if packages(powercap) is not None:
        return ""
    if not any(powercap.glob("intel-rapl:*")):
        return f"the kernel has no counter of the processor's energy in {powercap}, as in most virtual machines"
    return (
        f"the energy counters below {powercap} cannot be read: let root run chmod a+r {powercap}/intel-rapl:*/energy_uj"
    )


def packages(powercap: Path) -> dict[str, Counter] | None:
    """The counters of all packages; None where there is none, or one of them cannot be read.

    Cores, graphics and memory controller are parts of their package, `psys` contains it, and `intel-rapl-mmio` is the
    same package again: to add any of them would count twice.
    """
    found = {}
    for folder in sorted(powercap.glob("intel-rapl:*")):
        if folder.name.count(":") != 1 or not read_short(folder / "name").startswith("package"):
            continue
        energy, span = (read_short(folder / name).strip() for name in ("energy_uj", "max_energy_range_uj"))
        if not energy.isdigit() or not span.isdigit():
            return None
        found[folder.name] = Counter(int(energy), int(span))
    return found or None


def consumed_uj(before: Counter, after: Counter) -> int:
    """Microjoules from one value of a counter to the next, which wrapped around at most once."""
    if after.energy_uj >= before.energy_uj:
        return after.energy_uj - before.energy_uj
    return after.energy_uj + before.range_uj - before.energy_uj
