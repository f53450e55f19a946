"""The table of all trials."""

from __future__ import annotations

import re
from dataclasses import replace

from autoopt.core.records import Failure, Status
from autoopt.report.page import trials_table
from autoopt.report.page.html import text_of
from autoopt.report.page.reasons import MOST_LOG, log_end, reason
from autoopt.report.page.subject import Subject
from autoopt.study.result import StudyResult
from tests.report.page.planted import planted_study


def row_of(study: StudyResult, number: int) -> str:
    """The row of a trial."""
    found = re.search(rf'<tr id="t{number}" data-n="{number}".*?</tr>', trials_table.render(Subject(study)), re.DOTALL)
    assert found is not None
    return found[0]


def test_every_trial_has_a_row() -> None:
    """The row of each trial is an anchor, and tells by its class its status and whether it is on the front."""
    study = planted_study()
    found = dict(re.findall(r'<tr id="t(\d+)" data-n="\1" class="([^"]+)"', trials_table.render(Subject(study))))
    front = {record.number for record in study.front}
    assert found == {
        str(record.number): record.status.value + (" on-front" if record.number in front else "")
        for record in study.judged
    }


def test_an_infeasible_trial_says_which_limit_it_breaks_by_how_much() -> None:
    """The limit, and by how much it is missed, stand below the status; a screened trial says of how many cases."""
    study = planted_study()
    record = study.by_number(6)
    assert record is not None and record.status is Status.INFEASIBLE
    missed = record.violated["drop"]
    assert f"infeasible<small>drop &lt;= 0.03 missed by {missed:.4f}" in row_of(study, 6)
    assert record.quality is not None
    screened = replace(record, quality=replace(record.quality, left_out=8))
    assert reason(study, screened).endswith("estimated from 12 of 20 cases")


def test_a_failed_trial_says_why() -> None:
    """Cause, stage, message and the end of the log stand in the row, as text."""
    row = row_of(planted_study(), 7)
    assert "crash in measure" in row and "Segmentation fault" in row and "<details>" in row
    assert "the worker died &lt;b&gt;of" in row and "<b>" not in row


def test_a_long_log_is_cut_at_a_line() -> None:
    """Of a long log the end is shown, in whole lines."""
    log = "\n".join(f"line {place}" for place in range(1000))
    found = log_end(Failure("crash", "make", "it died", log))
    assert len(found) < MOST_LOG + 10 and found.startswith("... line ") and found.endswith("\nline 999")
    assert log_end(Failure("crash", "make", "it died")) == ""


def test_numbers_stand_with_their_interval_and_doubts_are_linked() -> None:
    """A latency has its interval below it, a drop its bound, and a doubt leads to its words."""
    study = planted_study()
    record = study.by_number(4)
    assert record is not None
    numbers, row = study.headline(record), row_of(study, 4)
    assert f"{numbers['latency_p25_ms']:.2f}<small>{numbers['latency_low_ms']:.2f}-" in row
    assert f"&lt;= {numbers['drop_upper']:+.4f}" in row and 'href="#doubt1"' in row


def test_a_trial_that_runs_what_another_runs_names_it() -> None:
    """A duplicate says whose samples it was added to."""
    study = planted_study()
    records = list(study.records)
    records[9] = replace(records[9], measurement=records[10].measurement, configuration=records[10].configuration)
    records[10] = replace(records[10], configuration=records[9].configuration)
    assert "runs what #9 runs" in text_of(row_of(replace(study, records=tuple(records)), 10))  # type: ignore[arg-type]
