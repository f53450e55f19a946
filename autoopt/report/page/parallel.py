"""Trials as lines over the settings that vary and their objectives: parallel coordinates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from autoopt.core.configuration import Scalar
from autoopt.core.records import Status, TrialRecord
from autoopt.report.page.axes import Axis, axis
from autoopt.report.page.html import Child, element, joined, paragraph
from autoopt.report.page.svg import figure, line, path, point, text
from autoopt.study.importance import OFF, Importance, comparable, settings_that_vary
from autoopt.study.numbers import objectives
from autoopt.study.result import StudyResult
from autoopt.study.words import row_name

MOST_SETTINGS, MOST_LINES = 6, 300
"""Settings that have an axis, the most important ones; trials that are drawn besides the front."""
MOST_VALUES = 8
"""A setting of numbers with more values has an axis of numbers, else a place for each value."""
WIDTH, HEIGHT, TOP, BOTTOM, SIDE = 760, 330, 44, 24, 70
SPREAD = 0.6
"""The share of the space between two values over which the lines through one of them are spread."""


@dataclass(frozen=True)
class Scale:
    """One axis: its title, the place of each trial on it, and its labels with their places."""

    title: str
    places: Sequence[float]
    labels: Sequence[tuple[float, str]]


def parallel_coordinates(result: StudyResult, found: Sequence[Importance]) -> Markup:
    """The figure with a sentence; nothing where fewer than two trials can be compared or no setting varies."""
    records = _drawn(result)
    varying = settings_that_vary(records)
    if len(records) < 2 or not varying:
        return Markup("")
    scales = [_setting(name, varying[name], records) for name in _chosen(varying, found)]
    scales += [_objective(result, name, records) for name in result.card.objectives]
    step = (WIDTH - 2 * SIDE) / (len(scales) - 1)
    xs = [round(SIDE + place * step, 1) for place in range(len(scales))]
    front = {record.number for record in result.front}
    lines = [
        _line(record, [(x, scale.places[place]) for x, scale in zip(xs, scales, strict=True)], front)
        for place, record in enumerate(records)
    ]
    behind = [drawn for record, drawn in zip(records, lines, strict=True) if record.number not in front]
    above = [drawn for record, drawn in zip(records, lines, strict=True) if record.number in front]
    axes = [_axis(x, scale, place % 2) for place, (x, scale) in enumerate(zip(xs, scales, strict=True))]
    title = "Each trial as a line over its settings, latency and quality; the front is on top"
    return joined(
        [
            element("h3", "Settings and what came of them"),
            figure(*behind, *above, *axes, title=title, width=WIDTH, height=HEIGHT),
            _legend(result, len(records), len(varying) > MOST_SETTINGS),
        ]
    )


def _drawn(result: StudyResult) -> list[TrialRecord]:
    """The trials that are drawn: the front, and of many others some, evenly over the study."""
    front = {record.number for record in result.front}
    others = [record for record in comparable(result) if record.number not in front]
    every = max(1, -(-len(others) // MOST_LINES))
    kept = {record.number for record in others[::every]} | front
    return [record for record in comparable(result) if record.number in kept]


def _chosen(varying: Mapping[str, Sequence[Scalar]], found: Sequence[Importance]) -> list[str]:
    """The settings with an axis: those that matter most for any objective, in the order of the space."""
    weight = {name: max((item.shares.get(name, 0.0) for item in found), default=0.0) for name in varying}
    kept = sorted(varying, key=lambda name: -weight[name])[:MOST_SETTINGS]
    return [name for name in varying if name in kept]


def _setting(name: str, values: Sequence[Scalar], records: Sequence[TrialRecord]) -> Scale:
    """An axis of numbers, or one with a place for each value, over which the lines through it are spread."""
    numbers = [item for item in values if isinstance(item, int | float) and not isinstance(item, bool)]
    distinct = sorted(set(numbers))
    if len(numbers) == len(values) and len(distinct) > MOST_VALUES:
        return _numbers(name, [float(item) for item in numbers], log=False)
    others = sorted({str(item) for item in values if item == OFF or item not in distinct}, key=lambda t: (t != OFF, t))
    order = [*others, *(f"{item:g}" for item in distinct)]
    texts = [str(item) if item not in distinct or isinstance(item, bool | str) else f"{item:g}" for item in values]
    gap = (HEIGHT - TOP - BOTTOM) / len(order)
    middles = {word: HEIGHT - BOTTOM - gap * (place + 0.5) for place, word in enumerate(order)}
    places = [0.0] * len(values)
    for word in order:
        there = sorted(
            (place for place, own in enumerate(texts) if own == word),
            key=lambda place: records[place].measured.latency_p25_s,
        )
        for rank, place in enumerate(there):
            share = (rank + 0.5) / len(there) - 0.5
            places[place] = round(middles[word] + share * gap * SPREAD, 1)
    return Scale(name, places, [(middle, word) for word, middle in middles.items()])


def _objective(result: StudyResult, name: str, records: Sequence[TrialRecord]) -> Scale:
    number, primary = objectives()[name], result.card.primary
    title = number.column.title.format(primary=primary) if number.column else number.name(primary)
    return _numbers(title, [number.of(record) or 0.0 for record in records], log=number.log)


def _numbers(title: str, values: Sequence[float], *, log: bool) -> Scale:
    log = log and min(values) > 0
    found: Axis = axis(values, HEIGHT - BOTTOM, TOP, log=log, margin=0.02)
    return Scale(
        title, [found.at(value) for value in values], [(found.at(tick), found.text(tick)) for tick in found.ticks(6)]
    )


def _line(record: TrialRecord, places: Sequence[tuple[float, float]], front: set[int]) -> Markup:
    """The line of a trial; of the front it is a link that can be reached by keyboard."""
    if record.number in front:
        return point(record.number, row_name(record), path(places, "line on-front"))
    drawn = path(places, f"line {record.status.value}")
    return element("g", drawn, data_n=record.number)


def _axis(x: float, scale: Scale, lower: int) -> Markup:
    """A vertical line with its labels; titles stand in turns on two lines, so that long ones do not meet."""
    parts: list[Child] = [
        line((x, TOP), (x, HEIGHT - BOTTOM), "axis"),
        text(x, 16 + 14 * lower, scale.title, "middle", class_="title"),
    ]
    parts += [text(x + 6, place + 4, shown, class_="halo") for place, shown in scale.labels]
    return element("g", *parts, class_="frame", aria_hidden="true")


def _legend(result: StudyResult, drawn: int, more: bool) -> Markup:
    complete = sum(record.status is Status.COMPLETE for record in result.judged)
    some = f" {drawn} of {len(comparable(result))} trials are drawn." if drawn < len(comparable(result)) else ""
    fewer = f" The {MOST_SETTINGS} settings that matter most have an axis." if more else ""
    broken = "; dashed: breaks a limit" if complete < len(comparable(result)) else ""
    return paragraph(
        f"Strong line: on the front; thin: keeps the limits{broken}. Lines through one value are spread by latency, "
        f"the fastest on top.{some}{fewer}",
        class_="note",
    )
