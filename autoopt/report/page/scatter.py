"""Latency against quality: every trial that was measured, the front with its intervals and ties, limits, references."""

from __future__ import annotations

from itertools import pairwise

from markupsafe import Markup

from autoopt.core.records import Status, TrialRecord
from autoopt.report.front_view import (
    View,
    drop_words,
    edges,
    is_shown,
    latency_bar_ms,
    latency_ms,
    limits_of,
    quality,
    quality_bar,
    steps,
    view_of,
)
from autoopt.report.page import svg
from autoopt.report.page.axes import Axis
from autoopt.report.page.html import Child, element, joined, paragraph
from autoopt.report.page.shapes import runtime_of, shapes
from autoopt.report.page.subject import Subject
from autoopt.report.page.words import point_words
from autoopt.study.floor import control_of
from autoopt.study.result import StudyResult

ARROWS = {"below": "↓", "above": "↑", "slower": "→", "faster": "←"}
SMALL, LARGE = 4.5, 7.0
"""Radii of the marks of trials, and of those on the front."""
CHARACTER, LINE = 7.5, 13.0
"""The size of a character of a name, in user units."""
SHIFTS = (-15.0, 24.0, -28.0, 37.0, -41.0)
"""How far above or below its mark a name may stand, the best place first."""


def render(subject: Subject) -> Markup:
    """The figure with its legend; nothing where no trial was measured and scored."""
    result, seen = subject.result, view_of(subject.result)
    if seen is None:
        return Markup("")
    x, y = svg.across(*seen.latency_ms, log=True), svg.upwards(*seen.quality)
    card = result.card
    less = " (less is better)" if card.less_is_better else ""
    drawn = svg.figure(
        svg.frame(x, y, f"p25 latency per {card.latency} (ms, logarithmic)", f"{card.primary} on val{less}"),
        *_limits(result, seen, x, y),
        *_ties(result, x, y),
        _steps(result, x, y),
        *_bars(result, x, y),
        *_points(result, seen, x, y),
        title=f"Latency against {card.primary}: {len(result.front)} of {len(result.records)} trials are on the front",
    )
    outside = [f"{ARROWS[edge]} {words}" for edge, words in edges(result, seen)]
    note = paragraph(f"Not on the axes: {'; '.join(outside)}.", class_="note") if outside else None
    return joined([drawn, _legend(result), note, paragraph(_reading(result), class_="note")])


def _reading(result: StudyResult) -> str:
    bars = "Bars are 95 % intervals: of the latency, and of the quality lost on the same patients."
    tied = any(number != leader for number, leader in result.ties.items())
    return f"{bars}{' A band joins trials that neither latency nor quality tells apart.' if tied else ''}"


def _limits(result: StudyResult, seen: View, x: Axis, y: Axis) -> list[Child]:
    """The limits and the floor as lines with their names, where they are on the axes."""
    floor, most_ms = limits_of(result)
    found: list[Child] = []
    if floor is not None and y.holds(floor):
        found.append(svg.line((x.start, y.at(floor)), (x.end, y.at(floor)), "limit"))
        found.append(svg.text(x.start + 6, y.at(floor) - 5, drop_words(result), class_="limit-name"))
    if most_ms is not None and x.holds(most_ms):
        found += _upright(x.at(most_ms), y, "limit", f"latency limit {most_ms:.4g} ms", end=True)
    control = control_of(result)
    if control is not None and x.holds(latency_ms(control)):
        found += _upright(x.at(latency_ms(control)), y, "floor", f"one layer (#{control.number})", end=False)
    return found


def _upright(place: float, y: Axis, class_: str, name: str, *, end: bool) -> list[Child]:
    """A vertical line, named at its upper or lower end, on the side where there is room."""
    left = place > svg.WIDTH / 2
    at = (place - 5 if left else place + 5, y.end + 12 if end else y.start - 6)
    return [
        svg.line((place, y.start), (place, y.end), class_),
        svg.text(*at, name, "end" if left else "start", class_=f"{class_}-name"),
    ]


def _steps(result: StudyResult, x: Axis, y: Axis) -> Markup | None:
    """The front as steps: what can be had for at most so much latency."""
    places = [(x.at(latency_ms(record)), y.at(quality(record))) for record in steps(result)]
    if not places:
        return None
    corners = [places[0]]
    for before, after in pairwise(places):
        corners += [(after[0], before[1]), after]
    return svg.path(corners, "front-line")


