"""A training study as a picture: training time against quality, the area of a mark is the memory."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from autoopt.compress.training_study import TrainingStudy
from autoopt.nets.training_arms import ARMS
from autoopt.report.training_text import QUALITY, Line, lines_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = ("#22303c", "#2a7f9e", "#b9770e", "#5a8f3c", "#8a5aa8", "#d1495b")
"""Of the arms, in their order."""
LARGEST, SMALLEST = 420.0, 30.0
"""Areas of marks in square points: of the most memory, and the least that can be seen."""


def training_picture(study: TrainingStudy) -> bytes:
    """A PNG; see `draw`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = draw(study)
    stream = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(stream, format="png")
    return stream.getvalue()


def draw(study: TrainingStudy) -> Figure:
    """Each line of the table as a mark with its spreads; on the front they have a ring."""
    from matplotlib.figure import Figure

    lines = [line for line in lines_of(study) if line.seeds]
    figure = Figure(figsize=(9, 5.6), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    most = max((line.numbers["added_mb"][0] for line in lines), default=0.0) or 1.0
    for arm, color in zip(ARMS, COLORS, strict=True):
        own = [line for line in lines if line.arm == arm]
        for line in own:
            _mark(axes, line, color, most)
        if own:
            axes.scatter([], [], color=color, label=ARMS[arm].title)
    axes.set_xscale("log")
    axes.set_xlabel("training s (logarithmic); the area of a mark is the memory")
    axes.set_ylabel(f"{study.metric} on val{' (less is better)' if study.less_is_better else ''}")
    axes.set_title(study.title, loc="left", fontsize=10)
    axes.grid(alpha=0.2)
    if lines:
        axes.legend(frameon=False, fontsize=8)
    return figure


def _mark(axes: Axes, line: Line, color: str, most_mb: float) -> None:
    (x, x_spread), (y, y_spread) = line.numbers["train_s"], line.numbers[QUALITY]
    area = SMALLEST + (LARGEST - SMALLEST) * line.numbers["added_mb"][0] / most_mb
    left = min(x_spread or 0.0, 0.9 * x)  # there is no zero on a logarithmic axis
    axes.errorbar([x], [y], xerr=[[left], [x_spread or 0.0]], yerr=y_spread or 0.0, color=color, linewidth=1, alpha=0.6)
    axes.scatter([x], [y], s=area, color=color, alpha=0.75, edgecolors="black" if line.on_front else "none", zorder=3)
    axes.annotate(line.network, (x, y), textcoords="offset points", xytext=(0, 14), ha="center", fontsize=7)
