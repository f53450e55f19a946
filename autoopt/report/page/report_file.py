"""The report of a study as a file in its home folder, written at the end of every search."""

from __future__ import annotations

import logging
from pathlib import Path

from autoopt.core.records import TrialRecord
from autoopt.core.store import write_atomic
from autoopt.report.next_commands import Place, report_path
from autoopt.report.page.page import report_html
from autoopt.report.page.subject import Subject
from autoopt.study.result import StudyResult

_log = logging.getLogger("autoopt")


def report_text(study: StudyResult, home: Path, storage: str | None = None) -> str:
    """The report of a study that is stored there: one text of HTML that asks for no other file."""
    return report_html(Subject(study, Place(home, storage)))


class ReportFile:
    """A sink (see `sink.Sink`) that writes the report when a search ends, also an interrupted one.

    What goes wrong is a warning: the search is done, and `autoopt report` writes it later.
    """

    def __init__(self, home: Path, storage: str | None = None) -> None:
        self._home = home
        self._storage = storage
        self._study: StudyResult | None = None

    def check(self) -> None:
        """Nothing: a report that cannot be written is no reason not to search."""

    def open(self, study: StudyResult) -> set[int]:
        """Remember the study; every trial counts as known, since only the study at the end is of interest."""
        self._study = study
        return set(study.stored)

    def trial(self, record: TrialRecord, study: StudyResult) -> None:
        """Remember the study."""
        self._study = study

    def changed(self, study: StudyResult) -> None:
        """Remember the study."""
        self._study = study

    def close(self, state: str) -> None:
        """Write the report of a study that has trials."""
        study = self._study
        if study is None or not study.records:
            return
        try:
            path = report_path(self._home, study.card.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, report_text(study, self._home, self._storage).encode())
        except Exception as error:  # a search that is done must not fail for this
            first = (str(error) or type(error).__name__).partition("\n")[0]
            _log.warning("the report was not written (%s): run autoopt report %s", first, study.card.name)
