"""Plots in the cells of a table."""

from __future__ import annotations

import re

import pytest

from autoopt.report.page.small_plots import WIDTH, Scale, change_plot, loss_plot, signed


def test_marks_stay_in_the_plot() -> None:
    """Whatever the values, also all the same or beyond the scale, all is drawn inside."""
    for scale in (Scale(0.0, 1.0), Scale(0.5, 0.5)):
        drawn = change_plot(-1.0, 2.0, scale, worse=True) + loss_plot(2.0, None, scale) + loss_plot(-3.0, 9.0, scale)
        places = [
            float(place)
            for place in re.findall(r'(?:cx|x1|x2)="([^"]+)"|M([\d.]+) ', drawn)
            for place in place
            if place
        ]
        assert places and all(0 <= place <= WIDTH for place in places)


def test_worse_and_better_have_shapes_of_their_own() -> None:
    """What became worse is told by a diamond, not by colour alone."""
    scale = Scale(0.0, 1.0)
    assert "<path" in change_plot(0.9, 0.8, scale, worse=True)
    assert "<path" not in change_plot(0.8, 0.9, scale, worse=False)


@pytest.mark.parametrize(
    ("value", "text"), [(0.00126, "+0.0013"), (-0.5, "\N{MINUS SIGN}0.5000"), (-0.00001, "0.0000"), (0.0, "0.0000")]
)
def test_differences_have_signs(value: float, text: str) -> None:
    """A difference has a sign unless it rounds to nothing."""
    assert signed(value) == text
