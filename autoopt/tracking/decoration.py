"""What makes MLflow's pages readable beside the records: names, colours, notes, data sets, views, the report.

Nothing here may cost a search its trials: whatever goes wrong is one warning, and the next search tries again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

from autoopt.core.card import StudyCard
from autoopt.core.plain_text import short
from autoopt.core.records import TrialRecord
from autoopt.core.urls import without_secrets
from autoopt.report.next_commands import Place
from autoopt.study.result import StudyResult
from autoopt.study.words import row_name
from autoopt.tracking import notes, runs, views
from autoopt.tracking.note_text import note_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient

VAL, TEST = "val", "test"
DIGEST_CHARACTERS = 12
"""Of the digest of the data: MLflow keeps at most 36."""
_log = logging.getLogger("autoopt")


def report(result: StudyResult, place: Place) -> str:
    """The report of a study that is stored there as one HTML file; pictures of cases are not in it."""
    from autoopt.report.page.page import report_html
    from autoopt.report.page.subject import Subject

    return report_html(Subject(result, place))


class _Attempt:
    """A block that may fail; a context manager whose type says so."""

    def __init__(self, decoration: Decoration, what: str) -> None:
        self._decoration, self._what = decoration, what

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, Exception):
            return False
        self._decoration.failed(self._what, error)  # of any kind, in libraries too: the trials go on without
        return True


class Decoration:
    """Decorates the runs of one study, stored at `place`; `report` renders what MLflow shows as report.html."""

    def __init__(self, place: Place | None = None, report: Callable[[StudyResult, Place], str] = report) -> None:
        self._place = Place() if place is None else place
        self._report = report
        self._warned = False

    def attempt(self, what: str) -> _Attempt:
        """For a block: whatever goes wrong in it is told as a warning, once for a search."""
        return _Attempt(self, what)

    def failed(self, what: str, error: Exception) -> None:
        """Warn of an error, the first time."""
        if not self._warned:
            _log.warning(
                "%s in MLflow could not be written (%s: %s): trials are complete, their pages are less readable",
                what,
                type(error).__name__,
                short(without_secrets(str(error))),
            )
        self._warned = True

    def trial_tags(self, record: TrialRecord, result: StudyResult, before: Mapping[str, str]) -> dict[str, str]:
        """Colour and note of a trial whose run has the tags `before`."""
        tags: dict[str, str] = {}
        with self.attempt("the notes of trials"):
            tags[notes.COLOUR] = notes.colour(record, result)
            tags |= note_tags(notes.trial_note(record, result), before)
        return tags

    def name(self, client: MlflowClient, run_id: str, record: TrialRecord, before: str) -> str:
        """Give the run the trial's name, unless a person named it; returns its name."""
        wanted = self.row_name(record)
        if before == wanted or not before.startswith(f"#{record.number:03d} "):
            return before
        with self.attempt("the names of trials"):
            client.update_run(run_id, name=wanted)
        return wanted

    def row_name(self, record: TrialRecord) -> str:
        """The name of a trial in lists."""
        with self.attempt("the names of trials"):
            return row_name(record)
        return f"#{record.number:03d}"

    def datasets(self, client: MlflowClient, run_id: str, card: StudyCard, wanted: Collection[str]) -> None:
        """Say which parts of the data a run has seen: `VAL`, `TEST`."""
        if not wanted:
            return
        with self.attempt("the data of trials"):
            from mlflow.entities import Dataset, DatasetInput, InputTag

            source = "demo data" if card.demo else "local files"  # the folder's name stays here
            given = [
                DatasetInput(
                    Dataset(dataset_name(card, part), card.data_digest[:DIGEST_CHARACTERS], "local", source),
                    [InputTag("mlflow.data.context", part)],
                )
                for part in sorted(wanted)
            ]
            client.log_inputs(run_id, datasets=given)

    def study_tags(
        self, result: StudyResult, experiment: str, parent: str, before: Mapping[str, str]
    ) -> dict[str, str]:
        """The note of a study whose run has the tags `before`."""
        with self.attempt("the note of the study"):
            return note_tags(notes.study_note(result, experiment, parent), before)
        return {}

    def experiment(self, client: MlflowClient, experiment: str, result: StudyResult, parent: str) -> None:
        """Write the ready views of an experiment and its note, where they are not there yet."""
        with self.attempt("the views"):
            before = client.get_experiment(experiment).tags
            tags = views.experiment_tags(result, experiment, parent)
            tags |= note_tags(views.experiment_note(result, experiment, parent), before)
            changed = {name: text for name, text in tags.items() if before.get(name) != text}
            for name, text in {**changed, views.SHOWN_AT: str(runs.now_ms())}.items():
                client.set_experiment_tag(experiment, name, text)

    def report_file(self, result: StudyResult) -> dict[str, bytes]:
        """The report by the name of its file; nothing where it cannot be made."""
        with self.attempt("the report"):
            return {notes.REPORT: self._report(result, self._place).encode(errors="backslashreplace")}
        return {}


def dataset_name(card: StudyCard, part: str) -> str:
    """What MLflow calls a part of the data of a study."""
    return f"{card.workload} {part}"


def parts(record: TrialRecord) -> set[str]:
    """The parts of the data that a trial was scored on."""
    scored = ((VAL, record.quality), (TEST, record.test))
    return {part for part, quality in scored if quality is not None}
