"""The sections of a page, in the order of a decision. A new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from markupsafe import Markup

from autoopt.report.page import (
    arms,
    doubts,
    drivers,
    front_table,
    patients,
    picks,
    repeat,
    scatter,
    subgroups,
    timeline,
    trials_table,
    verdict,
    where_time_goes,
    worst_cases,
)
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
    Section("arms", "The arms beside the front", arms.render),
    Section("cases", "Worst cases", worst_cases.render),
    Section("patients", "Worst patients", patients.render),
    Section("subgroups", "Labels and subgroups", subgroups.render),
    Section("time", "Where the time goes", where_time_goes.render),
    Section("drivers", "What drives it", drivers.render),
    Section("trials", "All trials", trials_table.render),
    Section("timeline", "Timeline", timeline.render),
    Section("doubts", "Doubts", doubts.render),
    Section("repeat", "How to repeat", repeat.render),
)
