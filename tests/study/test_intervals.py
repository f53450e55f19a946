"""Intervals of the numbers of a trial, or why there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autoopt.core.measurement import Measurement
from autoopt.core.scores import CaseScore, Quality
from autoopt.study import intervals
from tests.worlds import measured, scored


def calls_of(count: int, processes: int = 2) -> list[float]:
    return [float(item) for item in np.random.default_rng(0).lognormal(-4, 0.1, count * processes)]


def timed(count: int, processes: int = 2) -> Measurement:
    """A measurement of so many calls in each of its processes."""
    calls = calls_of(count, processes)
    turns = tuple((tuple(calls[place * count : (place + 1) * count]),) for place in range(processes))
    beside = tuple(((0.1,) * count,) for _ in range(processes))
    return replace(measured(0.02, processes=processes), turns_s=turns, reference_s=beside, reference_latency_s=0.1)


@pytest.mark.parametrize(("q", "needed"), [(0.5, 6), (0.95, 72), (0.99, 368)])
def test_a_percentile_needs_enough_calls(q: float, needed: int) -> None:
    """One call too few and the interval is a sentence with both numbers; with enough the percentile lies in it."""
    few = intervals.percentile(timed(needed - 1, processes=1), q, 0.01)
    assert isinstance(few, str) and few.startswith(f"{needed - 1} calls were timed, it needs {needed}")
    enough = timed(needed, processes=1)
    found = intervals.percentile(enough, q, 0.01)
    assert not isinstance(found, str)
    assert found[0] < enough.percentile_s(q) < found[1]


def test_the_p99_of_twenty_calls_is_flagged() -> None:
    """It is little else than the slowest of them, and the sentence says so; a p50 of twenty has an interval."""
    assert intervals.percentile(timed(10), 0.99, 0.01) == (
        "20 calls were timed, it needs 368: it is hardly more than the slowest one"
    )
    assert not isinstance(intervals.percentile(timed(10), 0.5, 0.01), str)


def test_the_noise_of_processes_is_in_every_percentile() -> None:
    """The interval of a percentile is never narrower than that of the p25 latency, however many calls were timed."""
    many = timed(5000)
    for sigma in (0.01, 0.1):
        low, high = intervals.latency(many, sigma)
        ends = intervals.percentile(many, 0.5, sigma)
        assert not isinstance(ends, str) and ends[1] / ends[0] >= high / low


def test_memory_is_the_range_of_the_processes() -> None:
    """Two processes give the least and the most; one, or a record of an earlier version, gives the reason."""
    two = replace(measured(0.02, processes=2), peaks_rss_bytes=(5, 7), peak_rss_bytes=7)
    assert intervals.memory(two) == (5.0, 7.0)
    assert intervals.memory(measured(0.02)) == "one process was measured: what others would hold is not known"
    assert "earlier version" in str(intervals.memory(measured(0.02, processes=2)))


def test_quality_has_an_interval_over_patients() -> None:
    """Student's interval over patients lies around the metric that is shown; one patient, or an estimate, has none."""
    cases = tuple(CaseScore(f"c{i}", f"p{i}", {"dice_macro": value}) for i, value in enumerate((0.8, 0.9, 1.0)))
    quality = Quality("val", "dice_macro", "mean", {"dice_macro": 0.9, "ece": 0.1}, cases)
    ends = intervals.quality(quality, "dice_macro")
    assert ends == pytest.approx((0.9 - 4.3027 * 0.1 / 3**0.5, 0.9 + 4.3027 * 0.1 / 3**0.5), rel=1e-4)
    whole = replace(quality, pseudo={"ece": {"p0": 0.0, "p1": 0.2}})
    low, high = intervals.quality(whole, "ece")
    assert isinstance(low, float) and isinstance(high, float) and (low + high) / 2 == pytest.approx(0.1)
    assert intervals.quality(quality, "ece") == "no values of single patients are known"
    assert intervals.quality(replace(quality, cases=cases[:1]), "dice_macro") == "one patient says nothing of others"
    assert intervals.quality(replace(quality, left_out=9), "dice_macro") == "it is estimated from 3 of 12 cases"


def test_a_drop_of_one_patient_has_none() -> None:
    """A loss over several patients has ends; of a single one it says that it tells nothing of others."""
    before, after = scored(0.9), scored(0.8)
    assert intervals.drop(before, after) == pytest.approx((0.1, 0.1))
    alone = [replace(item, cases=item.cases[:1]) for item in (before, after)]
    assert intervals.drop(alone[0], alone[1]) == "one patient says nothing of others"
