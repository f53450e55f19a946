"""Small plots that stand in a cell of a table: the numbers beside them say the same, so readers aloud skip them."""

from __future__ import annotations

from markupsafe import Markup

from autoopt.report.evidence_losses import SHOWN_DIGITS
from autoopt.report.page.html import element

WIDTH, HEIGHT, EDGE = 180, 18, 7
"""Of a plot, in pixels; `EDGE` is kept free on both sides for the marks."""
MIDDLE = HEIGHT // 2
WORSE, BETTER = "var(--c1, #D55E00)", "var(--c2, #009E73)"
"""Okabe and Ito's vermillion and green; the mark of what became worse has another shape, too."""


class Scale:
    """From values to places: `low` and `high` are the least and the greatest value that is drawn."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high, self._span = low, high, (high - low) or 1.0

    @property
    def title(self) -> str:
        """What the plots span, for the head of their column."""
        return f"{minus(self.low)} to {minus(self.high)}"

    def place(self, value: float) -> str:
        """The place of a value in a plot, in pixels."""
        share = min(1.0, max(0.0, (value - self.low) / self._span))
        return f"{EDGE + share * (WIDTH - 2 * EDGE):.1f}"


def change_plot(before: float, after: float, scale: Scale, *, worse: bool) -> Markup:
    """A ring for the value before, joined with the mark of the value after: a diamond where worse, else a disc."""
    first, second, colour = scale.place(before), scale.place(after), WORSE if worse else BETTER
    line = element("line", x1=first, x2=second, y1=MIDDLE, y2=MIDDLE, style=f"stroke:{colour}", stroke_width=3)
    ring = element("circle", cx=first, cy=MIDDLE, r=4, fill="none", stroke="currentColor", stroke_width="1.5")
    return _plot(line, ring, _mark(second, colour, worse=worse))


def loss_plot(lost: float, upper: float | None, scale: Scale) -> Markup:
    """A mark for a mean loss, a line on to its bound, and an upright line where nothing is lost."""
    place, colour, zero = scale.place(lost), WORSE if lost > 0 else BETTER, scale.place(0.0)
    nothing = element("line", x1=zero, x2=zero, y1=1, y2=HEIGHT - 1, stroke="currentColor", stroke_opacity="0.4")
    bound = None
    if upper is not None:
        line = f"M{place} {MIDDLE}H{scale.place(upper)}m0 -4v8"
        bound = element("path", d=line, style=f"stroke:{colour}", stroke_width=2, fill="none")
    return _plot(nothing, bound, _mark(place, colour, worse=lost > 0))


def _mark(place: str, colour: str, *, worse: bool) -> Markup:
    if worse:
        return element("path", d=f"M{place} {MIDDLE - 5}l5 5l-5 5l-5 -5z", style=f"fill:{colour}")
    return element("circle", cx=place, cy=MIDDLE, r=4, style=f"fill:{colour}")


def _plot(*children: Markup | None) -> Markup:
    box = f"0 0 {WIDTH} {HEIGHT}"
    return element("svg", *children, viewBox=box, width=WIDTH, height=HEIGHT, class_="small-plot", aria_hidden="true")


def scored(value: float) -> str:
    """A score in the digits that are shown."""
    return f"{value:.{SHOWN_DIGITS}f}"


def minus(value: float) -> str:
    """A score with a minus where it is below zero; what rounds to nothing has none."""
    text = scored(abs(value))
    return f"\N{MINUS SIGN}{text}" if value < 0 and float(text) else text


def signed(value: float) -> str:
    """A difference of scores with its sign, such as +0.0012; what rounds to nothing has none."""
    text = minus(value)
    return f"+{text}" if value > 0 and float(text) else text
