"""The raw samples of one artifact beside those of the reference, and the statistics that follow from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from autoopt.core import stats
from autoopt.core.configuration import Scalar

Calls = tuple[tuple[tuple[float, ...], ...], ...]
"""Wall seconds per call: of fresh processes, of rounds in each, of calls in each round."""


@lru_cache(maxsize=1024)  # copies of one measurement are compared again and again while a study grows
def _paired_ratio(turns_s: Calls, reference_s: Calls, q: float) -> stats.LogRatio:
    return stats.paired_ratio(turns_s, reference_s, q=q)


@dataclass(frozen=True)
class Measurement:
    """Raw samples of one artifact with one setting of one runtime on one host, beside those of the reference.

    `turns_s` and `reference_s` hold the seconds of the calls of the candidate and of the reference, which took turns:
    by process, round and call, alike for both; `reference_s` is empty where the candidate was measured alone.
    `reference_workers` names the process that was the reference of each process; `reference_latency_s` is the p25
    latency of the reference on this host, as far as it was known then (a study gives all its trials the same one).
    `warmups_s` holds what was dropped, `cpu_s` the CPU-seconds per call of each process. The statistics are derived.

    `effective` is what the runtime read back as really run, of the files with the digest `content`, whose arithmetic
    and traffic per call are `cost` where they are known. `energy_j` is the least that the processor used per call in a
    turn, None where it does not tell. `stopped` says why no more was measured; `contended` what else the host did, ""
    when nothing; `doubts` are sentences a reader should see beside the number; `quantile` is the one whose ratio to
    the reference's is taken, chosen by the A/A test of the host. `peaks_rss_bytes` holds the memory of each process,
    whose largest is `peak_rss_bytes`; empty where only that was kept. `foreign_share` is the largest share of the cores
    that other programs took beside a process, None where it cannot be told.

    `concurrent_s` is of processes that answer `concurrent_requests` calls at once, measured only where throughput was
    asked for: the seconds of a turn over its calls, one number per turn, by process; `concurrent_reference_s` are the
    calls of the reference beside them.
    """

    turns_s: Calls
    warmups_s: tuple[tuple[float, ...], ...]
    cpu_s: tuple[float, ...]
    load_s: float
    first_call_s: float
    peak_rss_bytes: int
    artifact_bytes: int
    effective: Mapping[str, Scalar]
    host: str
    doubts: tuple[str, ...] = ()
    reference_s: Calls = ()
    reference_workers: tuple[str, ...] = ()
    reference_latency_s: float | None = None
    content: str = ""
    cost: Mapping[str, int] = field(default_factory=dict)
    energy_j: float | None = None
    stopped: str = ""
    contended: str = ""
    quantile: float = 0.25
    peaks_rss_bytes: tuple[int, ...] = ()
    foreign_share: float | None = None
    concurrent_s: Calls = ()
    concurrent_reference_s: Calls = ()
    concurrent_requests: int = 0

    @cached_property
    def relative(self) -> stats.LogRatio | None:
        """How many times longer than the reference a call takes; None where it was measured alone."""
        return _paired_ratio(self.turns_s, self.reference_s, self.quantile) if self.reference_s else None

    @property
    def latency_p25_s(self) -> float:
        """The estimate: the paired ratio of low percentiles times the p25 of the reference, so that drift cancels.

        Measured alone it is the raw percentile of all calls.
        """
        if not self.reference_s or self.reference_latency_s is None:
            return self.raw_p25_s
        return self._ratio * self.reference_latency_s

    @cached_property
    def _ratio(self) -> float:
        """As `relative.ratio`, without its error, which takes a hundred times longer."""
        return math.exp(float(np.mean(stats.log_ratios(self.turns_s, self.reference_s, q=self.quantile))))

    @cached_property
    def raw_p25_s(self) -> float:
        """The 25th percentile of all calls as they came, robust where call times are bimodal."""
        return self._quantile(0.25)

    @property
    def latency_p50_s(self) -> float:
        """Median seconds per call, corrected for drift as the estimate is."""
        return self.percentile_s(0.50)

    @property
    def latency_p95_s(self) -> float:
        """95th percentile of seconds per call, likewise."""
        return self.percentile_s(0.95)

    @property
    def latency_p99_s(self) -> float:
        """99th percentile of seconds per call, likewise."""
        return self.percentile_s(0.99)

    @property
    def drift(self) -> float:
        """What the raw times are multiplied with, because the host was slower or faster than at the study's begin."""
        return self.latency_p25_s / self.raw_p25_s

    @property
    def throughput_per_s(self) -> float:
        """Calls per second at the p25 latency, one after the other."""
        return 1 / self.latency_p25_s

    @cached_property
    def concurrent(self) -> Measurement | None:
        """The calls that were answered at the same time, as a measurement: its latency is the wall time over the calls.

        None where throughput was not measured.
        """
        if not self.concurrent_s:
            return None
        return replace(
            self, turns_s=self.concurrent_s, reference_s=self.concurrent_reference_s, concurrent_s=(), quantile=0.25
        )

    @property
    def concurrent_per_s(self) -> float | None:
        """Calls per second while `concurrent_requests` run at once; None where throughput was not measured."""
        return None if self.concurrent is None else 1 / self.concurrent.latency_p25_s

    @property
    def cpu_per_call_s(self) -> float:
        """CPU-seconds per call, the least of the worker processes."""
        return min(self.cpu_s)

    @property
    def processes(self) -> int:
        """How many fresh worker processes were measured."""
        return len(self.turns_s)

    @cached_property
    def calls(self) -> int:
        """How many calls were timed."""
        return sum(map(len, self.calls_s))

    def percentile_s(self, q: float) -> float:
        """The `q`-quantile of seconds per call, corrected for drift as the estimate is."""
        return self._quantile(q) * self.drift

    def percentile_interval_s(self, q: float) -> tuple[float, float] | None:
        """What the timed calls alone say of it at 95 %, corrected likewise; None where they are too few."""
        ends = stats.quantile_interval(self._sorted_s, q)
        return None if ends is None else (ends[0] * self.drift, ends[1] * self.drift)

    @property
    def calls_s(self) -> tuple[tuple[float, ...], ...]:
        """The calls of each process, its rounds joined."""
        return tuple(tuple(seconds for turn in process for seconds in turn) for process in self.turns_s)

    @cached_property
    def _sorted_s(self) -> np.ndarray:
        """All calls, the shortest first: many percentiles are asked of one measurement."""
        return np.sort([seconds for calls in self.calls_s for seconds in calls])

    def _quantile(self, q: float) -> float:
        """As `stats.quantile` of all calls."""
        return float(np.interp(q * (self.calls - 1), np.arange(self.calls), self._sorted_s))


