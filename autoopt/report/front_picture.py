"""The front as a picture: latency against quality, with every trial that was measured, the limits, the references.

The axes fit the trials. What lies far outside is named by an arrow at the edge: a limit, and trials that broke one.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autoopt.core.records import Status, TrialRecord
from autoopt.study import intervals, uncertainty
from autoopt.study.limits import DROP, LATENCY, LATENCY_BOUND, RELATIVE_DROP, drop_limit, limit
from autoopt.study.result import StudyResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, DIM, FRONT, WARN, REFERENCE, TIE = "#22303c", "#a8b4bf", "#d1495b", "#b9770e", "#2a7f9e", "#f3c6cc"
MARGIN = 0.08
"""Of the span of the trials, on each side of an axis."""
FAR = 1.5
"""Trials that broke a limit are left to the edge where they are so many spans of the others away from those."""
CLOSE = 0.5
"""A limit is on the axes where it is at most so many spans away from the trials."""
ARROW = 0.06
"""The length of an arrow to the edge, of the axes."""
LESS = " (less is better)"
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


def front_picture(result: StudyResult) -> bytes:
    """A PNG of the p25 latency (ms, log axis) against the primary metric on val; see `draw`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = draw(result)
    stream = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(stream, format="png")
    return stream.getvalue()


