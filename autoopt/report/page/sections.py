"""The sections of a page, in the order of a decision. A new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from markupsafe import Markup

from autoopt.report.page import front_table, picks, scatter, verdict
from autoopt.report.page.subject import Subject


@dataclass(frozen=True)
class Section:
    """A part of the page: its anchor, its heading, and what renders it (empty: it is left out)."""

    anchor: str
    heading: str
    render: Callable[[Subject], Markup]


SECTIONS: tuple[Section, ...] = (
    Section("verdict", "Verdict", verdict.render),
    Section("picks", "What to take", picks.render),
    Section("scatter", "Latency against quality", scatter.render),
    Section("front", "The front", front_table.render),
)
