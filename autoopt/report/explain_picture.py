"""An explanation as a picture: the time of each trial by precision, and its slowest layers."""

from __future__ import annotations

import io
from typing import Any

from autoopt.inference.runtimes.layers import Layer
from autoopt.measure.profiling import CONVERSIONS, UNKNOWN
from autoopt.report.explanation import PRECISION_WORDS, Explanation, Side
from autoopt.report.layer_pairs import clean_name
from autoopt.report.number_text import milliseconds, percent

INK, DIM = "#22303c", "#a8b4bf"
COLORS = {"i8": "#2a7f9e", "bf16": "#6a4c93", "f16": "#8f7fc0", "f32": "#e0a030", UNKNOWN: DIM, CONVERSIONS: "#d1495b"}
HATCH = "////"
BOX = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.75}
LAYERS = 25
"""How many of the slowest layers are drawn."""
_LABEL_LETTERS = 38


def explain_picture(explanation: Explanation) -> bytes:
    """A PNG: the shares of time by precision at the top, the slowest layers of each trial below.

    Conversions are hatched. All layers have one scale, so that lengths compare between the two columns.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sides = explanation.sides
    rows = max(1, max(min(LAYERS, len(side.profile.layers)) for side in sides))
    figure = Figure(figsize=(7.6 * len(sides), 2.6 + 0.26 * rows), dpi=110, layout="constrained")
    grid = figure.add_gridspec(2, len(sides), height_ratios=[0.5 + 0.35 * len(sides), 0.26 * rows + 0.6])
    _shares(figure.add_subplot(grid[0, :]), sides)
    longest = max((layer.seconds for side in sides for layer in side.profile.layers), default=0.0)
    for column, side in enumerate(sides):
        _bars(figure.add_subplot(grid[1, column]), side, longest, rows, _names(explanation))
    figure.suptitle(_title(explanation), x=0.01, ha="left", fontsize=12, color=INK, weight="bold")
    stream = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(stream, format="png")
    return stream.getvalue()


def _title(explanation: Explanation) -> str:
    card = explanation.study.card
    numbers = " and ".join(f"#{side.record.number}" for side in explanation.sides)
    return f"{card.title}: where the time of {numbers} goes ({card.host.cpu}, {card.host.cores} cores)"


def _shares(axes: Any, sides: tuple[Side, ...]) -> None:
    """One stacked bar per trial; its length is the time of all layers."""
    from matplotlib.patches import Patch

    for row, side in enumerate(sides):
        left, total = 0.0, side.profile.layers_s * 1e3
        for name, share in side.profile.shares.items():
            width = share * total
            axes.barh(row, width, left=left, color=COLORS[name], hatch=_hatch(name == CONVERSIONS), edgecolor="white")
            if share >= 0.06:
                axes.text(
                    left + width / 2, row, percent(share), ha="center", va="center", fontsize=9, color=INK, bbox=BOX
                )
            left += width
        axes.text(left, row, f" {milliseconds(side.profile.layers_s)} ms", va="center", fontsize=9, color=INK)
    axes.set_yticks(range(len(sides)), [_short(side.title, _LABEL_LETTERS) for side in sides], fontsize=9)
    axes.invert_yaxis()
    axes.margins(x=0.08)
    axes.set_xlabel("ms of all layers", fontsize=9, color=INK)
    there = [name for name in PRECISION_WORDS if any(name in side.profile.shares for side in sides)]
    patches = [
        Patch(facecolor=COLORS[name], hatch=_hatch(name == CONVERSIONS), edgecolor="white", label=PRECISION_WORDS[name])
        for name in there
    ]
    if patches:
        axes.legend(
            handles=patches, frameon=False, fontsize=9, ncols=len(patches), loc="lower right", bbox_to_anchor=(1, 1)
        )
    _plain(axes)


def _names(explanation: Explanation) -> dict[Layer, str]:
    """One name for the same work in both columns, whatever each runtime calls its layer."""
    return {
        layers[0]: pair.name for pair in explanation.pairs for layers in (pair.mine, pair.theirs) if len(layers) == 1
    }


def _bars(axes: Any, side: Side, longest: float, rows: int, names: dict[Layer, str]) -> None:
    """The slowest layers of one trial, slowest at the top."""
    slowest = sorted(side.profile.layers, key=lambda layer: -layer.seconds)[:LAYERS]
    for row, layer in enumerate(slowest):
        color = COLORS[layer.precision or UNKNOWN]
        axes.barh(
            row, layer.seconds * 1e3, color=color, hatch=_hatch(layer.conversion), edgecolor="white", linewidth=0.4
        )
        text = f" {milliseconds(layer.seconds)}  {layer.kernel}"
        axes.text(layer.seconds * 1e3, row, text, va="center", fontsize=7, color=INK)
    axes.set_yticks(range(len(slowest)), [_label(layer, names) for layer in slowest], fontsize=7)
    axes.set_ylim(rows - 0.4, -0.6)
    axes.set_xlim(0, max(longest * 1e3 * 1.35, 1e-6))
    number, call = side.record.number, milliseconds(side.profile.call_s)
    recorded = "" if side.recorded_s is None else f", recorded {milliseconds(side.recorded_s)} ms"
    axes.set_title(f"#{number}: a call {call} ms{recorded}", loc="left", fontsize=10, color=INK)
    axes.set_xlabel("ms, with the executed kernel", fontsize=9, color=INK)
    _plain(axes)


def _label(layer: Layer, names: dict[Layer, str]) -> str:
    return _short(names.get(layer, clean_name(layer.name)), _LABEL_LETTERS)


def _short(text: str, letters: int) -> str:
    """The text cut to `letters` in the middle: names of layers differ at their end more than at their beginning."""
    if len(text) <= letters:
        return text
    head = letters // 3
    return f"{text[:head]}…{text[-(letters - head - 1) :]}"


def _hatch(conversion: bool) -> str:
    return HATCH if conversion else ""


def _plain(axes: Any) -> None:
    axes.grid(axis="x", alpha=0.18)
    for name in ("top", "right"):
        axes.spines[name].set_visible(False)
