"""All trials of a study as one table that can be filtered and sorted."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from autoopt.core.records import Status, TrialRecord
from autoopt.report.page.doubts import Doubt, by_trial, doubts_of
from autoopt.report.page.html import Cell, Child, Row, details, element, joined, paragraph, table
from autoopt.report.page.reasons import log_end, reason
from autoopt.report.page.subject import Subject
from autoopt.report.page.words import other_objectives
from autoopt.study.intervals import ITSELF
from autoopt.study.number import PRIMARY, Comparison, Number
from autoopt.study.numbers import NUMBERS
from autoopt.study.result import StudyResult
from autoopt.study.words import in_words

SHOWN = ("latency_p25_ms", PRIMARY, "drop", "size_mb")
"""The numbers that always have a column, by key."""
TEXTS = (1, 2, 3)
"""The columns that hold text."""


def render(subject: Subject) -> Markup:
    """What can be filtered by, and the table."""
    result = subject.result
    beside = Comparison(result.reference, result.openvino_f32, result.best_float, sigma=result.sigma)
    front = {record.number for record in result.front}
    doubts = by_trial(doubts_of(result))
    rows = [_row(result, record, beside, front, doubts.get(record.number, ())) for record in result.judged]
    titles = [number.column.title.format(primary=result.card.primary) for number in _numbers(result) if number.column]
    header = ["trial", "configuration", "origin", "status", *titles, "on front", "doubts"]
    shown = table(header, rows, caption=f"All {len(rows)} trials", texts=TEXTS, anchor="trials-table")
    return joined(
        [
            _filters(result.judged),
            paragraph(
                "Below a latency and a metric their 95 % interval, below a drop what it is at most (one-sided, 95 %). "
                "The numbers of doubts lead to what they say.",
                class_="note",
            ),
            shown,
        ]
    )


def _numbers(result: StudyResult) -> list[Number]:
    """The numbers that have a column: those of `SHOWN`, and what else is an objective."""
    return [*(NUMBERS[key] for key in SHOWN), *other_objectives(result)]


def _filters(records: Sequence[TrialRecord]) -> Markup:
    """A text box and a box to tick for each status that occurs; of use with script only, which shows them."""
    boxes: list[Child] = []
    for status in Status:
        count = sum(record.status is status for record in records)
        if count:
            box = Markup('<input type="checkbox" name="status" value="{}" checked>').format(status.value)
            boxes.append(element("label", box, f" {status.value} ({count})"))
    front = element("label", Markup('<input type="checkbox" name="only">'), " front only")
    text = element("label", "Filter ", Markup('<input type="search" name="words" placeholder="int8 2 threads">'))
    said = element("output", aria_live="polite")
    return element("form", text, *boxes, front, said, id="trials-filter", class_="filter", hidden=True)


def _row(result: StudyResult, record: TrialRecord, beside: Comparison, front: set[int], doubts: Sequence[Doubt]) -> Row:
    on_front = record.number in front
    cells: list[Child | Cell] = [
        Cell(f"#{record.number}", record.number),
        _configuration(result, record),
        record.origin,
        _status(result, record),
        *(_cell(number, record, beside) for number in _numbers(result)),
        Cell("front" if on_front else "", int(on_front)),
        Cell(_doubts(doubts), len(doubts)),
    ]
    style = f"{record.status.value} on-front" if on_front else record.status.value
    return Row(cells, number=record.number, anchor=f"t{record.number}", class_=style)


def _configuration(result: StudyResult, record: TrialRecord) -> str:
    words = in_words(record.configuration)
    named = f"{record.label}\n{words}" if record.label and record.label != words else words
    first = result.duplicates.get(record.number)
    return named if first is None else f"{named}\nruns what #{first} runs: counted there"


def _status(result: StudyResult, record: TrialRecord) -> Child:
    text = reason(result, record)
    failure = record.failure
    if failure is None:
        return f"{record.status.value}\n{text}" if text else record.status.value
    log = log_end(failure)
    shown = [element("p", failure.message), element("pre", log) if log else None]
    return joined([record.status.value, details(element("small", text), *shown)])


def _cell(number: Number, record: TrialRecord, beside: Comparison) -> Cell:
    """The number, below it its interval; "?" where it should have one, nothing where it has none by nature."""
    column, value = number.column, number.of(record, beside)
    if column is None or value is None:
        return Cell("-")
    ends = [NUMBERS[key].of(record, beside) for key in column.below]
    text, sort = column.format.format(value), float(f"{value:.6g}")
    if not ends or number.why_no_interval(record, beside) == ITSELF:
        return Cell(text, sort)
    known = [column.below_format.format(end) for end in ends if end is not None]
    if len(known) < len(ends):
        return Cell(f"{text}\n?", sort)
    return Cell(f"{text}\n{'-'.join(known) if len(known) > 1 else f'<= {known[0]}'}", sort)


def _doubts(doubts: Sequence[Doubt]) -> Markup:
    links: list[Child] = []
    for doubt in doubts:
        links += [" " if links else None, element("a", doubt.number, href=f"#{doubt.anchor}")]
    return joined(links)
