"""How sure a study may be: drops with bounds, latencies with their noise, ties, probabilities to be on the front.

Pure functions of records. `sigma` is the standard deviation of log latency between processes that run the same thing,
as the A/A test of the host gives it (`process_sigma`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np

from autoopt.core import pareto, stats
from autoopt.core.measurement import Measurement
from autoopt.core.records import TrialRecord
from autoopt.core.scores import Quality

DEFAULT_SIGMA = 0.03
"""Assumed until a host has had its A/A test: fresh processes of one model differ by a few percent."""
LEAST_SIGMA = 0.005
"""No host is taken to be quieter: an A/A test of a few processes may see no difference by luck."""
LEAST_PROCESSES = 4
"""Fewer processes say too little of how they differ."""
SURE = 0.99
"""The confidence that ends a measurement early: at most one in a hundred may be wrong."""
NEAR = 0.10
"""A difference in speed that is surely smaller (95 %) is left to the comparison head to head at the end."""
DRAWS = 400


def drop(before: Quality, after: Quality) -> stats.Drop | None:
    """What the primary metric lost from `before` to `after`, paired by group; None without values by group.

    Of a metric of which less is better it is what was gained.

    Where there is a single group, its cases are paired instead: their interval says nothing of other patients. Of an
    `after` that left cases out, only those that both have count.
    """
    before = before.among(after.cases) if after.left_out else before
    first, second = before.worth_by_group(), after.worth_by_group()
    common = [group for group in first if group in second]
    if len(common) == 1 and first.keys() == second.keys():
        first, second = _by_case(before), _by_case(after)
        common = [case for case in first if case in second]
    if not common:
        return None
    return _paired_drop(tuple(first[name] for name in common), tuple(second[name] for name in common))


@lru_cache(maxsize=4096)  # the same trials are compared again and again while a study grows
def _paired_drop(before: tuple[float, ...], after: tuple[float, ...]) -> stats.Drop:
    return stats.paired_drop(before, after)


def slower(a: Measurement, b: Measurement, sigma: float) -> stats.LogRatio:
    """The latency of `a` over that of `b`, in logarithms, with all its noise."""
    noise = [_own_error(item, sigma) ** 2 for item in (a, b)]
    if a.reference_workers and b.reference_workers and set(a.reference_workers).isdisjoint(b.reference_workers):
        # Each was compared with another process of the reference, which has its own luck.
        noise += [sigma**2 / len(set(item.reference_workers)) for item in (a, b)]
    if a.relative is not None and b.relative is not None:
        return stats.LogRatio(a.relative.value - b.relative.value, math.sqrt(sum(noise)))
    return stats.LogRatio(math.log(a.latency_p25_s / b.latency_p25_s), math.sqrt(sum(noise)))


def latency_interval(measured: Measurement, sigma: float, confidence: float = stats.CONFIDENCE) -> tuple[float, float]:
    """The two-sided interval of the p25 latency in seconds, of 95 % by default."""
    estimate = stats.LogRatio(math.log(measured.latency_p25_s), _own_error(measured, sigma))
    return estimate.interval(confidence)


def process_sigma(record: TrialRecord | None) -> float | None:
    """What processes of the same thing differ by, from the reference's own trial; None where it had too few."""
    if record is None or record.measurement is None:
        return None
    measured = record.measurement
    if measured.processes < LEAST_PROCESSES or not measured.reference_s:
        return None
    return max(LEAST_SIGMA, stats.process_noise(measured.turns_s, measured.reference_s, q=measured.quantile))


def same_speed(a: Measurement, b: Measurement, sigma: float) -> bool:
    """Whether the noise explains the difference of two latencies (at 95 %)."""
    low, high = slower(a, b, sigma).interval()
    return low <= 1.0 <= high


def same_quality(a: Quality, b: Quality) -> bool:
    """Whether the cases do not tell the two apart."""
    difference = drop(a, b)
    return difference.tied if difference is not None else a.value == b.value


def tied(a: TrialRecord, b: TrialRecord, sigma: float) -> bool:
    """Whether neither latency nor quality tells two trials apart."""
    assert a.measurement and b.measurement and a.quality and b.quality
    return same_speed(a.measurement, b.measurement, sigma) and same_quality(a.quality, b.quality)


def tie_groups(records: Sequence[TrialRecord], sigma: float) -> dict[int, int]:
    """The number of the fastest trial that each of `records` (fastest first) is tied with, itself where none."""
    leaders: dict[int, TrialRecord] = {}
    found: dict[int, int] = {}
    for record in records:
        leader = next((item for item in leaders.values() if tied(item, record, sigma)), record)
        leaders.setdefault(leader.number, leader)
        found[record.number] = leader.number
    return found