def draw(result: StudyResult) -> Figure:
    """The front as steps with intervals and ties, the other trials, the limits, the references.

    Horizontal bars are the 95 % interval of the latency, vertical ones that of the quality lost against the reference
    on the same patients. A band joins members that neither latency nor quality tells apart.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.6), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    seen = view_of(result)
    shown = [r for r in result.judged if seen is not None and _is_shown(r) and seen.holds(_latency_ms(r), _quality(r))]
    kinds = {status: [record for record in shown if record.status is status] for status in Status}
    _scatter(axes, kinds[Status.INFEASIBLE], "breaks a limit", WARN, "x", 30)
    _scatter(axes, kinds[Status.UNKNOWN], "unknown", DIM, "x", 30)
    _scatter(axes, kinds[Status.COMPLETE], "complete", DIM, "o", 26)
    _front(axes, result)
    for record, marker in ((result.reference, "s"), (result.openvino_f32, "D")):
        if record is not None and record.number in {one.number for one in shown}:
            _bars(axes, result, record, REFERENCE)
            _scatter(axes, [record], record.label, REFERENCE, marker, 64)
    _decorate(axes, result)
    if seen is not None:
        axes.set_xlim(*seen.latency_ms)
        axes.set_ylim(*seen.quality)
        _limits(axes, result, seen)
        _far_trials(axes, result, seen)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def view_of(result: StudyResult) -> View | None:
    """The axes that fit the trials, with the bars of those that have them; None where nothing was measured and scored.

    Trials that broke a limit count unless they are far away from all others, limits where they are close.
    """
    shown = [record for record in result.judged if _is_shown(record)]
    if not shown:
        return None
    broken = [record for record in shown if record.status is Status.INFEASIBLE]
    kept = [record for record in shown if record.status is not Status.INFEASIBLE] or shown
    xs = [math.log10(_latency_ms(record)) for record in kept]
    ys = [_quality(record) for record in kept]
    for record in (result.reference, result.openvino_f32, *result.front):
        if record is not None and _is_shown(record):
            (left, right), vertical = _latency_bar_ms(result, record), _quality_bar(result, record)
            xs += [math.log10(left), math.log10(right)]
            ys += [] if vertical is None else list(vertical)
    x, y = _span(xs, LEAST_DECADES), _span(ys, LEAST_QUALITY)
    near = [r for r in broken if _is_near(math.log10(_latency_ms(r)), x, FAR) and _is_near(_quality(r), y, FAR)]
    x = _span([*x, *(math.log10(_latency_ms(record)) for record in near)], LEAST_DECADES)
    y = _span([*y, *map(_quality, near)], LEAST_QUALITY)
    floor, most_ms = _limits_of(result)
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


def _is_shown(record: TrialRecord) -> bool:
    return record.measurement is not None and record.quality is not None and math.isfinite(record.quality.value)


def _latency_ms(record: TrialRecord) -> float:
    return record.measured.latency_p25_s * 1e3


def _quality(record: TrialRecord) -> float:
    assert record.quality is not None
    return record.quality.value


def _latency_bar_ms(result: StudyResult, record: TrialRecord) -> tuple[float, float]:
    low, high = uncertainty.latency_interval(record.measured, result.sigma)
    return low * 1e3, high * 1e3


def _quality_bar(result: StudyResult, record: TrialRecord) -> tuple[float, float] | None:
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


def _limits_of(result: StudyResult) -> tuple[float | None, float | None]:
    """The worst quality and the largest latency in ms that the limits allow; None without one."""
    limits, reference = result.card.limits, result.reference
    before = None if reference is None else reference.quality
    drop, most_s = drop_limit(limits, before), limits.get(LATENCY_BOUND, limits.get(LATENCY))
    floor = None if drop is None or before is None else before.sign() * (before.worth - drop)
    return floor, None if most_s is None else most_s * 1e3


def _scatter(axes: Axes, records: list[TrialRecord], label: str, color: str, marker: str, size: int) -> None:
    if records:
        x, y = [_latency_ms(record) for record in records], [_quality(record) for record in records]
        axes.scatter(x, y, s=size, color=color, marker=marker, label=label, zorder=2 if color != REFERENCE else 5)


def _bars(axes: Axes, result: StudyResult, record: TrialRecord, color: str) -> None:
    style: dict[str, Any] = {"color": color, "linewidth": 1.1, "alpha": 0.75, "zorder": 3}
    x, y = _latency_ms(record), _quality(record)
    axes.plot(_latency_bar_ms(result, record), (y, y), **style)
    vertical = _quality_bar(result, record)
    if vertical is not None:
        axes.plot((x, x), vertical, **style)


def _front(axes: Axes, result: StudyResult) -> None:
    members = result.front
    if not members:
        return
    x, y = [_latency_ms(record) for record in members], [_quality(record) for record in members]
    axes.step(x, y, where="post", color=FRONT, linewidth=1.2, alpha=0.6, zorder=3)
    place = {record.number: (_latency_ms(record), _quality(record)) for record in members}
    label: str | None = "tied: not told apart"
    for number, leader in result.ties.items():
        if number != leader:
            (x0, y0), (x1, y1) = place[leader], place[number]
            axes.plot((x0, x1), (y0, y1), color=TIE, linewidth=9, solid_capstyle="round", zorder=1, label=label)
            label = None
    for record in members:
        _bars(axes, result, record, FRONT)
    axes.scatter(x, y, s=60, color=FRONT, zorder=4, label=f"front ({len(x)}), 95 %", edgecolor="white", linewidth=0.8)


def _limits(axes: Axes, result: StudyResult, seen: View) -> None:
    """The limits as lines; one that is not on the axes as an arrow at the edge that it is behind."""
    floor, most_ms = _limits_of(result)
    if floor is not None:
        limits = result.card.limits
        drops = [limit(name).number(limits[name], "g") for name in (DROP, RELATIVE_DROP) if name in limits]
        label = f"drop limit {' and '.join(drops)}"
        if seen.quality[0] <= floor <= seen.quality[1]:
            axes.axhline(floor, color=WARN, linewidth=0.9, linestyle="--", label=label)
        else:
            _arrow(axes, f"{label}, at {floor:.3g}", (0.03, 0.0 if floor < seen.quality[0] else 1.0))
    if most_ms is not None:
        if seen.latency_ms[0] <= most_ms <= seen.latency_ms[1]:
            axes.axvline(most_ms, color=WARN, linewidth=0.9, linestyle=":", label=f"latency limit {most_ms:.4g} ms")
        else:
            _arrow(axes, f"latency limit {most_ms:.4g} ms", (0.0 if most_ms < seen.latency_ms[0] else 1.0, 0.94))


def _far_trials(axes: Axes, result: StudyResult, seen: View) -> None:
    """How many trials are not on the axes, by the side where they are."""
    points = [(_latency_ms(record), _quality(record)) for record in result.judged if _is_shown(record)]
    outside = [(x, y) for x, y in points if not seen.holds(x, y)]
    below = [y for _, y in outside if y < seen.quality[0]]
    above = [y for _, y in outside if y > seen.quality[1]]
    beside = [x for x, y in outside if seen.quality[0] <= y <= seen.quality[1]]
    slower, faster = ([x for x in beside if (x > seen.latency_ms[1]) is side] for side in (True, False))
    if below:
        _arrow(axes, f"{_trials(below)}, down to {min(below):.3g}", (0.3, 0.0))
    if above:
        _arrow(axes, f"{_trials(above)}, up to {max(above):.3g}", (0.3, 1.0))
    if slower:
        _arrow(axes, f"{_trials(slower)}, up to {max(slower):.3g} ms", (1.0, 0.5))
    if faster:
        _arrow(axes, f"{_trials(faster)}, down to {min(faster):.3g} ms", (0.0, 0.5))


def _trials(found: Sequence[float]) -> str:
    return f"{len(found)} trial{'s' if len(found) > 1 else ''} that broke a limit"


def _arrow(axes: Axes, text: str, place: tuple[float, float]) -> None:
    """An arrow to the edge at `place` (fractions of the axes), with a text beside its end inside."""
    x, y = place
    upright = y in (0.0, 1.0)
    end_x, end_y = (x, abs(y - ARROW)) if upright else (abs(x - ARROW), y)
    marker = ("v" if y == 0.0 else "^") if upright else ("<" if x == 0.0 else ">")
    style: dict[str, Any] = {"color": WARN, "transform": axes.transAxes, "clip_on": False}
    axes.plot((end_x, x), (end_y, y), linewidth=1.1, **style)
    axes.plot((x,), (y,), marker=marker, markersize=6, **style)
    gap = 0.01
    ha = "left" if upright or x == 0.0 else "right"
    text_x = end_x if upright else end_x + (gap if x == 0.0 else -gap)
    text_y = end_y + (gap if y == 0.0 else -gap) if upright else end_y
    va = ("bottom" if y == 0.0 else "top") if upright else "center"
    axes.text(text_x, text_y, text, transform=axes.transAxes, ha=ha, va=va, fontsize=8, color=WARN)


def _decorate(axes: Axes, result: StudyResult) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    card = result.card
    failed = sum(record.status is Status.FAILED for record in result.records)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 1.5, 2, 3, 4, 5, 7)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(f"latency per {result.card.latency}, p25 (ms)", color=INK)
    axes.set_ylabel(f"{card.primary} on val{LESS if card.less_is_better else ''}", color=INK)
    axes.set_title(
        f"{card.title}: {len(result.records)} trials, {failed} failed",
        loc="left",
        color=INK,
        fontsize=12,
        weight="bold",
    )
    axes.text(
        1,
        1.012,
        f"{card.host.cpu}, {card.host.cores} cores",
        transform=axes.transAxes,
        ha="right",
        fontsize=8,
        color=INK,
    )
    axes.grid(which="both", alpha=0.18)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
