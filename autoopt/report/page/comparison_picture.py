"""Both fronts on one picture: each study in a colour and a shape of its own, with intervals."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from markupsafe import Markup

from autoopt.core.records import Status, TrialRecord
from autoopt.report.compare_studies import StudyComparison
from autoopt.report.front_view import is_shown, latency_bar_ms, latency_ms, quality, quality_bar
from autoopt.report.page import svg
from autoopt.report.page.axes import Axis, axis
from autoopt.report.page.html import Child, element, joined, paragraph
from autoopt.report.page.words import point_words
from autoopt.study.result import StudyResult

LETTERS = ("A", "B")
SHAPES = (("circle", "c0"), ("square", "c1"))
"""Shape and colour class of each study."""
SMALL, LARGE = 4.0, (8.5, 5.5)
"""Radii of the marks of trials, and of members of each study: one mark must not hide another at the same place."""
CHARACTER, LINE = 7.5, 13.0
"""The size of a character of a name, in user units."""


def anchor(place: int, number: int) -> str:
    """The anchor of a member's row, and what is highlighted with it: a2, b7."""
    return f"{LETTERS[place].lower()}{number}"


def name(place: int, number: int) -> str:
    """A trial as the page calls it: A#2, B#7."""
    return f"{LETTERS[place]}#{number}"


def render(both: StudyComparison) -> Markup:
    """The figure with its legend; nothing where no front has a member."""
    members = [record for study in both.studies for record in study.front]
    if not members:
        return Markup("")
    bars = [latency_bar_ms(study, record) for study in both.studies for record in study.front]
    worths = [quality(record) for record in members]
    drops = [quality_bar(study, record) for study in both.studies for record in study.front]
    worths += [end for ends in drops if ends is not None for end in ends]
    frame = svg.across(0, 1), svg.upwards(0, 1)
    x = axis([end for ends in bars for end in ends], frame[0].start, frame[0].end, log=True)
    y = axis(worths, frame[1].start, frame[1].end)
    card = both.first.card
    names = list(dict.fromkeys(study.card.primary for study in both.studies))
    less = " (less is better)" if card.less_is_better else ""
    drawn = svg.figure(
        svg.frame(x, y, f"p25 latency per {card.latency} (ms, logarithmic)", f"{' and '.join(names)} on val{less}"),
        *(child for place, study in enumerate(both.studies) for child in _rest(place, study, x, y)),
        *(_steps(place, study, x, y) for place, study in enumerate(both.studies)),
        *(child for place, study in enumerate(both.studies) for child in _members(place, study, x, y)),
        *_names(both, x, y),
        title=f"Both fronts: latency against {card.primary}",
    )
    reading = (
        "Lines: the best that a study has for at most so much latency. Bars are 95 % intervals. Small marks: trials "
    )
    return joined(
        [drawn, _legend(both), paragraph(f"{reading}that keep the limits but are on no front.", class_="note")]
    )


def _rest(place: int, study: StudyResult, x: Axis, y: Axis) -> Iterator[Child]:
    """The other trials that keep the limits, small."""
    front = {record.number for record in study.front}
    for record in filter(is_shown, study.judged):
        if record.number not in front and record.status is Status.COMPLETE:
            at = latency_ms(record), quality(record)
            if x.holds(at[0]) and y.holds(at[1]):
                yield _point(
                    place,
                    study,
                    record,
                    svg.mark(x.at(at[0]), y.at(at[1]), SHAPES[place][0], SMALL, SHAPES[place][1]),
                    "complete",
                )


def _members(place: int, study: StudyResult, x: Axis, y: Axis) -> Iterator[Child]:
    shape, colour = SHAPES[place]
    for record in study.front:
        at = x.at(latency_ms(record)), y.at(quality(record))
        left, right = latency_bar_ms(study, record)
        marks: list[Child] = [svg.line((x.at(left), at[1]), (x.at(right), at[1]), "bar")]
        if (ends := quality_bar(study, record)) is not None:
            marks.append(svg.line((at[0], y.at(ends[0])), (at[0], y.at(ends[1])), "bar"))
        yield _point(place, study, record, joined([*marks, svg.mark(*at, shape, LARGE[place], colour)]), "member")


def _point(place: int, study: StudyResult, record: TrialRecord, mark: Markup, kind: str) -> Markup:
    """A mark with its words; that of a member leads to its row."""
    words = f"{LETTERS[place]}: {point_words(study, record)}"
    key = anchor(place, record.number)
    if kind != "member":
        return element("g", element("title", words), mark, class_=f"point {kind}")
    return element("a", element("title", words), mark, href=f"#{key}", data_n=key, class_=f"point {kind}")


def _steps(place: int, study: StudyResult, x: Axis, y: Axis) -> Markup | None:
    places = [(x.at(latency_ms(record)), y.at(quality(record))) for record in study.front]
    if not places:
        return None
    corners = [places[0]]
    for before, after in pairwise(places):
        corners += [(after[0], before[1]), after]
    return svg.path([*corners, (x.end, places[-1][1])], f"steps s{place}")


def _names(both: StudyComparison, x: Axis, y: Axis) -> Iterator[Child]:
    """The names of members, those of the first study above and of the second below; left out where there is no room."""
    taken: list[tuple[float, float, float]] = []
    for place, study in enumerate(both.studies):
        for record in study.front:
            said = name(place, record.number)
            half = CHARACTER * len(said) / 2
            at = x.at(latency_ms(record)), y.at(quality(record)) + (-14 if place == 0 else 24)
            if not any(abs(at[0] - a) < half + w and abs(at[1] - b) < LINE for a, b, w in taken):
                taken.append((*at, half))
                yield svg.text(*at, said, "middle", class_="name")


def _legend(both: StudyComparison) -> Markup:
    entries = []
    for place, study in enumerate(both.studies):
        shape, colour = SHAPES[place]
        drawn = element("g", svg.mark(9, 9, shape, 6, colour), class_="point member")
        key = element("svg", drawn, viewBox="0 0 18 18", class_="key", aria_hidden="true")
        entries.append(element("li", key, f"{LETTERS[place]}: {study.card.name}, {study.card.host.cpu}"))
    return element("ul", *entries, class_="legend")
