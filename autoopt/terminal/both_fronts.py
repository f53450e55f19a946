"""Two fronts as one table: each model with its numbers on both targets, and where it is a member."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from autoopt.core.card import LINKED
from autoopt.core.records import TrialRecord
from autoopt.core.urls import without_secrets
from autoopt.report.number_text import counted
from autoopt.study.linked import BothFronts, There
from autoopt.study.result import StudyResult
from autoopt.study.words import in_words
from autoopt.terminal.console import console_of, width_of, wrapped

LETTERS = ("A", "B")


@dataclass(frozen=True)
class Row:
    """One model: its trials on both targets, None where it was not measured, and where it has a place on the front."""

    trials: tuple[TrialRecord | None, TrialRecord | None]
    on: tuple[bool, bool]


def both_fronts(found: BothFronts, *, brief: bool = False) -> None:
    """Print how much of each front stays on the other one; unless `brief` also the table, and why what goes goes."""
    console = console_of()
    width = width_of(console)
    for line in _about(found):
        wrapped(console, line, width)
    wrapped(console, summary(found), width)
    if brief:
        return
    if rows := rows_of(found):
        Console(highlight=False, markup=False, width=width).print(_table(found, rows))
    for text in reasons(found):
        wrapped(console, text, width)


def summary(found: BothFronts) -> str:
    """How many members stay, in one sentence."""
    first, second = found.members
    one, other = (f"{sum(item.stays for item in items)} of {len(items)}" for items in (first, second))
    return f"On both fronts: {one} members of A's front have a place on B's, {other} of B's on A's."


def rows_of(found: BothFronts) -> list[Row]:
    """The members of both fronts, each pair of trials once, in the order of their latency on the first target."""
    rows: dict[tuple[int | None, int | None], Row] = {}
    for place, items in enumerate(found.members):
        for item in items:
            trials, on = (item.member, item.there), (True, item.stays)
            one, other = (trials, on) if place == 0 else (trials[::-1], on[::-1])
            first, second = one
            key = (None if first is None else first.number, None if second is None else second.number)
            before = rows.get(key)
            also = (False, False) if before is None else before.on
            rows[key] = Row((first, second), (other[0] or also[0], other[1] or also[1]))
    return sorted(rows.values(), key=_latency)


def reasons(found: BothFronts) -> list[str]:
    """Why what does not stay goes, a line each."""
    return [
        f"{here}#{item.member.number} is no member on {there}: {_words(item, there)}"
        for here, there, items in zip(LETTERS, reversed(LETTERS), found.members, strict=True)
        for item in items
        if not item.stays
    ]


def _words(item: There, there: str) -> str:
    """The reasons, other trials with the letter of their study."""
    return "; ".join(f"{there}{reason}" if reason.startswith("#") else reason for reason in item.reasons)


def _about(found: BothFronts) -> Iterator[str]:
    for letter, study in zip(LETTERS, found.studies, strict=True):
        card = study.card
        target = without_secrets(str(card.origin.get("target") or "this machine"))
        yield f"{letter}: study {card.name} on {target} ({card.host.cpu}, {counted(card.host.cores, 'core')})"
    first, second = (study.card for study in found.studies)
    if first.origin.get(LINKED) != second.name:
        yield "These two were not searched together: what is not measured on both stays unknown."


def _table(found: BothFronts, rows: list[Row]) -> Table:
    primary = found.first.card.primary
    table = Table()
    for title in (*LETTERS, "configuration", *(f"{letter} p25 ms" for letter in LETTERS)):
        table.add_column(title, justify="left" if title in ("configuration", *LETTERS) else "right", overflow="fold")
    for letter in LETTERS:
        table.add_column(f"{letter} {primary}", justify="right")
    table.add_column("member on")
    for row in rows:
        one, other = row.trials
        shown = one or other
        assert shown is not None
        table.add_row(
            *("-" if record is None else f"#{record.number}" for record in row.trials),
            in_words(shown.configuration),
            *(_number(study, record, "latency_p25_ms", "{:.2f}") for study, record in _beside(found, row)),
            *(_number(study, record, primary, "{:.4f}") for study, record in _beside(found, row)),
            "both" if all(row.on) else LETTERS[row.on.index(True)],
        )
    return table


def _beside(found: BothFronts, row: Row) -> list[tuple[StudyResult, TrialRecord | None]]:
    return list(zip(found.studies, row.trials, strict=True))


def _number(study: StudyResult, record: TrialRecord | None, key: str, form: str) -> str:
    value = None if record is None else study.headline(record).get(key)
    return "-" if value is None else form.format(value)


def _latency(row: Row) -> float:
    known = [record for record in row.trials if record is not None and record.measurement is not None]
    return known[0].measured.latency_p25_s
