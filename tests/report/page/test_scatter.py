"""Latency against quality, as a figure."""

from __future__ import annotations

import re
from dataclasses import replace

from autoopt.report.page import scatter
from autoopt.report.page.subject import Subject
from autoopt.study.result import StudyResult
from tests.report.page.planted import planted_study, trial


def drawn(study: StudyResult) -> str:
    return str(scatter.render(Subject(study)))


def points(made: str) -> dict[int, str]:
    """The class of each point, by the number of its trial."""
    return {int(number): kind for number, kind in re.findall(r'href="#t(\d+)" data-n="\d+" class="point (\w+)"', made)}


def test_every_trial_on_the_axes_is_a_point_that_tells_what_it_is() -> None:
    """All that were measured are drawn, by status; those far outside are counted, failed ones have no place."""
    study = planted_study(40)
    made = drawn(study)
    found = points(made)
    members = {record.number for record in study.front}
    assert {number for number, kind in found.items() if kind == "member"} == members
    assert 7 not in found and 6 not in found and "1 trial that broke a limit, down to 0.8" in made
    assert all(number in found for number in (record.number for record in study.complete))


def test_ties_limits_references_and_the_floor_are_shown() -> None:
    """Bands join ties, both limits are named lines, references have rings, and one layer is a line."""
    made = drawn(planted_study(12, limits={"drop": 0.03, "latency_bound_s": 0.06}))
    assert made.count('class="tie"') == 1 and "drop limit 0.03" in made and "latency limit 60 ms" in made
    assert made.count('class="ring"') == 3 and "one layer (#8)" in made  # two references and the legend
    bars = re.findall(r'class="bar" data-n="(\d+)"', made)
    assert bars.count("4") == 2 and bars.count("0") == 1


def test_names_of_trials_that_are_close_do_not_cover_each_other() -> None:
    """The names of two members that are nearly the same stand at different heights."""
    made = drawn(planted_study(12))
    heights = {name: float(y) for y, name in re.findall(r'y="([\d.]+)" text-anchor="middle" class="name">#(\d+)', made)}
    assert abs(heights["2"] - heights["3"]) >= scatter.LINE


def test_no_name_covers_another_where_all_are_alike() -> None:
    """Of members in one place only so many have a name as there is room for; without a front the legend has none."""
    study = planted_study(12)
    alike = [trial(number, 0.012 * (1 + number / 1e3), 0.92 + number / 1e4) for number in range(2, 20)]
    tied = replace(study, records=(*study.records[:2], *alike))
    found = re.findall(r'<text x="([\d.]+)" y="([\d.]+)" text-anchor="middle" class="name">(#\d+)', drawn(tied))
    assert len(tied.front) == 19 and 3 <= len(found) < 10 and len({y for _, y, _ in found}) == len(found)
    assert "on the front" not in drawn(planted_study(12, limits={"latency_s": 1e-6})).split("<ul")[1]


def test_the_line_of_the_front_never_falls() -> None:
    """Where memory is an objective too, members that are slower and worse are on the front, but not on its line."""
    study = planted_study(12, objectives=("latency", "quality", "memory"))
    small = trial(9, 0.03, 0.91)
    small = replace(small, measurement=replace(small.measured, peaks_rss_bytes=(10**6,) * 2, peak_rss_bytes=10**6))
    both = replace(study, records=(*study.records[:9], small))
    (line,) = re.findall(r'd="M([^"]*)" class="front-line"', drawn(both))
    heights = [float(corner.split()[1]) for corner in line.split("L")]
    assert small.number in {record.number for record in both.front}
    assert heights == sorted(heights, reverse=True)


def test_without_a_score_there_is_no_figure() -> None:
    """A study in which nothing was measured and scored has no figure."""
    study = planted_study(12)
    assert drawn(replace(study, records=(study.records[7],))) == ""