def _ties(result: StudyResult, x: Axis, y: Axis) -> list[Child]:
    place = {record.number: (x.at(latency_ms(record)), y.at(quality(record))) for record in result.front}
    return [svg.line(place[leader], place[number], "tie") for number, leader in result.ties.items() if number != leader]


def _bars(result: StudyResult, x: Axis, y: Axis) -> list[Child]:
    found: list[Child] = []
    for record in {one.number: one for one in (*result.front, *_references(result))}.values():
        at = x.at(latency_ms(record)), y.at(quality(record))
        left, right = latency_bar_ms(result, record)
        found.append(svg.line((x.at(left), at[1]), (x.at(right), at[1]), "bar", data_n=record.number))
        if (ends := quality_bar(result, record)) is not None:
            found.append(svg.line((at[0], y.at(ends[0])), (at[0], y.at(ends[1])), "bar", data_n=record.number))
    return found


def _references(result: StudyResult) -> list[TrialRecord]:
    """The judged records of what the trials are compared with, where they have a place."""
    numbers = {record.number for record in (result.reference, result.openvino_f32) if record is not None}
    return [record for record in result.judged if record.number in numbers and is_shown(record)]


def _points(result: StudyResult, seen: View, x: Axis, y: Axis) -> list[Child]:
    """A mark for each trial on the axes, those on the front last so that none covers them."""
    front, references = ({record.number for record in group} for group in (result.front, _references(result)))
    dealt, names = shapes(result), _Names()
    found: list[tuple[int, Markup]] = []
    for record in sorted(filter(is_shown, result.judged), key=latency_ms):
        if not seen.holds(latency_ms(record), quality(record)):
            continue
        place, member = (x.at(latency_ms(record)), y.at(quality(record))), record.number in front
        shape, color = dealt[runtime_of(record)]
        kind = "member" if member else record.status.value
        marks: list[Child] = [svg.mark(*place, shape, LARGE if member else SMALL, color)]
        if record.number in references:
            marks += [svg.mark(*place, "circle", LARGE + 5, "ring"), names.beside(place, record.label)]
        elif member:
            marks.append(names.beside(place, f"#{record.number}"))
        rank = int(member) + int(record.status is Status.COMPLETE)
        found.append((rank, svg.point(record.number, point_words(result, record), *marks, class_=kind)))
    return [mark for _, mark in sorted(found, key=lambda item: item[0])]


class _Names:
    """The names of marks, each above or below its mark where no earlier name is."""

    def __init__(self) -> None:
        self._taken: list[tuple[float, float, float]] = []

    def beside(self, place: tuple[float, float], name: str) -> Markup | None:
        """The text; none where every place is taken: the point itself tells the number."""
        half = CHARACTER * len(name) / 2
        x = min(max(place[0], svg.LEFT + half), svg.WIDTH - svg.RIGHT - half)
        tries = [place[1] + shift for shift in SHIFTS if svg.TOP < place[1] + shift < svg.HEIGHT - svg.BOTTOM]
        free = [y for y in tries if not any(abs(x - a) < half + w and abs(y - b) < LINE for a, b, w in self._taken)]
        if not free:
            return None
        self._taken.append((x, free[0], half))
        return svg.text(round(x, 1), round(free[0], 1), name, "middle", class_="name")


def _legend(result: StudyResult) -> Markup:
    """What each shape and colour is."""
    entries = [_entry(shape, f"{color} complete", name) for name, (shape, color) in shapes(result).items()]
    shape = next(iter(shapes(result).values()), ("circle", "c0"))[0]
    present = {record.status for record in result.judged if is_shown(record)}
    entries += [_entry(shape, "member", "on the front (large, outlined)")] if result.front else []
    entries += [_entry(shape, "infeasible", "breaks a limit (hollow)")] if Status.INFEASIBLE in present else []
    entries += [_entry(shape, "unknown", "a limit is unknown (dashed)")] if Status.UNKNOWN in present else []
    entries += [_entry("circle", "ring", "reference (ring)")] if _references(result) else []
    return element("ul", *entries, class_="legend")


def _entry(shape: str, class_: str, name: str) -> Markup:
    color, _, kind = class_.rpartition(" ")
    drawn = element(
        "g", svg.mark(9, 9, shape, 6, color or ("ring" if kind == "ring" else "ink")), class_=f"point {kind}"
    )
    return element("li", element("svg", drawn, viewBox="0 0 18 18", class_="key", aria_hidden="true"), name)
