"""What something would have taken on a host that is left alone, from how long it took on one that was busy."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from autoopt.measure import host_load
from autoopt.measure.host_load import Load
from autoopt.measure.merging import BUSY_CPU_SHARE, TAKEN_AWAY
from autoopt.measure.taking import LONG_ENOUGH_S

MOST_TAKEN = 0.95
"""Where others take more of the cores than this the share says little of what was left."""


@dataclass(frozen=True)
class Timed:
    """Wall seconds of something that computes, and what is known of the host meanwhile.

    `taken` is the share of the cores that others took, `cpu_s` the CPU-seconds of all its threads; None where unknown.
    """

    wall_s: float
    taken: float | None = None
    cpu_s: float | None = None

    @property
    def busy(self) -> bool:
        """Whether the host was busy: others took a tenth of the cores, or it was kept waiting for one."""
        waited = self.cpu_s is not None and self.cpu_s < BUSY_CPU_SHARE * self.wall_s
        return waited or (self.taken or 0.0) > TAKEN_AWAY

    @property
    def quiet_s(self) -> float:
        """The seconds without the others: its share of the cores, and never more than one thread would have needed."""
        if not self.busy:
            return self.wall_s
        shared_s = self.wall_s * (1 - min(self.taken or 0.0, MOST_TAKEN))
        return shared_s if self.cpu_s is None else min(shared_s, self.cpu_s)


def taken_share(load: Load) -> float | None:
    """The share of the cores that other programs and other guests took; None where it was too short or is not known."""
    if load.wall_s < LONG_ENOUGH_S or load.foreign_share is None:
        return None
    return min(1.0, load.foreign_share + (load.steal_share or 0.0))


def taken_from_now() -> Callable[[], float | None]:
    """Begin to note what others than this process and its parent take; the result says it, when called."""
    own = (os.getpid(), os.getppid())
    before = host_load.snapshot(own)
    return lambda: taken_share(host_load.between(before, host_load.snapshot(own)))


def timed_of(report: Mapping[str, Any]) -> Timed:
    """The seconds of a report of the maker process, with the share that others took meanwhile."""
    return Timed(float(report["seconds"]), report.get("taken"), report.get("cpu_s"))
