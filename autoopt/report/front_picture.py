"""The front as a picture: latency against quality, with every trial that was measured, the limits, the references.

The axes fit the trials. What lies far outside is named by an arrow at the edge: a limit, and trials that broke one.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from autoopt.core.records import Status, TrialRecord
from autoopt.report.front_view import (
    BROKEN,
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
from autoopt.study.result import StudyResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, DIM, FRONT, WARN, REFERENCE, TIE = "#22303c", "#a8b4bf", "#d1495b", "#b9770e", "#2a7f9e", "#f3c6cc"
ARROW = 0.06
"""The length of an arrow to the edge, of the axes."""
LESS = " (less is better)"


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
    shown = [r for r in result.judged if seen is not None and is_shown(r) and seen.holds(latency_ms(r), quality(r))]
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
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def _scatter(axes: Axes, records: list[TrialRecord], label: str, color: str, marker: str, size: int) -> None:
    if records:
        x, y = [latency_ms(record) for record in records], [quality(record) for record in records]
        axes.scatter(x, y, s=size, color=color, marker=marker, label=label, zorder=2 if color != REFERENCE else 5)


def _bars(axes: Axes, result: StudyResult, record: TrialRecord, color: str) -> None:
    style: dict[str, Any] = {"color": color, "linewidth": 1.1, "alpha": 0.75, "zorder": 3}
    x, y = latency_ms(record), quality(record)
    axes.plot(latency_bar_ms(result, record), (y, y), **style)
    vertical = quality_bar(result, record)
    if vertical is not None:
        axes.plot((x, x), vertical, **style)


def _front(axes: Axes, result: StudyResult) -> None:
    members = result.front
    if not members:
        return
    x, y = [latency_ms(record) for record in members], [quality(record) for record in members]
    corners = steps(result)
    axes.step(
        list(map(latency_ms, corners)),
        list(map(quality, corners)),
        where="post",
        color=FRONT,
        linewidth=1.2,
        alpha=0.6,
        zorder=3,
    )
    place = {record.number: (latency_ms(record), quality(record)) for record in members}
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
    """The limits as lines; what is not on the axes as an arrow at the edge that it is behind."""
    floor, most_ms = limits_of(result)
    if floor is not None and seen.quality[0] <= floor <= seen.quality[1]:
        axes.axhline(floor, color=WARN, linewidth=0.9, linestyle="--", label=drop_words(result))
    if most_ms is not None and seen.latency_ms[0] <= most_ms <= seen.latency_ms[1]:
        axes.axvline(most_ms, color=WARN, linewidth=0.9, linestyle=":", label=f"latency limit {most_ms:.4g} ms")
    for edge, words in edges(result, seen):
        _arrow(axes, words, _place(edge, of_trials=BROKEN in words))


def _place(edge: str, *, of_trials: bool) -> tuple[float, float]:
    """Where an arrow to an edge ends, in fractions of the axes: trials have another place than limits."""
    if edge in ("below", "above"):
        return 0.3 if of_trials else 0.03, 0.0 if edge == "below" else 1.0
    return 0.0 if edge == "faster" else 1.0, 0.5 if of_trials else 0.94


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