def front_probabilities(
    records: Sequence[TrialRecord],
    sigma: float,
    points: np.ndarray,
    columns: Mapping[str, int],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> np.ndarray:
    """The share of `draws` in which each record is on the front, when latencies and qualities vary by their noise.

    `points` are the objectives of the records (records, objectives), to be minimised, latency as it is; `columns` says
    which of them are "latency", "throughput" and "quality". Times vary log-normally; qualities by one bootstrap
    over the groups for all records, so that what a hard patient does to all of them cancels.
    """
    drawn = drawn_points(records, sigma, points, columns, draws=draws, seed=seed)
    near = ~_always_behind(drawn, np.flatnonzero(pareto.front(points)))
    shares = np.zeros(len(records))
    shares[near] = np.mean([pareto.front(draw) for draw in drawn[:, near]], axis=0)
    return shares


def _always_behind(drawn: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Which records one and the same of `members` beats in every objective of every draw: (records,).

    They are on no front and keep nothing off it, since what they dominate the member dominates too.
    """
    behind = np.zeros(drawn.shape[1], dtype=bool)
    for member in members:
        rest = np.flatnonzero(~behind)
        behind[rest] = np.all(drawn[:, rest] > drawn[:, [member]], axis=(0, 2))
    return behind


def drawn_points(
    records: Sequence[TrialRecord],
    sigma: float,
    points: np.ndarray,
    columns: Mapping[str, int],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> np.ndarray:
    """The objectives of the records as they might as well have been measured: (draws, records, objectives).

    The arguments are those of `front_probabilities`.
    """
    rng = np.random.default_rng(seed)
    drawn = np.repeat(points[None], draws, axis=0)
    if "latency" in columns:
        errors = np.array([_own_error(record.measured, sigma) for record in records])
        drawn[:, :, columns["latency"]] *= np.exp(rng.normal(size=(draws, len(records))) * errors)
    if "throughput" in columns:
        errors = np.array([_own_error(record.measured.concurrent or record.measured, sigma) for record in records])
        drawn[:, :, columns["throughput"]] *= np.exp(rng.normal(size=(draws, len(records))) * errors)
    if "quality" in columns:
        drawn[:, :, columns["quality"]] -= _quality_noise(records, draws, rng)
    return drawn


def verdict(
    record: TrialRecord,
    members: Sequence[TrialRecord],
    sigma: float,
    *,
    broken: Sequence[str] = (),
    worse: Callable[[TrialRecord, TrialRecord], bool] = lambda a, b: True,
) -> str:
    """Why enough of `record` was measured, or nothing: it breaks a limit, is behind the front, level with it or clear.

    `members` are the front, `broken` the limits that it surely exceeds, `worse` whether a record is no better than a
    member in the objectives besides latency and quality.
    """
    if broken:
        return f"it breaks the limit of {', '.join(broken)}"
    measured = record.measured
    assert record.quality is not None
    for member in members:
        if not worse(record, member):
            continue
        if _surely_slower(measured, member.measured, sigma) and _surely_no_better(record, member):
            return f"it is dominated by #{member.number}"
        difference = slower(measured, member.measured, sigma)
        assert member.quality is not None
        if difference.value > stats.FAR * difference.error and record.quality.worth <= member.quality.worth:
            return f"it is far behind #{member.number}"
    if not members:
        return "there is nothing to tell it from yet"
    if measured.processes < 2:
        return ""
    for member in members:
        low, high = slower(measured, member.measured, sigma).interval()
        if 1 / (1 + NEAR) < low <= 1.0 <= high < 1 + NEAR:
            return f"it is as fast as #{member.number}"
    told = not any(same_speed(measured, member.measured, sigma) for member in members)
    return "it is told from the front" if told else ""


def _surely_slower(a: Measurement, b: Measurement, sigma: float) -> bool:
    difference = slower(a, b, sigma)
    return difference.value > stats.normal_quantile(SURE) * difference.error


def _surely_no_better(a: TrialRecord, b: TrialRecord) -> bool:
    assert a.quality is not None and b.quality is not None
    difference = drop(b.quality, a.quality)
    if difference is None:
        return a.quality.worth <= b.quality.worth
    return difference.low >= 0


def _own_error(measured: Measurement, sigma: float) -> float:
    relative = measured.relative
    if relative is None:  # alone, nothing cancels: what processes differ by is all there is to go by
        return max(sigma, DEFAULT_SIGMA) / math.sqrt(measured.processes)
    return relative.with_process_noise(sigma).error


def _quality_noise(records: Sequence[TrialRecord], draws: int, rng: np.random.Generator) -> np.ndarray:
    """How far the worth of each record is from its value in each draw: (draws, records)."""
    tables = [record.quality.worth_by_group() if record.quality is not None else {} for record in records]
    groups = list(dict.fromkeys(group for table in tables for group in table))
    if not groups:
        return np.zeros((draws, len(records)))
    values = np.array([[table.get(group, np.nan) for group in groups] for table in tables])
    means = np.nanmean(values, axis=1, keepdims=True) if values.size else values
    deviations = np.where(np.isnan(values), 0.0, values - np.where(np.isnan(means), 0.0, means))
    weights = rng.multinomial(len(groups), [1 / len(groups)] * len(groups), size=draws) / len(groups)
    return np.asarray(weights @ deviations.T)


def _by_case(quality: Quality) -> dict[str, float]:
    scores = {case.id: case.scores.get(quality.primary) for case in quality.cases}
    return {case: quality.sign() * value for case, value in scores.items() if value is not None}
