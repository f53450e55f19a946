"""Where the time of a member of the front goes, beside the same in float: before the network, its layers, after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from autoopt.core.records import TrialRecord
from autoopt.report.evidence_profile import AFTER, BEFORE, CONVERSIONS, PROFILES, KeptProfile, KeptSide
from autoopt.report.next_commands import trial_command
from autoopt.report.number_text import milliseconds, ms, percent
from autoopt.report.page.html import Cell, Row, bullets, command, details, element, paragraph, table
from autoopt.report.page.subject import Subject
from autoopt.report.page.svg import figure, text
from autoopt.report.shown_members import shown_members
from autoopt.study.words import row_name

MOST_KINDS = 6
OTHERS = "other layers"
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
"""Okabe and Ito's for kinds of layers, in their order; numbers in the bars say the same."""
OUTSIDE = {BEFORE: "#999999", AFTER: "#666666", CONVERSIONS: "#B5A08A", OTHERS: "#BBBBBB"}
WIDTH, BAR, STEP = 760, 26, 56
NUMBERED = 0.025
"""A part of a bar that is a smaller share of the longest has no number in it."""


def render(subject: Subject) -> Markup:
    """Bars and a table for the balanced and the fastest member; where nothing is kept, the command that finds out."""
    found = subject.evidence.get(PROFILES, {})
    kept, parts = found if isinstance(found, Mapping) else {}, []
    members = shown_members(subject.result)
    for policy, record in members:
        if isinstance(profile := kept.get(record.number), KeptProfile):
            parts.append(element("h3", f"{policy.capitalize()}: {row_name(record)}"))
            parts.append(_one(profile))
    if members and members[0][1].number not in kept:
        parts.insert(0, _missing(subject, members[0][1], found if isinstance(found, str) else ""))
    return Markup("").join(parts)


def _missing(subject: Subject, record: TrialRecord, why: str) -> Markup:
    typed = trial_command("explain", subject.result.card.name, record.number, subject.place)
    told = why or f"Where the time of {row_name(record)} goes was not profiled yet."
    return paragraph(f"{told} This finds out, the next report shows it:") + command(typed, name="autoopt explain")


def _one(profile: KeptProfile) -> Markup:
    columns = [side.parts for side in profile.sides]
    names = _names(columns)
    columns = [_gathered(parts, names) for parts in columns]
    what = "a case of median size" if profile.of_cases else "a call of the network"
    return (
        _bars(profile.sides, columns, names, what)
        + _table(profile.sides, columns, names, what)
        + details("In words", bullets(profile.sentences))
        + paragraph(*(f"Note: {note}. " for note in profile.notes), f"Profiled on {profile.taken}.")
    )


def _names(columns: Sequence[Mapping[str, float]]) -> list[str]:
    """The parts in the order of a case; of the layers the kinds that take longest in any trial, then the others."""
    longest: dict[str, float] = {}
    for parts in columns:
        for name, seconds in parts.items():
            longest[name] = max(seconds, longest.get(name, 0.0))
    kinds = sorted((name for name in longest if name not in OUTSIDE), key=lambda name: -longest[name])
    wanted = [BEFORE, *kinds[:MOST_KINDS], *([OTHERS] if kinds[MOST_KINDS:] else []), CONVERSIONS, AFTER]
    return [name for name in wanted if name in longest or name == OTHERS]


def _gathered(parts: Mapping[str, float], names: Sequence[str]) -> dict[str, float]:
    """The seconds of each of `names`; what is none of them counts as other layers."""
    found = dict.fromkeys(names, 0.0)
    for name, seconds in parts.items():
        found[name if name in found else OTHERS] += seconds
    return found


def _colours(names: Sequence[str]) -> dict[str, str]:
    kinds = iter(COLOURS)
    return {name: OUTSIDE.get(name) or next(kinds) for name in names}


def _bars(sides: Sequence[KeptSide], columns: Sequence[Mapping[str, float]], names: Sequence[str], what: str) -> Markup:
    longest = max(sum(parts.values()) for parts in columns) or 1.0
    colours, drawn = _colours(names), []
    for place, (side, parts) in enumerate(zip(sides, columns, strict=True)):
        top, left = place * STEP, 0.0
        drawn.append(text(0, top + 14, f"{side.title}: {ms(sum(parts.values()))}"))
        for number, name in enumerate(names, 1):
            wide = WIDTH * parts[name] / longest
            box = {"x": f"{left:.1f}", "width": f"{wide:.1f}", "y": str(top + 20), "height": str(BAR)}
            told = element("title", f"{name}: {ms(parts[name])}")
            drawn.append(element("rect", told, **box, style=f"fill:{colours[name]};stroke:#fff;stroke-width:1"))
            if wide > NUMBERED * WIDTH:
                style = f"fill:{'#fff' if colours[name] in ('#0072B2', '#666666') else '#000'};font-size:13px"
                drawn.append(text(left + wide / 2, top + 20 + BAR / 2 + 5, str(number), "middle", style=style))
            left += wide
    title = f"Where the time of {what} goes; the numbers are those of the table"
    return figure(*drawn, title=title, width=WIDTH, height=len(sides) * STEP)


def _table(
    sides: Sequence[KeptSide], columns: Sequence[Mapping[str, float]], names: Sequence[str], what: str
) -> Markup:
    colours = _colours(names)
    header = ["part", *(f"{head} of #{side.number}" for side in sides for head in ("ms", "share"))]
    rows = []
    for number, name in enumerate(names, 1):
        swatch = element("span", class_="swatch", style=f"background:{colours[name]}", aria_hidden="true")
        cells: list[Cell] = []
        for parts in columns:
            total = sum(parts.values()) or 1.0
            cells += [Cell(milliseconds(parts[name])), Cell(percent(parts[name] / total))]
        rows.append(Row([element("span", f"{number} ", swatch, name), *cells]))
    return table(header, rows, caption=f"Where the time of {what} goes", sortable=False)