def joined(first: Measurement, second: Measurement) -> Measurement:
    """One measurement with the samples of two of the same thing; what is not a sample is the first one's.

    Raises ValueError when they are of different hosts, or only one has a reference.
    """
    if first.host != second.host or bool(first.reference_s) != bool(second.reference_s):
        raise ValueError(
            "measurements can be joined only when they are of one host, both beside a reference or both alone"
        )
    shares = [share for share in (first.foreign_share, second.foreign_share) if share is not None]
    return replace(
        first,
        turns_s=first.turns_s + second.turns_s,
        warmups_s=first.warmups_s + second.warmups_s,
        cpu_s=first.cpu_s + second.cpu_s,
        reference_s=first.reference_s + second.reference_s,
        reference_workers=first.reference_workers + second.reference_workers,
        load_s=min(first.load_s, second.load_s),
        first_call_s=min(first.first_call_s, second.first_call_s),
        peak_rss_bytes=max(first.peak_rss_bytes, second.peak_rss_bytes),
        doubts=tuple(dict.fromkeys(first.doubts + second.doubts)),
        peaks_rss_bytes=first.peaks_rss_bytes + second.peaks_rss_bytes,
        foreign_share=max(shares) if shares else None,
        concurrent_s=first.concurrent_s + second.concurrent_s,
        concurrent_reference_s=first.concurrent_reference_s + second.concurrent_reference_s,
        concurrent_requests=first.concurrent_requests or second.concurrent_requests,
    )


RENAMED = {"residents": "reference_workers", "level_s": "reference_latency_s"}
"""Names of fields before schema 3, and what they are called since."""


def measurement_to_json(measured: Measurement) -> dict[str, Any]:
    """Plain JSON; nothing of throughput where it was not measured, so that records stay what they were."""
    fields = asdict(measured)
    if not measured.concurrent_s:
        fields = {name: value for name, value in fields.items() if not name.startswith("concurrent_")}
    return fields


def measurement_from_json(value: Mapping[str, Any]) -> Measurement:
    """The measurement that `measurement_to_json` wrote, also of earlier versions."""
    fields = {"reference_s": (), **{RENAMED.get(name, name): item for name, item in value.items()}}
    fields.pop("items_per_call", None)  # always 1 before schema 3
    if "calls_s" in fields:  # schema 1
        fields["turns_s"] = [[calls] for calls in fields.pop("calls_s")]
    for name in ("turns_s", "reference_s", "concurrent_s", "concurrent_reference_s"):
        fields[name] = tuple(tuple(tuple(calls) for calls in process) for process in fields.get(name, ()))
    fields["reference_workers"] = tuple(fields.get("reference_workers", ()))
    fields["warmups_s"] = tuple(tuple(calls) for calls in fields["warmups_s"])
    fields["cpu_s"] = tuple(fields["cpu_s"])
    for name in ("doubts", "peaks_rss_bytes"):
        fields[name] = tuple(fields.get(name, ()))
    return Measurement(**fields)
