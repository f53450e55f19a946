"""The front as a table."""

from __future__ import annotations

from autoopt.report.page import front_table, limit_sliders, picks, trials_table
from autoopt.report.page.html import text_of
from autoopt.report.page.subject import Subject
from tests.report.page.planted import planted_study


def test_every_objective_is_shown() -> None:
    """What a trial is on the front for is told wherever one is chosen: cards, sliders, front, all trials."""
    subject = Subject(planted_study(12, objectives=("latency", "quality", "memory")))
    for section in (front_table, trials_table):
        assert "peak MB</th>" in section.render(subject)
    assert "<dt>peak MB</dt><dd>152<small>150-152</small></dd>" in picks.render(subject)
    assert ", peak MB 152 (150-152)" in limit_sliders.render(subject)


def test_notes_are_of_columns_that_are_there() -> None:
    """What the page has no column for is not explained: the fastest float trial, the peak of memory."""
    text = text_of(front_table.render(Subject(planted_study(12))))
    assert "Below a number its 95 % interval" in text and "x float" not in text and "peak" not in text
    memory = Subject(planted_study(12, objectives=("latency", "quality", "memory")))
    assert "below the peak of memory" in text_of(front_table.render(memory))


def test_the_table_is_narrow_and_says_what_a_row_must_say() -> None:
    """At most 8 columns; ties and what did not hold on test stand in the row, references with their role below."""
    study = planted_study(12)
    front, beside = front_table.render(Subject(study)).split("</table>")[:2]
    assert front.count('<th scope="col"') <= 8
    rows = front.split("<tr")[2:]
    assert len(rows) == len(study.front)
    words = {record.number: text_of(row) for record, row in zip(study.front, rows, strict=True)}  # type: ignore[arg-type]
    assert "not told apart from #2" in words[3] and "lost more on test than allowed" in words[5]
    assert "(reference)" in beside and "(control)" in beside
