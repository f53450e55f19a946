"""How fast the reference is on a host: the one level to which all latencies of a study are brought."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass, replace

from autoopt.core import stats
from autoopt.core.records import TrialRecord

QUARTER = 0.25
"""The level is that of the quietest quarter of the trials: a busy host only ever adds."""
STEADY = 0.05
"""A level that would move by less (a fraction) stays, so that the numbers of a study do not change with every trial."""
SLOWED = 1.25
"""A trial beside which the reference took so many times its level was measured on a busy host."""


@dataclass(frozen=True)
class ReferenceLevel:
    """What a call of the reference takes on the host when it is left alone, as far as the trials so far tell.

    `latency_s` is the lower quartile over the trials of the p25 latency beside each trial's first process, None before
    the first; `seen_s` are those latencies, in order of size. All trials count, however late: a host that was
    busy at first does not set the level, it is corrected once a quarter of the trials were quiet.
    """

    latency_s: float | None = None
    seen_s: tuple[float, ...] = ()

    def plus(self, record: TrialRecord) -> ReferenceLevel:
        """The level with one more trial; the same where the trial has no reference beside it."""
        beside_s = reference_beside_s(record)
        if beside_s is None:
            return self
        seen_s = list(self.seen_s)
        insort(seen_s, beside_s)
        quartile_s = seen_s[int(QUARTER * (len(seen_s) - 1))]
        moved = self.latency_s is None or abs(quartile_s / self.latency_s - 1) > STEADY
        return ReferenceLevel(quartile_s if moved else self.latency_s, tuple(seen_s))

    @property
    def slowed(self) -> int:
        """How many trials met a host that was clearly slower than the level."""
        return sum(beside_s > SLOWED * (self.latency_s or beside_s) for beside_s in self.seen_s)


def level_of(records: Iterable[TrialRecord]) -> ReferenceLevel:
    """The level after all of `records`, in their order."""
    level = ReferenceLevel()
    for record in records:
        level = level.plus(record)
    return level


def reference_beside_s(record: TrialRecord) -> float | None:
    """The p25 latency of the reference beside a trial's first process; None where it was measured alone, or not."""
    measured = record.measurement
    if measured is None or not measured.reference_s:
        return None
    return stats.quantile([call for turn in measured.reference_s[0] for call in turn], 0.25)


def quiet_share(records: Iterable[TrialRecord]) -> float | None:
    """The share of the cores that other programs took beside the quietest quarter of the trials; None where unknown."""
    measured = (record.measurement for record in records)
    shares = [one.foreign_share for one in measured if one is not None and one.foreign_share is not None]
    return stats.quantile(shares, QUARTER) if shares else None


def at_level(record: TrialRecord, level: ReferenceLevel) -> TrialRecord:
    """The record with the latency of the reference that its study has, so that all latencies are of one host."""
    measured = record.measurement
    if measured is None or not measured.reference_s or measured.reference_latency_s == level.latency_s:
        return record
    return replace(record, measurement=replace(measured, reference_latency_s=level.latency_s))
