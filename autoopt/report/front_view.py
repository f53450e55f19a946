"""Where trials stand in a picture of latency against quality: their places, intervals, limits, the axes that fit them.

The axes fit the trials. A limit that is far away, and trials that broke one and lie far outside, are not on them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from autoopt.core.records import Status, TrialRecord
from autoopt.study import intervals, uncertainty
from autoopt.study.limits import DROP, LATENCY, LATENCY_BOUND, RELATIVE_DROP, drop_limit, limit
from autoopt.study.result import StudyResult

MARGIN = 0.08
"""Of the span of the trials, on each side of an axis."""
FAR = 1.5
"""Trials that broke a limit are left to the edge where they are so many spans of the others away from those."""
CLOSE = 0.5
"""A limit is on the axes where it is at most so many spans away from the trials."""
BROKEN = "that broke a limit"
LEAST_DECADES, LEAST_QUALITY = 0.1, 0.01
"""Spans that an axis has at least: of latency in powers of ten, of quality."""


@dataclass(frozen=True)
class View:
    """What the axes show: latencies in ms and qualities, from the least to the most."""

    latency_ms: tuple[float, float]
    quality: tuple[float, float]

    def holds(self, x: float, y: float) -> bool:
        """Whether a point is on the axes."""
        return self.latency_ms[0] <= x <= self.latency_ms[1] and self.quality[0] <= y <= self.quality[1]


def view_of(result: StudyResult) -> View | None:
    """The axes that fit the trials, with the bars of those that have them; None where nothing was measured and scored.

    Trials that broke a limit count unless they are far away from all others, limits where they are close.
    """
    shown = [record for record in result.judged if is_shown(record)]
    if not shown:
        return None
    broken = [record for record in shown if record.status is Status.INFEASIBLE]
    kept = [record for record in shown if record.status is not Status.INFEASIBLE] or shown
    xs = [math.log10(latency_ms(record)) for record in kept]
    ys = [quality(record) for record in kept]
    for record in (result.reference, result.openvino_f32, *result.front):
        if record is not None and is_shown(record):
            (left, right), vertical = latency_bar_ms(result, record), quality_bar(result, record)
            xs += [math.log10(left), math.log10(right)]
            ys += [] if vertical is None else list(vertical)
    x, y = _span(xs, LEAST_DECADES), _span(ys, LEAST_QUALITY)
    near = [r for r in broken if _is_near(math.log10(latency_ms(r)), x, FAR) and _is_near(quality(r), y, FAR)]
    x = _span([*x, *(math.log10(latency_ms(record)) for record in near)], LEAST_DECADES)
    y = _span([*y, *map(quality, near)], LEAST_QUALITY)
    floor, most_ms = limits_of(result)
    x = _span([*x, *(math.log10(item) for item in (most_ms,) if item and _is_near(math.log10(item), x, CLOSE))], 0.0)
    y = _span([*y, *(item for item in (floor,) if item is not None and _is_near(item, y, CLOSE))], 0.0)
    (left, right), (low, high) = _widened(x), _widened(y)
    return View((10**left, 10**right), (low, high))


def _span(values: Sequence[float], least: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    missing = max(0.0, least - (high - low)) / 2
    return low - missing, high + missing


def _widened(span: tuple[float, float]) -> tuple[float, float]:
    margin = MARGIN * (span[1] - span[0])
    return span[0] - margin, span[1] + margin


def _is_near(value: float, span: tuple[float, float], spans: float) -> bool:
    reach = spans * (span[1] - span[0])
    return span[0] - reach <= value <= span[1] + reach


def is_shown(record: TrialRecord) -> bool:
    """Whether a trial was measured and scored: it has a place."""
    return record.measurement is not None and record.quality is not None and math.isfinite(record.quality.value)


def latency_ms(record: TrialRecord) -> float:
    """The p25 latency of a trial in ms."""
    return record.measured.latency_p25_s * 1e3


def quality(record: TrialRecord) -> float:
    """The primary metric of a trial on val."""
    assert record.quality is not None
    return record.quality.value


def latency_bar_ms(result: StudyResult, record: TrialRecord) -> tuple[float, float]:
    """The 95 % interval of the p25 latency in ms."""
    low, high = uncertainty.latency_interval(record.measured, result.sigma)
    return low * 1e3, high * 1e3


def quality_bar(result: StudyResult, record: TrialRecord) -> tuple[float, float] | None:
    """The quality that the reference's less the interval of the drop leaves; None where it has no interval."""
    reference = result.reference
    if reference is None or reference.quality is None or record.quality is None or record.number == reference.number:
        return None
    ends = intervals.drop(reference.quality, record.quality)
    if isinstance(ends, str):
        return None
    before, sign = reference.quality, record.quality.sign()
    low, high = sorted(sign * (before.worth - end) for end in ends)
    return low, high


