"""The verdict of a report."""

from __future__ import annotations

from autoopt.report.page import verdict
from autoopt.report.page.subject import Subject
from tests.report.page.planted import planted_study


def test_the_verdict_names_a_member_of_the_front() -> None:
    """The first sentence names the trial that `autoopt pull --pick balanced` takes."""
    study = planted_study()
    assert any(f"#{record.number}" in verdict.render(Subject(study)) for record in study.front)


def test_without_a_front_the_verdict_says_why() -> None:
    """Where no trial keeps the limits, the verdict says which limit none keeps."""
    assert "latency" in verdict.render(Subject(planted_study(limits={"latency_s": 1e-6})))
