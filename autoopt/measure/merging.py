"""One Measurement from all processes of a trial, with what a reader should doubt about it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoopt.core import stats
from autoopt.core.configuration import Scalar
from autoopt.core.host import Host
from autoopt.core.measurement import Measurement
from autoopt.measure.host_load import Load
from autoopt.measure.subject import Subject
from autoopt.measure.timing import Turn

BUSY_CPU_SHARE = 0.85
"""A call that computes uses at least its wall time in CPU time; below this share it was kept waiting."""
WIDE_SPREAD = 0.25
"""Interquartile range over median beyond which single numbers mean little."""
PROCESSES_DIFFER = 0.10
"""The p25 latencies of two processes that differ by more are worth a doubt."""
FEW_CALLS = 6
"""A process that timed fewer calls says so."""
TAKEN_AWAY = 0.10
"""A share of the cores that is worth a doubt when others take it."""
_CHECKED = ("precision", "threads", "streams")


@dataclass(frozen=True)
class Taken:
    """What one process gave, as plain data.

    `opened` is the answer to "open"; `others` are the turns of the process `reference_worker` beside it; `contended`
    says why the host was busy, "" where it was not; `load` is what else the target did; `joules` is per call, by turn.
    """

    opened: Mapping[str, Any]
    turns: Sequence[Turn]
    others: Sequence[Turn] = ()
    reference_worker: str = ""
    contended: str = ""
    load: Load | None = None
    joules: tuple[float, ...] = ()

    @property
    def calls_s(self) -> list[float]:
        """All calls of its turns."""
        return [seconds for turn in self.turns for seconds in turn.calls_s]


def merge(
    taken: Sequence[Taken],
    effective: Mapping[str, Scalar],
    subject: Subject,
    host: Host,
    reference_latency_s: float | None = None,
) -> Measurement:
    """One Measurement from what the worker processes gave; `effective` are the settings that ran in the first of them.

    Of the seconds to load and of the first call the least counts (a busy host only adds), of the memory the most.
    """
    doubts = _said_once([doubt for item in taken for doubt in _doubts(item)])
    loads = [item.load for item in taken if item.load is not None]
    shares = [load.foreign_share for load in loads if load.foreign_share is not None]
    doubts += _unlike(subject.runtime, effective) + _apart([item.calls_s for item in taken])
    return Measurement(
        turns_s=tuple(tuple(turn.calls_s for turn in item.turns) for item in taken),
        warmups_s=tuple(
            (*item.opened["warmups_s"], *(seconds for turn in item.turns for seconds in turn.dropped_s))
            for item in taken
        ),
        cpu_s=tuple(sum(turn.cpu_s for turn in item.turns) / len(item.calls_s) for item in taken),
        load_s=min(item.opened["load_s"] for item in taken),
        first_call_s=min(item.opened["first_call_s"] for item in taken),
        peak_rss_bytes=max(item.opened["peak_rss_bytes"] for item in taken),
        artifact_bytes=subject.artifact.size_bytes,
        effective=dict(effective),
        host=host.fingerprint,
        doubts=tuple(doubts),
        reference_s=tuple(tuple(turn.calls_s for turn in item.others) for item in taken) if taken[0].others else (),
        reference_workers=tuple(item.reference_worker for item in taken) if taken[0].others else (),
        reference_latency_s=reference_latency_s,
        content=subject.artifact.content,
        cost=dict(subject.artifact.report.get("cost") or {}),
        energy_j=min((joules for item in taken for joules in item.joules), default=None),
        contended="; ".join(dict.fromkeys(item.contended for item in taken if item.contended)),
        peaks_rss_bytes=tuple(item.opened["peak_rss_bytes"] for item in taken),
        foreign_share=max(shares) if shares else None,
    )


def _said_once(doubts: Sequence[str]) -> list[str]:
    """The doubts without those that differ from an earlier one in their numbers only."""
    first: dict[str, str] = {}
    for doubt in doubts:
        first.setdefault(re.sub(r"\d+", "0", doubt), doubt)
    return list(first.values())


def _doubts(item: Taken) -> list[str]:
    calls_s, doubts = item.calls_s, []
    if not item.opened["steady"]:
        doubts.append("the calls did not become steady in the warm-up")
    if len(calls_s) < FEW_CALLS:
        doubts.append(f"only {len(calls_s)} calls were timed in a process, {FEW_CALLS} are wanted")
    share = sum(turn.cpu_s for turn in item.turns) / sum(calls_s) if sum(calls_s) > 0 else 1.0
    if share < BUSY_CPU_SHARE:
        doubts.append(f"the calls computed for only {share:.0%} of their wall time: the host was busy")
    spread = stats.relative_spread(calls_s)
    if spread > WIDE_SPREAD:
        doubts.append(f"the call times spread widely: their interquartile range is {spread:.0%} of the median")
    if item.contended:
        doubts.append(item.contended)
    return doubts if item.load is None else doubts + _disturbances(item.load, item.contended)


def _disturbances(load: Load, contended: str) -> list[str]:
    """A sentence for each thing that took the cores away or slowed them, unless `contended` says it already."""
    shares = ((load.foreign_share, "other programs"), (load.steal_share, "other guests of the hypervisor"))
    found = [
        f"{words} took {share:.0%} of the cores"
        for share, words in shares
        if share is not None and share > TAKEN_AWAY and words not in contended
    ]
    return [*found, "the processor was slowed down because it was hot"] if (load.throttles or 0) > 0 else found


def _unlike(asked: Mapping[str, Scalar], effective: Mapping[str, Scalar]) -> list[str]:
    """A sentence for every setting that the runtime did not take as asked."""
    return [
        f"{name} {asked[name]} was asked for, {effective[name]} is what ran"
        for name in _CHECKED
        if name in asked and name in effective and asked[name] != effective[name]
    ]


def _apart(calls_s: Sequence[Sequence[float]]) -> list[str]:
    quartiles = [stats.quantile(calls, 0.25) for calls in calls_s]
    ratio = max(quartiles) / min(quartiles) - 1 if min(quartiles) > 0 else 0.0
    return [f"the worker processes differ by {ratio:.0%} in latency"] if ratio > PROCESSES_DIFFER else []
