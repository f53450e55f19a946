"""Joules between two moments: of the processor packages by RAPL, of the graphics processors by NVML.

Both are counters that the hardware keeps, for everything that runs on the host. What cannot be read is None, never
guessed: many kernels let only root read RAPL, and NVML needs the package pynvml, which is no dependency.
"""

from __future__ import annotations

import functools
import importlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

POWERCAP = Path("/sys/class/powercap")
MOST_WATTS = 1000.0
"""No package takes more: a counter that could have gone round more than once tells nothing."""
_UJ = 1e-6
_MJ = 1e-3


@dataclass(frozen=True)
class Counter:
    """A counter of microjoules that starts again at 0 behind `range_uj`."""

    energy_uj: int
    range_uj: int


@dataclass(frozen=True)
class Reading:
    """The counters at one moment; `at_s` is monotonic. None where there is none, or one cannot be read.

    `packages` are RAPL's by the name of their folder, `gpus_mj` the millijoules of each graphics processor since its
    driver was loaded.
    """

    at_s: float
    packages: Mapping[str, Counter] | None
    gpus_mj: tuple[int, ...] | None


@dataclass(frozen=True)
class Energy:
    """Joules in `wall_s` seconds: of all processor packages, and of all graphics processors."""

    wall_s: float
    packages_j: float | None
    gpus_j: float | None


def read(powercap: Path = POWERCAP) -> Reading:
    """The counters now; `powercap` is where the kernel tells of RAPL, of Intel's and AMD's processors alike."""
    return Reading(time.monotonic(), packages(powercap), _gpus_mj())


def between(before: Reading, after: Reading) -> Energy:
    """What was consumed from one reading to the next."""
    wall_s = after.at_s - before.at_s
    return Energy(wall_s, _packages_j(before, after, wall_s), _gpus_j(before.gpus_mj, after.gpus_mj))


def packages(powercap: Path) -> dict[str, Counter] | None:
    """The counters of all packages; None where there is none, or one of them cannot be read.

    Cores, graphics and memory controller are parts of their package, `psys` contains it, and `intel-rapl-mmio` is the
    same package again: to add any of them would count twice.
    """
    found = {}
    for folder in sorted(powercap.glob("intel-rapl:*")):
        if folder.name.count(":") != 1 or not _text(folder / "name").startswith("package"):
            continue
        energy, span = _text(folder / "energy_uj"), _text(folder / "max_energy_range_uj")
        if not energy.isdigit() or not span.isdigit():
            return None
        found[folder.name] = Counter(int(energy), int(span))
    return found or None


def consumed_uj(before: Counter, after: Counter) -> int:
    """Microjoules from one value of a counter to the next, which went round at most once."""
    if after.energy_uj >= before.energy_uj:
        return after.energy_uj - before.energy_uj
    return after.energy_uj + before.range_uj - before.energy_uj


def _packages_j(before: Reading, after: Reading, wall_s: float) -> float | None:
    first, last = before.packages, after.packages
    if first is None or last is None or first.keys() != last.keys():
        return None
    if any(counter.range_uj * _UJ < MOST_WATTS * wall_s for counter in first.values()):
        return None
    return sum(consumed_uj(first[name], last[name]) for name in first) * _UJ


def _gpus_j(before: tuple[int, ...] | None, after: tuple[int, ...] | None) -> float | None:
    if before is None or after is None or len(before) != len(after):
        return None
    joules = [(last - first) * _MJ for first, last in zip(before, after, strict=True)]
    return sum(joules) if all(item >= 0 for item in joules) else None  # a driver loaded again counts from 0


@functools.cache
def _nvml() -> Any | None:
    """The package pynvml, connected to the driver, or None without either. Looked for once per process."""
    try:
        library = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        library.nvmlInit()
    except library.NVMLError:
        return None
    return library


def _gpus_mj() -> tuple[int, ...] | None:
    library = _nvml()
    if library is None:
        return None
    try:
        handles = [library.nvmlDeviceGetHandleByIndex(index) for index in range(library.nvmlDeviceGetCount())]
        return tuple(int(library.nvmlDeviceGetTotalEnergyConsumption(handle)) for handle in handles) or None
    except library.NVMLError:  # older than Volta: it has no counter
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
