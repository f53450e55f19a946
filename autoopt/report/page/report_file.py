"""The report of a study as a file in its home folder, written at the end of every search."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict, Unpack

from autoopt.core.records import TrialRecord
from autoopt.core.store import write_atomic
from autoopt.report.evidence import gather
from autoopt.report.next_commands import Place, report_path
from autoopt.report.page.page import report_html
from autoopt.report.page.subject import Subject
from autoopt.study.request import default_storage
from autoopt.study.result import StudyResult
from autoopt.study.storage import read_study

_log = logging.getLogger("autoopt")
FINISHED = "finished"
"""The state in which a search ends that was not interrupted, see `Sink.close`."""
LEAST_SEARCH_S = 120.0
"""A shorter search is not kept waiting for pictures, which take some ten seconds."""
AT_END_WAIT_S = 10.0
"""How long another measurement on this host may keep the end of a search waiting for pictures."""


class ReportFacts(TypedDict, total=False):
    """What can be asked of a report: the last study of a `workload`, the `storage` that the study is in.

    With `images` the worst cases are pictures also where these are of patients; of demo data they always are. With
    `profile` the balanced member is profiled, as `explain` does, unless it was before. `on_stage` is told the name of
    each stage that begins.
    """

    workload: str | None
    storage: str | None
    images: bool
    profile: bool
    on_stage: Callable[[str], None]


def stored_report(study: str | None, home: Path, **facts: Unpack[ReportFacts]) -> str:
    """The report of a stored study, by default of the last one: one text of HTML that asks for no other file.

    Raises StorageError where there is none.
    """
    storage = facts.get("storage")
    found = read_study(storage or default_storage(home), study, facts.get("workload"))
    evidence = gather(
        found,
        home,
        images=facts.get("images", False),
        profile=facts.get("profile", False),
        on_stage=facts.get("on_stage", lambda stage: None),
    )
    return report_html(Subject(found, Place(home, storage), evidence))


class ReportFile:
    """A sink (see `sink.Sink`) that writes the report when a search ends, also an interrupted one.

    What goes wrong is a warning: the search is done, and `autoopt report` writes it later.
    """

    def __init__(self, home: Path, storage: str | None = None, now_s: Callable[[], float] = time.monotonic) -> None:
        self._home = home
        self._now_s = now_s
        self._opened_s = now_s()
        self._storage = storage
        self._study: StudyResult | None = None

    def check(self) -> None:
        """Nothing: a report that cannot be written is no reason not to search."""

    def open(self, study: StudyResult) -> set[int]:
        """Remember the study; every trial counts as known, since only the study at the end is of interest."""
        self._study, self._opened_s = study, self._now_s()
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
            # Who interrupts a search, or ran a short one, does not wait for pictures: the command adds them later.
            waits = state == FINISHED and self._now_s() - self._opened_s >= LEAST_SEARCH_S
            evidence = gather(study, self._home, images=False, wait_s=AT_END_WAIT_S if waits else None)
            text = report_html(Subject(study, Place(self._home, self._storage), evidence))
            write_atomic(path, text.encode())
        except Exception as error:  # a search that is done must not fail for this
            first = (str(error) or type(error).__name__).partition("\n")[0]
            _log.warning("the report was not written (%s): run autoopt report %s", first, study.card.name)
