"""Labels and subgroups in a report."""

from __future__ import annotations

from autoopt.report.page import subgroups
from autoopt.report.page.html import text_of
from autoopt.report.page.subject import Subject
from tests.report.page.planted import planted_study


def test_subgroups_are_shown_with_their_limits() -> None:
    """Every subgroup has its patients, loss and bound, and the guard of the study is named."""
    shown = subgroups.render(Subject(planted_study(limits={"drop": 0.03, "subgroup:site": 0.03})))
    text = text_of(shown)
    assert "The study demands: subgroup:site <= 0.03." in text
    assert text.count("site: a") == 3 and text.count("all patients") == 3
    assert "+0.0600" in text and "+0.0634" in text  # of the fastest on test, whose mean loss was planted
