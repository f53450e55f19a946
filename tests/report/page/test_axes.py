"""Axes and their ticks."""

from __future__ import annotations

import math

import pytest

from autoopt.report.page.axes import LEAST_TICKS, MOST_TICKS, Axis, axis


@pytest.mark.parametrize(("low", "high"), [(1, 1.2), (3, 110), (0.004, 900), (9.5, 10.5), (1, 10)])
@pytest.mark.parametrize("log", [False, True])
def test_an_axis_has_a_few_round_ticks(low: float, high: float, log: bool) -> None:
    """Whatever it spans, an axis has from 3 to 8 ticks, all on it, which read differently."""
    made = Axis(low, high, 0, 100, log)
    found = made.ticks()
    assert LEAST_TICKS <= len(found) <= MOST_TICKS and all(map(made.holds, found))
    texts = [made.text(value) for value in found]
    assert len(set(texts)) == len(texts)
    assert all(math.isclose(float(text), value, rel_tol=1e-6) for text, value in zip(texts, found, strict=True))


def test_ratios_are_distances_on_a_logarithmic_axis() -> None:
    """Twice as much is as far everywhere, and the ends are where they were put."""
    made = Axis(1, 16, 400, 0, log=True)
    assert [made.at(value) for value in (1, 2, 4, 16)] == [400, 300, 200, 0]


def test_an_axis_holds_all_values_also_one() -> None:
    """The values are inside of the axis with a margin, also where all are the same."""
    for values in ([3.0], [0.0], [1.0, 5.0]):
        made = axis(values, 0, 10)
        assert made.low < min(values) and made.high > max(values) and 0 < made.at(values[0]) < 10
