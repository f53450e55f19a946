"""Statistics: agreement with their definitions, and a refusal where there is nothing to summarise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt import stats

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
