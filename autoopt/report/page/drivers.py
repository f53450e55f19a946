"""What drives the objectives: the importance of the settings, side by side."""

from __future__ import annotations

from markupsafe import Markup

from autoopt.report.number_text import percent
from autoopt.report.page.html import Child, element, joined, paragraph
from autoopt.report.page.parallel import parallel_coordinates
from autoopt.report.page.subject import Subject
from autoopt.report.page.svg import figure, text
from autoopt.study.importance import Importance, importances

MOST_SETTINGS = 10
"""Settings that have a bar, the most important ones."""
WIDTH, NAME, ROW, VALUE = 370, 150, 24, 54
"""Of a figure: its width, the space for names, the height of a bar, the space for its number."""


def render(subject: Subject) -> Markup:
    """A figure for each objective, then the trials as lines over their settings."""
    found = importances(subject.result)
    return joined(
        [
            element("div", *map(_objective, found), class_="pair"),
            paragraph(
                "Mean decrease in impurity of a random forest (optuna.importance): how much of the differences between "
                "trials a setting accounts for. It says nothing of the direction: the lines below do.",
                class_="note",
            )
            if any(item.shares for item in found)
            else None,
            parallel_coordinates(subject.result, found),
        ]
    )


def _objective(found: Importance) -> Markup:
    heading = element("h3", found.objective)
    if not found.shares:
        return element("div", heading, paragraph(f"{found.why_not[:1].upper()}{found.why_not[1:]}."))
    said = (
        f"Of {found.trials} trials; the settings foretell {percent(found.explained)} of the differences between them "
        "(each trial from the others)."
    )
    return element("div", heading, _bars(found), paragraph(said, class_="note"))


def _bars(found: Importance) -> Markup:
    shown = list(found.shares.items())[:MOST_SETTINGS]
    most = max(share for _, share in shown) or 1.0
    parts: list[Child] = []
    for place, (name, share) in enumerate(shown):
        top = place * ROW + 4
        width = share / most * (WIDTH - NAME - VALUE)
        bar: dict[str, Child] = {"x": NAME, "y": top, "width": f"{max(width, 0.5):.1f}", "height": ROW - 8}
        parts += [
            text(NAME - 8, top + 12, name, "end"),
            element("rect", **bar, class_="share"),
            text(NAME + width + 6, top + 12, percent(share)),
        ]
    words = ", ".join(f"{name} {percent(share)}" for name, share in shown)
    title = f"Importance for {found.objective}: {words}"
    return figure(*parts, title=title, width=WIDTH, height=len(shown) * ROW + 4)