def limits_of(result: StudyResult) -> tuple[float | None, float | None]:
    """The worst quality and the largest latency in ms that the limits allow; None without one."""
    limits, reference = result.card.limits, result.reference
    before = None if reference is None else reference.quality
    drop, most_s = drop_limit(limits, before), limits.get(LATENCY_BOUND, limits.get(LATENCY))
    floor = None if drop is None or before is None else before.sign() * (before.worth - drop)
    return floor, None if most_s is None else most_s * 1e3


def drop_words(result: StudyResult) -> str:
    """The limits of the drop in words, such as: drop limit 0.01; empty without one."""
    limits = result.card.limits
    drops = [limit(name).number(limits[name], "g") for name in (DROP, RELATIVE_DROP) if name in limits]
    return f"drop limit {' and '.join(drops)}" if drops else ""


def edges(result: StudyResult, seen: View) -> list[tuple[str, str]]:
    """What is not on the axes: the edge that it is behind (below, above, slower, faster), and what it is."""
    floor, most_ms = limits_of(result)
    found = []
    if floor is not None and not seen.quality[0] <= floor <= seen.quality[1]:
        found.append(("below" if floor < seen.quality[0] else "above", f"{drop_words(result)}, at {floor:.3g}"))
    if most_ms is not None and not seen.latency_ms[0] <= most_ms <= seen.latency_ms[1]:
        found.append(("faster" if most_ms < seen.latency_ms[0] else "slower", f"latency limit {most_ms:.4g} ms"))
    return found + _far_trials(result, seen)


def _far_trials(result: StudyResult, seen: View) -> list[tuple[str, str]]:
    """How many trials are not on the axes, by the side where they are."""
    points = [(latency_ms(record), quality(record)) for record in result.judged if is_shown(record)]
    outside = [(x, y) for x, y in points if not seen.holds(x, y)]
    below = [y for _, y in outside if y < seen.quality[0]]
    above = [y for _, y in outside if y > seen.quality[1]]
    beside = [x for x, y in outside if seen.quality[0] <= y <= seen.quality[1]]
    slower, faster = ([x for x in beside if (x > seen.latency_ms[1]) is side] for side in (True, False))
    found = []
    if below:
        found.append(("below", f"{_trials(below)}, down to {min(below):.3g}"))
    if above:
        found.append(("above", f"{_trials(above)}, up to {max(above):.3g}"))
    if slower:
        found.append(("slower", f"{_trials(slower)}, up to {max(slower):.3g} ms"))
    if faster:
        found.append(("faster", f"{_trials(faster)}, down to {min(faster):.3g} ms"))
    return found


def steps(result: StudyResult) -> list[TrialRecord]:
    """The members of the front that are better than all faster ones: what can be had for at most so much latency.

    Of two objectives these are all; of more, others are on the front for what the picture does not show.
    """
    found: list[TrialRecord] = []
    for record in result.front:
        worth = record.quality.worth if record.quality is not None else -math.inf
        if not found or found[-1].quality is None or worth > found[-1].quality.worth:
            found.append(record)
    return found


def _trials(found: Sequence[float]) -> str:
    return f"{len(found)} trial{'s' if len(found) > 1 else ''} {BROKEN}"
