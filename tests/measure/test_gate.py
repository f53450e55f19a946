"""The comparison of a gate: what is equal passes, what is slower fails, and the interval says how sure that is."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.core import stats
from autoopt.core.stats import LogRatio
from autoopt.measure.gate import SESSION_ERROR, slowdown, student_quantile

SIGMA = 0.03
"""What processes of one model differ by, in the logarithm of their latency."""


def measured(generator: np.random.Generator, slower: float = 1.0, processes: int = 3) -> LogRatio:
    """A model of 10 ms beside a probe of 1 ms, on a host that is now fast, now slow, and disturbs single calls."""
    mine, theirs = [], []
    for _ in range(processes):
        process = math.exp(generator.normal(0, SIGMA))
        rounds = [math.exp(generator.normal(0, 0.2)) for _ in range(6)]
        for side, usual, calls in ((mine, 0.010 * slower * process, 4), (theirs, 0.001, 30)):
            side.append([(usual * speed * (1 + generator.exponential(0.05, calls))).tolist() for speed in rounds])
    return stats.paired_ratio(mine, theirs)


SESSIONS = pytest.mark.parametrize("session_error", [0.0, SESSION_ERROR], ids=["one session", "two sessions"])


@SESSIONS
@pytest.mark.parametrize(("gate", "least"), [(1.0, 90), (1.1, 95)])
def test_the_same_model_passes(gate: float, least: int, session_error: float) -> None:
    """Of a hundred comparisons of a model with itself about 95 say nothing against it, also from hour to hour."""
    generator = np.random.default_rng(1)
    failed = 0
    for _ in range(100):
        before = measured(generator)
        now = measured(generator, math.exp(generator.normal(0, session_error)) if session_error else 1.0)
        failed += slowdown(before, now, SIGMA, session_error=session_error).fails(gate)

    assert 100 - failed >= least
    if gate == 1.0:
        assert failed >= 1  # a test that never fails would say nothing


@pytest.mark.parametrize(("slower", "session_error"), [(1.33, 0.0), (1.7, SESSION_ERROR)])
def test_a_slow_runtime_fails(slower: float, session_error: float) -> None:
    """A model that takes a third longer is found, from hour to hour two thirds; most intervals hold the truth."""
    generator = np.random.default_rng(2)
    found = []
    for _ in range(100):
        before = measured(generator)
        now = measured(generator, slower * (math.exp(generator.normal(0, session_error)) if session_error else 1.0))
        found.append(slowdown(before, now, SIGMA, session_error=session_error))

    assert sum(item.fails(1.1) for item in found) >= 97
    assert 85 <= sum(item.low <= slower <= item.high for item in found) <= 99


def test_a_slowdown_within_the_gate_passes() -> None:
    """What is surely slower, but by less than the gate allows, passes; what is far beyond it, but not surely, too."""
    sure = slowdown(LogRatio(0.0, 0.001, (0.0,) * 9), LogRatio(0.05, 0.001, (0.05,) * 9), 0.001, session_error=0.0)
    unsure = slowdown(LogRatio(0.0, 0.5, (0.0, 0.0)), LogRatio(0.5, 0.5, (0.1, 0.9)), SIGMA)

    assert sure.significant and not sure.fails(1.1) and sure.fails(1.04)
    assert unsure.ratio > 1.6 and not unsure.significant and not unsure.fails(1.1)


def test_the_band_is_left_only_by_the_whole_interval() -> None:
    """A latency is outside of a band where all of its interval is."""
    slow = slowdown(LogRatio(0.0, 0.01, (0.0,) * 4), LogRatio(0.5, 0.01, (0.5,) * 4), 0.01)

    assert slow.outside((0.8, 1.25))
    assert not slow.outside((0.8, slow.low))
    assert slow.outside((slow.high * 1.01, 9.0))


def test_a_busy_host_is_not_believed_to_be_quiet() -> None:
    """Processes that differ a lot on a host whose study was quiet make a wide interval, and no slowdown of it."""
    before = LogRatio(0.0, 0.01, (-0.2, 0.0, 0.2))
    now = LogRatio(0.2, 0.01, (0.0, 0.2, 0.4))

    assert not slowdown(before, now, 0.005).significant


def test_a_slowdown_on_a_busy_host_is_less_sure() -> None:
    """What other programs took of the processor, then or now, widens the interval; the ratio stays."""
    before, now = LogRatio(0.0, 0.01, (0.0, 0.0, 0.0)), LogRatio(0.3, 0.01, (0.3, 0.3, 0.3))
    quiet, busy = (slowdown(before, now, 0.01, foreign) for foreign in ((0.0, 0.0), (0.5, 0.6)))

    assert quiet.ratio == busy.ratio
    assert quiet.fails(1.1) and not busy.fails(1.1)


@given(
    values=st.lists(st.floats(-3, 3), min_size=1, max_size=6),
    others=st.lists(st.floats(-3, 3), min_size=1, max_size=6),
    sigma=st.floats(0, 0.2),
)
def test_a_slowdown_turned_round_is_a_speed_up(values: list[float], others: list[float], sigma: float) -> None:
    """Before and now exchanged give the inverse ratio and interval, which always holds the ratio."""
    before, now = (LogRatio(sum(side) / len(side), 0.01, tuple(side)) for side in (values, others))
    one, other = slowdown(before, now, sigma), slowdown(now, before, sigma)

    assert one.ratio == pytest.approx(1 / other.ratio)
    assert one.low == pytest.approx(1 / other.high)
    assert one.low <= one.ratio <= one.high


@pytest.mark.parametrize("degrees", [2, 4, 5, 7.5, 12, 100])
@pytest.mark.parametrize("probability", [0.9, 0.95, 0.975])
def test_students_quantile_is_right(probability: float, degrees: float) -> None:
    """The expansion without scipy agrees with scipy."""
    special = pytest.importorskip("scipy.special")

    assert student_quantile(probability, degrees) == pytest.approx(
        special.stdtrit(degrees, probability), rel=5e-3 if probability < 0.96 else 0.02
    )
