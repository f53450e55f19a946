"""The front as a picture: latency against quality, with every trial that was measured, the limits, the references."""

from __future__ import annotations

import io
from typing import Any

from autoopt.core.records import Status, TrialRecord
from autoopt.study.result import StudyResult

INK, DIM, FRONT, WARN, REFERENCE = "#22303c", "#a8b4bf", "#d1495b", "#e0a030", "#2a7f9e"


def front_picture(result: StudyResult) -> bytes:
    """A PNG of the p25 latency (ms, log axis) against the primary metric on val.

    Shows the front as steps, the other complete trials, those that break a limit, the limits, and the two references.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.6), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    _scatter(axes, result, [r for r in result.judged if r.status is Status.INFEASIBLE], "breaks a limit", WARN, "x", 30)
    _scatter(axes, result, list(result.complete), "complete", DIM, "o", 26)
    if result.front:
        x, y = _points(result, list(result.front))
        axes.step(x, y, where="post", color=FRONT, linewidth=1.4, alpha=0.7, zorder=3)
        axes.scatter(x, y, s=60, color=FRONT, zorder=4, label=f"front ({len(x)})", edgecolor="white", linewidth=0.8)
    for record, marker in ((result.reference, "s"), (result.openvino_f32, "D")):
        if record is not None:
            _scatter(axes, result, [record], record.label, REFERENCE, marker, 64)
    _limits(axes, result)
    _decorate(axes, result)
    stream = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(stream, format="png")
    return stream.getvalue()


def _points(result: StudyResult, records: list[TrialRecord]) -> tuple[list[float], list[float]]:
    """The latencies in ms and the primary metrics of the records."""
    numbers = [result.headline(record) for record in records]
    return [n["latency_p25_ms"] for n in numbers], [n[result.card.primary] for n in numbers]


def _scatter(
    axes: Any, result: StudyResult, records: list[TrialRecord], label: str, color: str, marker: str, size: int
) -> None:
    records = [record for record in records if record.measurement is not None and record.quality is not None]
    if records:
        x, y = _points(result, records)
        axes.scatter(x, y, s=size, color=color, marker=marker, label=label, zorder=2 if color != REFERENCE else 5)


def _limits(axes: Any, result: StudyResult) -> None:
    limits, reference = result.card.limits, result.reference
    if "drop" in limits and reference is not None and reference.quality is not None:
        floor = reference.quality.value - limits["drop"]
        axes.axhline(floor, color=WARN, linewidth=0.9, linestyle="--", label=f"drop of {limits['drop']:g}")
    if "latency_s" in limits:
        axes.axvline(limits["latency_s"] * 1e3, color=WARN, linewidth=0.9, linestyle=":", label="latency limit")


def _decorate(axes: Any, result: StudyResult) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    card = result.card
    failed = sum(record.status is Status.FAILED for record in result.records)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 3, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(f"latency per {result.card.latency}, p25 (ms)", color=INK)
    axes.set_ylabel(f"{card.primary} on val", color=INK)
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
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8, loc="lower right")
