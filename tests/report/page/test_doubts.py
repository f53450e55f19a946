"""The doubts of a report."""

from __future__ import annotations

from dataclasses import replace

from autoopt.report.page import doubts
from autoopt.report.page.doubts import MOST_LINKS, doubts_of
from autoopt.report.page.html import text_of
from autoopt.report.page.subject import Subject
from autoopt.study.result import StudyResult
from tests.report.page.planted import planted_study


def doubted(trials: int = 24) -> StudyResult:
    """The planted study, in which others took cores beside every trial from the tenth on."""
    planted = planted_study(trials)
    records = [
        replace(
            record, measurement=replace(record.measurement, doubts=(f"other programs took {record.number}% of it",))
        )
        if record.measurement is not None and record.number >= 10
        else record
        for record in planted.records
    ]
    return replace(planted, records=tuple(records))


def test_doubts_that_differ_in_numbers_are_one() -> None:
    """Doubts of one kind are one line with all its trials, that of most trials first; notes are told too."""
    found = doubts_of(doubted())
    assert [doubt.trials for doubt in found] == [tuple(range(10, 24)), (4,)]
    assert found[0].text == "other programs took 10% of it" and found[1].text == "noisy: the host was busy"


def test_many_trials_are_counted() -> None:
    """A doubt of many trials names some of them and counts the rest."""
    shown = text_of(doubts.render(Subject(doubted(40))))
    assert f"and {30 - MOST_LINKS} more" in shown


def test_the_noise_floor_says_where_it_comes_from() -> None:
    """The noise is told in percent, with what it is known from."""
    measured = text_of(doubts.render(Subject(planted_study(calibration={"sigma": 0.021}))))
    assert "varies by 2.1 %" in measured and "from the A/A test of the host" in measured
    assert "assumed" in text_of(doubts.render(Subject(planted_study())))
