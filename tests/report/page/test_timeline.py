"""The timeline of a study."""

from __future__ import annotations

from dataclasses import replace

from autoopt.report.page import timeline
from autoopt.report.page.html import text_of
from autoopt.report.page.subject import Subject
from autoopt.report.page.timeline import course, duration
from tests.report.page.planted import planted_study


def test_time_without_a_search_is_cut_out() -> None:
    """A night between two trials is a pause, and the next trial begins where the one before ended."""
    study = planted_study()
    records = [
        replace(record, started_at=record.started_at.replace("-01T", "-02T")) if record.number >= 12 else record
        for record in study.records
    ]
    found = course(records)
    (at_s, pause_s), *others = found.pauses
    assert not others and 23 * 3600 < pause_s < 24 * 3600
    assert found.spans[12].start_s == at_s == found.spans[11].end_s
    assert "paused once" in text_of(timeline.render(Subject(replace(study, records=tuple(records)))))


def test_every_trial_has_its_bars() -> None:
    """A trial has a bar for each kind of work, a mark where it made nothing, a cross where it failed."""
    study = planted_study()
    shown = timeline.render(Subject(study))
    reused = sum(record.seconds.get("make", 0) < 1 for record in study.records)
    assert shown.count('class="reused"') == reused and f"{reused} of them made nothing new" in shown
    assert shown.count('class="k-measure"') == len(study.records) and shown.count('class="broke"') == 1
    assert "#007" in shown and 'href="#t7"' in shown


def test_the_best_so_far_keeps_the_limits() -> None:
    """The line of the best latency ends at the fastest trial that may be deployed, not at one that breaks a limit."""
    study = planted_study(12, limits={"drop": 0.001})
    shown = timeline.render(Subject(study))
    best = shown.split('class="best"')[0].rpartition("M")[2].split('"')[0]
    ends = [float(place.split()[1]) for place in best.split("L")]
    loose = timeline.render(Subject(planted_study(12))).split('class="best"')[0].rpartition("M")[2].split('"')[0]
    assert ends == sorted(ends) and ends[-1] < float(loose.rpartition(" ")[2])


def test_a_study_without_times_has_no_timeline() -> None:
    """Records that do not say when they began are not drawn."""
    study = planted_study()
    timeless = tuple(replace(record, started_at="") for record in study.records)
    assert not timeline.render(Subject(replace(study, records=timeless)))


def test_durations_are_read_at_a_glance() -> None:
    """Durations have three digits and the largest unit that suits."""
    assert [duration(seconds) for seconds in (3.25, 300, 5400 * 2)] == ["3.25 seconds", "5 minutes", "3 hours"]
