"""The cases that lose most by deploying the balanced member, as pictures in a row: what was seen, what was answered."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat

from markupsafe import Markup

from autoopt.report.evidence_cases import WORST_CASES, CaseRow, Picture, WorstCases
from autoopt.report.evidence_pictures import GAINED, LOST, OTHERWISE, css
from autoopt.report.page.html import Row, element, paragraph, table
from autoopt.report.page.small_plots import scored
from autoopt.report.page.subject import Subject

DIFFERENCE = (
    ("only the source model is right", css(LOST)),
    ("only the chosen one is right", css(GAINED)),
    ("both are wrong in another way", css(OTHERWISE)),
)
"""The colours of the last picture; the third one needs more than one label."""


def render(subject: Subject) -> Markup:
    """A row of pictures for each case; why there are none, where that is known."""
    found = subject.evidence.get(WORST_CASES)
    if isinstance(found, WorstCases):
        return _shown(found)
    return paragraph(found) if isinstance(found, str) else Markup("")


def _shown(found: WorstCases) -> Markup:
    header = ("case", "image", "reference", f"source model (#{found.reference})", f"#{found.number}", "difference")
    caption = f"The cases of val that lose most {found.metric} with #{found.number}"
    rows = [_row(row, found.metric, header[1:]) for row in found.rows]
    made = table(header, rows, caption=caption, texts=range(1, len(header)), sortable=False)
    drawn = any(picture.data for row in found.rows for picture in row.pictures[1:])
    return element("div", made, _legend(found) if drawn else None, class_="pictures")


def _row(row: CaseRow, metric: str, titles: Sequence[str]) -> Row:
    change = f"{metric} {scored(row.before)} \N{RIGHTWARDS ARROW} {scored(row.after)}"
    name = row.id if row.group == row.id else f"{row.id}\npatient {row.group}"
    return Row([f"{name}\n{change}", *map(_cell, repeat(row.id), titles, row.pictures)])


def _cell(case: str, title: str, picture: Picture) -> Markup:
    words = element("small", picture.words) if picture.words else Markup("")
    if not picture.data:
        return words
    return element("img", src=picture.data, alt=f"{case}: {title} {picture.words}".strip()) + words


def _legend(found: WorstCases) -> Markup:
    def swatches(items: tuple[tuple[str, str], ...]) -> list[Markup]:
        return [
            element("span", class_="swatch", style=f"background:{colour}", aria_hidden="true")
            + Markup("{}").format(name)
            for name, colour in items
        ]

    differences = DIFFERENCE if len(found.colours) > 1 else DIFFERENCE[:2]
    return paragraph("Labels:", *swatches(found.colours), ". Difference:", *swatches(differences), ".", class_="note")
