"""Statistics: agreement with their definitions, and a refusal where there is nothing to summarise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoopt.core import stats

VALUES = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=30)


@given(VALUES, st.floats(0, 1), st.floats(0, 1))
def test_quantiles_are_ordered_and_scale(values: list[float], a: float, b: float) -> None:
    """A quantile lies between the extremes, grows with q, and takes the unit of the values."""
    low, high = sorted((a, b))
    assert (
        min(values)
        <= stats.quantile(values, low)
        <= stats.quantile(values, high) * (1 + 1e-12)
        <= max(values) * (1 + 1e-9)
    )
    assert stats.quantile(np.array(values) * 1000, a) == pytest.approx(1000 * stats.quantile(values, a))


def test_quantile_interpolates() -> None:
    """The quartile of five values is one of them, of four it lies between two."""
    assert stats.quantile([5, 1, 2, 4, 3], 0.25) == 2
    assert stats.quantile([1, 2, 3, 4], 0.25) == 1.75


def test_every_group_counts_the_same() -> None:
    """A patient with many cases weighs as much as one with a single case; undefined values do not enter."""
    assert stats.mean_over_groups([1, 1, 1, 0], ["a", "a", "a", "b"]) == 0.5
    assert stats.mean_over_groups([1, None, 0, None], ["a", "a", "b", "c"]) == 0.5


@given(st.lists(st.tuples(st.none() | st.floats(0, 1), st.sampled_from("abc")), min_size=1, max_size=12))
def test_order_of_cases_does_not_matter(pairs: list[tuple[float | None, str]]) -> None:
    """The aggregate depends on the cases, not on their order, and lies between the extremes."""
    values, groups = [value for value, _ in pairs], [group for _, group in pairs]
    defined = [value for value in values if value is not None]
    if not defined:
        with pytest.raises(ValueError, match="at least one defined value"):
            stats.mean_over_groups(values, groups)
        return
    result = stats.mean_over_groups(values, groups)
    assert result == pytest.approx(stats.mean_over_groups(values[::-1], groups[::-1]))
    assert min(defined) - 1e-12 <= result <= max(defined) + 1e-12


def test_spread_is_robust_and_without_unit() -> None:
    """One outlier of many does not move the spread, a change of unit neither."""
    calm = [1.0, 1.1, 0.9, 1.0, 1.05, 0.95, 1.0, 1.0, 1.0]
    assert stats.relative_spread([*calm, 100.0]) < 0.2
    assert stats.relative_spread(np.array(calm) * 1e3) == pytest.approx(stats.relative_spread(calm))
    assert stats.relative_spread([0.0, 0.0]) == 0


def test_nothing_to_summarise() -> None:
    """No values at all is an error in words, never NaN."""
    with pytest.raises(ValueError, match="a quantile needs at least one value"):
        stats.quantile([], 0.5)
    with pytest.raises(ValueError, match="a spread needs at least one value"):
        stats.relative_spread([])
    with pytest.raises(ValueError, match="shorter"):
        stats.mean_over_groups([1.0, 2.0], ["a"])


ROUNDS = st.lists(st.lists(st.floats(1e-4, 1.0), min_size=1, max_size=8), min_size=1, max_size=6)


@given(ROUNDS, st.floats(0.1, 10))
def test_a_ratio_of_scaled_calls_is_the_scale(rounds: list[list[float]], scale: float) -> None:
    """Calls that take `scale` times as long in every round have that ratio, without any error."""
    scaled = [[scale * call for call in turn] for turn in rounds]
    found = stats.paired_ratio([scaled, scaled], [rounds, rounds])
    assert found.ratio == pytest.approx(scale)
    assert found.error == pytest.approx(0.0, abs=1e-9)
    assert found.processes == 2


@given(ROUNDS, ROUNDS)
def test_a_ratio_is_that_of_the_quartiles(rounds: list[list[float]], others: list[list[float]]) -> None:
    """In one process the estimate is the ratio of the quartiles of all calls; swapped sides give the inverse."""
    size = min(len(rounds), len(others))
    rounds, others = rounds[:size], others[:size]
    found, swapped = stats.paired_ratio([rounds], [others]), stats.paired_ratio([others], [rounds])
    expected = np.quantile(np.concatenate(rounds), 0.25) / np.quantile(np.concatenate(others), 0.25)
    assert found.ratio == pytest.approx(expected)
    assert found.value == pytest.approx(-swapped.value)
    low, high = found.interval()
    assert low <= found.ratio * (1 + 1e-9) and found.ratio <= high * (1 + 1e-9)


def test_noise_between_processes_widens_an_interval() -> None:
    """What processes usually differ by is added in quadrature; what those at hand differ by counts beside it."""
    alone = stats.LogRatio(0.0, 0.003, (0.0,)).with_process_noise(0.004)
    assert alone.error == pytest.approx(0.005)
    alike = stats.LogRatio(0.0, 0.003, (0.0,) * 4).with_process_noise(0.004).error
    apart = stats.LogRatio(0.0, 0.003, (-0.1, 0.1, -0.1, 0.1)).with_process_noise(0.004).error
    assert alike < 0.005 < apart
    assert stats.LogRatio(0.0, 0.01).interval()[1] == pytest.approx(np.exp(0.0196), rel=1e-3)


def test_process_noise_is_beyond_that_of_the_rounds() -> None:
    """Processes that differ by 5 % have that noise; those that differ as their rounds do have next to none."""
    rng = np.random.default_rng(0)
    others = [[[1.0] * 5] * 6] * 60
    factors = np.exp(0.05 * rng.normal(size=60))
    apart = [[[factor * float(np.exp(0.01 * rng.normal())) for _ in range(5)] for _ in range(6)] for factor in factors]
    alike = [[[float(np.exp(0.05 * rng.normal())) for _ in range(5)] for _ in range(6)] for _ in range(60)]
    assert stats.process_noise(apart, others) == pytest.approx(0.05, rel=0.25)
    assert stats.process_noise(alike, others) < 0.015
    with pytest.raises(ValueError, match="needs two"):
        stats.process_noise(apart[:1], others[:1])


@pytest.mark.parametrize("groups", [4, 8, 20])
def test_a_planted_loss_is_seldom_let_through(groups: int) -> None:
    """Of 400 trials that lose 0.02 with a margin of 0.01, fewer than 5 % pass; without a loss 95 % are ties."""
    rng = np.random.default_rng(groups)
    passed = tied = 0
    for _ in range(400):
        differences = 0.01 * rng.standard_t(5, size=groups)
        passed += stats.paired_drop(0.02 + differences, np.zeros(groups), resamples=400).upper <= 0.01
        tied += stats.paired_drop(differences, np.zeros(groups), resamples=400).tied
    assert passed / 400 < 0.05
    assert tied / 400 >= 0.93  # 0.95 within what 400 repetitions can tell


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=12), st.floats(-1, 1))
def test_bounds_enclose_the_mean_and_shift_with_it(differences: list[float], shift: float) -> None:
    """The interval holds the mean, the upper bound is not below it, and a constant loss moves all of them by itself."""
    zeros = np.zeros(len(differences))
    drop = stats.paired_drop(differences, zeros)
    assert drop.low <= drop.value + 1e-12 and drop.value <= drop.high + 1e-12 and drop.value <= drop.upper + 1e-12
    moved = stats.paired_drop(np.array(differences) + shift, zeros)
    assert moved.value == pytest.approx(drop.value + shift, abs=1e-9)
    if np.any(differences) and np.any(np.array(differences) + shift):
        assert moved.upper == pytest.approx(drop.upper + shift, abs=1e-6)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=60), st.lists(st.floats(0, 1), min_size=1, max_size=4))
def test_quantiles_are_those_of_numpy(values: list[float], shares: list[float]) -> None:
    """Taken without sorting all of a list, quantiles are the same, at its ends and of a single value too."""
    found = stats._quantiles(np.array(values), shares)
    assert found == pytest.approx(np.quantile(values, shares), rel=1e-9, abs=1e-9)


def test_nothing_lost_is_no_drop() -> None:
    """Equal values are tied with a bound of zero, whatever their number; no values are an error."""
    assert stats.paired_drop([0.5], [0.5]) == stats.Drop(0.0, 0.0, 0.0, 0.0, 1)
    with pytest.raises(ValueError, match="one number per group"):
        stats.paired_drop([], [])
    with pytest.raises(ValueError, match="needs processes"):
        stats.paired_ratio([], [])


def test_far_apart() -> None:
    """Ratios are far apart when they differ by a quarter and by several of their errors, processes' noise included."""
    one, other, close = (stats.LogRatio(math.log(ratio), 0.01, (math.log(ratio),)) for ratio in (1.0, 1.3, 1.2))
    assert stats.far_apart(one, other, 0.02)
    assert not stats.far_apart(one, close, 0.02)
    assert not stats.far_apart(one, other, 0.2)
