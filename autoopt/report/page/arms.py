"""The arms of a study beside its front: dominated, tied or on it, with their numbers."""

from __future__ import annotations

from markupsafe import Markup

from autoopt.report.arms_text import arms_title, status_words
from autoopt.report.page.front_table import cells_of, titles_of
from autoopt.report.page.html import Cell, Row, paragraph, table, trial_link
from autoopt.report.page.subject import Subject
from autoopt.study.arm_results import ArmResult, arm_results
from autoopt.study.result import StudyResult

NOTE = (
    "An arm is a configuration with a name in the file of the space, tried whatever the sampler would say. It is "
    "dominated where a member of the front is at least as good in every objective and noise does not explain it (95 %)."
)


def render(subject: Subject) -> Markup:
    """A table of the arms in the order of the space file; empty where the study has none."""
    result = subject.result
    found = arm_results(result)
    if not found:
        return Markup("")
    header = ("arm", "trial", "beside the front", *titles_of(result).values())
    rows = [_row(result, arm) for arm in found]
    return paragraph(NOTE) + table(header, rows, caption=arms_title(result), texts=(2,))


def _row(result: StudyResult, arm: ArmResult) -> Row:
    record, words = arm.record, status_words(result, arm)
    if record is None:
        return Row([arm.name, "", words, *("" for _ in titles_of(result))])
    trial = Cell(trial_link(record.number), record.number)
    return Row([arm.name, trial, words, *cells_of(result, record)], record.number)
