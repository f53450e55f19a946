"""The members of the front as a table, what they are compared with below, and what the columns need beside them."""

from __future__ import annotations

from markupsafe import Markup

from autoopt.core.records import TrialRecord
from autoopt.report.page.html import Cell, Row, bullets, details, element, joined, table, trial_link
from autoopt.report.page.subject import Subject
from autoopt.report.page.words import named, other_objectives
from autoopt.report.tables import columns, front_notes, front_rows, reference_rows, row_of
from autoopt.study.number import PRIMARY
from autoopt.study.numbers import NUMBERS
from autoopt.study.result import StudyResult

SHOWN = ("latency_p25_ms", "speedup_vs_openvino_f32", PRIMARY, "drop", "test_drop", "size_mb")
"""The keys of the numbers that have a column, beside the trial and its configuration."""
ROLES = ("reference", "best float", "control")


def render(subject: Subject) -> Markup:
    """The table with its notes; nothing where the front is empty."""
    result = subject.result
    if not result.front:
        return Markup("")
    keys = titles_of(result)
    header = ("trial", "configuration", *keys.values())
    known = {record.number: record for record in result.judged}
    beside = [(known[int(cells[0].removeprefix("#"))], cells) for cells in reference_rows(result)]
    members = [
        _row(result, record, cells, keys) for record, cells in zip(result.front, front_rows(result), strict=True)
    ]
    rows = [_row(result, record, cells, keys, role=_role(cells[1])) for record, cells in beside]
    made = table(header, members, caption="The front, fastest first", texts=(1,))
    references = table(header, rows, caption="What it is compared with", texts=(1,)) if rows else None
    return joined([made, references, details("How to read the columns", bullets(front_notes(result, keys.values())))])


def titles_of(result: StudyResult) -> dict[str, str]:
    """The keys of `SHOWN` and of the other objectives that the tables of this study have, to their titles."""
    titles = {}
    for key in (*SHOWN, *(number.key for number in other_objectives(result))):
        column = NUMBERS[key].column
        title = "" if column is None else column.title.format(primary=result.card.primary)
        if title in columns(result):
            titles[NUMBERS[key].name(result.card.primary)] = title
    return titles


def cells_of(result: StudyResult, record: TrialRecord) -> list[Cell]:
    """The numbers of any trial for the columns of `titles_of`."""
    return _values(result, record, row_of(result, record), titles_of(result))


def _values(result: StudyResult, record: TrialRecord, cells: list[str], keys: dict[str, str]) -> list[Cell]:
    numbers, places = result.headline(record), {title: place for place, title in enumerate(columns(result))}
    return [Cell(cells[places[title]], numbers.get(key)) for key, title in keys.items()]


def _role(name: str) -> str:
    """What a row is compared as, which tables.py says in brackets after its name."""
    return next((role for role in ROLES if f"({role})" in name), "")


def _row(result: StudyResult, record: TrialRecord, cells: list[str], keys: dict[str, str], *, role: str = "") -> Row:
    values = _values(result, record, cells, keys)
    name = f"{named(record)} ({role})" if role else named(record)
    remarks = []
    leader = result.ties.get(record.number, record.number)
    if leader != record.number:
        remarks.append(f"not told apart from #{leader}")
    if result.confirmed_on_test(record) is False:
        remarks.append("lost more on test than allowed")
    remark = element("small", "; ".join(remarks), class_="doubt") if remarks else None
    trial = Cell(trial_link(record.number), record.number)
    return Row([trial, Cell(joined([name, remark]), name), *values], record.number)
