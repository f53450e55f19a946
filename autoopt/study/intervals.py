"""The interval of every number of a trial that can have one; of the others, why there is none.

Each function gives the two ends in SI units, or a sentence. Intervals are two-sided, of 95 %.
"""

from __future__ import annotations

import math

from autoopt.core import stats
from autoopt.core.measurement import Measurement
from autoopt.core.scores import Quality
from autoopt.study import uncertainty

Bounds = tuple[float, float] | str
"""The ends of an interval, or why there is none."""

EXACT = "it is counted, not estimated"
LEAST = "it is the least of what was measured, since a busy host only adds"
LOWER_BOUND = "it is a lower bound"
AS_IT_CAME = "it is as it came, with the drift of the host in it: latency_p25_ms has an interval"
INVERTED = "it is 1000 / latency_p25_ms, whose interval it has turned round"
ITSELF = "it is the trial that others are compared with"
NOT_SAID = "what declares the number says nothing of one"


def latency(measured: Measurement, sigma: float) -> Bounds:
    """Of the p25 latency."""
    return uncertainty.latency_interval(measured, sigma)


def throughput(measured: Measurement, sigma: float) -> Bounds:
    """Of the calls per second under concurrency."""
    if measured.concurrent is None:
        return "it was not measured"
    low, high = uncertainty.latency_interval(measured.concurrent, sigma)
    return 1 / high, 1 / low


def percentile(measured: Measurement, q: float, sigma: float) -> Bounds:
    """Of another percentile of the latency: what the timed calls say of it, and the noise of the p25 latency.

    Too few calls have none: the p99 of twenty is little else than the slowest of them.
    """
    ends = measured.percentile_interval_s(q)
    if ends is None:
        needed, beyond = stats.values_needed(q), measured.calls * (1 - q)
        few = "" if beyond >= 1 else ": it is hardly more than the slowest one"
        return f"{measured.calls} calls were timed, it needs {needed}{few}"
    value = measured.percentile_s(q)
    low, high = uncertainty.latency_interval(measured, sigma)
    noise = math.log(high / low) / 2
    below, above = (math.hypot(math.log(end / value), noise) for end in ends)
    return value * math.exp(-below), value * math.exp(above)


def memory(measured: Measurement) -> Bounds:
    """Of the memory: the least and the most of the processes."""
    peaks = measured.peaks_rss_bytes
    if measured.processes < 2:
        return "one process was measured: what others would hold is not known"
    if len(peaks) < measured.processes:
        return "only the largest process was kept by an earlier version"
    return float(min(peaks)), float(max(peaks))


def quality(scored: Quality, metric: str, confidence: float = stats.CONFIDENCE) -> Bounds:
    """Of a metric over other patients of the same kind: Student's, over the groups, of 95 % by default."""
    if scored.left_out:
        return f"it is estimated from {len(scored.cases)} of {len(scored.cases) + scored.left_out} cases"
    groups = scored.by_group(metric)
    if len(groups) < 2:
        return _too_few(len(groups))
    ends = stats.mean_interval(list(groups.values()), confidence)
    assert ends is not None
    # The mean of pseudo-values is not quite the metric: the interval lies around what is shown.
    moved = scored.values[metric] - sum(groups.values()) / len(groups)
    return ends[0] + moved, ends[1] + moved


def drop(before: Quality, after: Quality) -> Bounds:
    """Of the loss of the primary metric; its one-sided bound is a number of its own."""
    found = uncertainty.drop(before, after)
    if found is None or not math.isfinite(found.low + found.high):
        return _too_few(0 if found is None else found.groups)
    return found.low, found.high


def _too_few(groups: int) -> str:
    if groups == 0:
        return "no values of single patients are known"
    return "one patient says nothing of others"
