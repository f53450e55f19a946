"""The front of a study as JSON, CSV and Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoopt.core.records import TrialRecord
from autoopt.report.csv_text import csv_text
from autoopt.study.numbers import NUMBERS, Column
from autoopt.study.result import StudyResult
from autoopt.study.short_names import describe


def front_json(result: StudyResult) -> dict[str, Any]:
    """The front as plain JSON: study, limits, members with configuration and headline numbers."""
    card = result.card
    return {
        "study": card.name,
        "workload": card.workload,
        "demo": card.demo,
        "host": {"fingerprint": card.host.fingerprint, "cpu": card.host.cpu},
        "limits": dict(card.limits),
        "reference": None if result.reference is None else result.reference.label,
        "stand_in": result.stand_in,
        "weights_remark": card.weights_remark,
        "objectives": list(card.objectives),
        "trials": len(result.records),
        "front": [
            {
                "trial": record.number,
                "label": record.label,
                "configuration": record.configuration.sections(),
                "tied_with": result.ties[record.number] if result.ties[record.number] != record.number else None,
                "held_on_test": result.confirmed_on_test(record),
                **result.headline(record),
            }
            for record in result.front
        ],
    }


def front_csv(result: StudyResult) -> str:
    """The front as CSV: one row a member, flat configuration and headline numbers; `demo` in every row."""
    rows = [
        {"trial": r.number, "demo": result.card.demo, **r.configuration.flat(), **result.headline(r)}
        for r in result.front
    ]
    names = list(dict.fromkeys(name for row in rows for name in row)) or ["trial"]
    return csv_text(names, ([row.get(name) for name in names] for row in rows))


def front_markdown(result: StudyResult) -> str:
    """The front as a Markdown table with the references below it: speed-ups, drop, memory, size."""
    card = result.card
    limits = ", ".join(f"{name} <= {value:g}" for name, value in sorted(card.limits.items())) or "none"
    header = columns(result)
    members = [*front_rows(result), *reference_rows(result)]
    lines = [
        f"### Pareto front of {card.title}",
        "",
        f"study {card.name}, {len(result.records)} trials, limits: {limits}; {card.host.cpu}, {card.host.cores} cores",
        *(text for text in (result.stand_in, card.weights_remark) if text),
        "",
        f"| {' | '.join(header)} |",
        f"| --- | --- {'| ---: ' * (len(header) - 2)}|",
        *(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |" for cells in members),
    ]
    return "\n".join(lines) + "\n"


def columns(result: StudyResult) -> tuple[str, ...]:
    """The header of the rows of `front_rows` and `reference_rows`."""
    titles = (column.title.format(primary=result.card.primary) for _, column in _columns(result))
    return ("trial", "configuration", *titles)


def front_rows(result: StudyResult) -> list[list[str]]:
    """The members of the front as formatted cells, fastest first."""
    return [_cells(result, record, describe(record.configuration)) for record in result.front]


def reference_rows(result: StudyResult) -> list[list[str]]:
    """The references that are not on the front themselves, as formatted cells."""
    shown = {record.number for record in result.front}
    rows = []
    for record in (result.reference, result.openvino_f32):
        if record is not None and record.number not in shown:
            shown.add(record.number)
            rows.append(_cells(result, record, f"{record.label} (reference)"))
    return rows


def _cells(result: StudyResult, record: TrialRecord, name: str) -> list[str]:
    numbers = result.headline(record)
    values = [_cell(numbers, key, column) for key, column in _columns(result)]
    if result.confirmed_on_test(record) is False:
        name = f"{name} (did not hold on test)"
    tie = result.ties.get(record.number)
    if tie is not None and tie != record.number:
        name = f"{name} (tied with #{tie})"
    return [f"#{record.number}", name, *values]


def _columns(result: StudyResult) -> list[tuple[str, Column]]:
    """The numbers that have a column, by key."""
    return [(number.name(result.card.primary), number.column) for number in NUMBERS.values() if number.column]


def _cell(numbers: Mapping[str, float], key: str, column: Column) -> str:
    if key not in numbers or (column.to and column.to not in numbers):
        return "-"
    text = column.format.format(numbers[key])
    return f"{text}-{column.format.format(numbers[column.to])}" if column.to else text
