"""When what is written, and how it is found again.

A run is in a terminal status a moment after it is created, the parent too; the tag `autoopt.state` of the
parent says whether a search is going on. What kill -9 leaves RUNNING in that moment is deleted and written
again by the next command.

MLflow keeps every value that a metric ever had. So a trial's metrics are written when it ends, and once more when the
search ends where other trials moved them; verdicts, notes and colours are tags, which are brought up to date meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from autoopt.core.card import LINKED, StudyCard
from autoopt.core.configuration import digest
from autoopt.core.records import Status, TrialRecord
from autoopt.core.scratch import scratch_folder
from autoopt.core.urls import without_secrets
from autoopt.errors import TrackingError
from autoopt.report.next_commands import Place
from autoopt.study.result import StudyResult
from autoopt.tracking import runs
from autoopt.tracking.decoration import Decoration, dataset_name, parts
from autoopt.tracking.relocate import EXPERIMENT, artifacts_uri, relocate
from autoopt.tracking.server import connect, is_server, tracking_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

FRONT = "autoopt.front_digest"
"""The tag of the parent that says which front its files show."""
ENDED = "autoopt.ended_digest"
"""The tag of the parent that says what was written when a search ended: metrics and the report."""
FORMAT = 2
"""Of what is written: what an earlier version wrote is written again."""
FRONT_EVERY = 5
"""New trials between two updates of the front: drawing and writing it takes as long as a quick trial."""
PAGE = 1000
_BATCH = 100  # parameters and tags that MLflow takes at once


@dataclass
class _Logged:
    """A child run and what of it may still change."""

    run_id: str
    tags: dict[str, str]
    metrics: dict[str, float]
    name: str = ""
    datasets: set[str] = field(default_factory=set)
    params: frozenset[str] = frozenset()


class Tracker:
    """A sink (see `sink.Sink`) that writes one study to the MLflow at `uri`.

    The artifacts of a database without a server go to `home`/artifacts; `storage` is where the study itself is, if not
    there too, for the commands of its report. The front is brought up to date after every
    `front_every` new trials. All methods raise TrackingError when MLflow cannot be used.
    """

    def __init__(
        self,
        uri: str,
        home: Path,
        *,
        storage: str | None = None,
        front_every: int = FRONT_EVERY,
        decoration: Decoration | None = None,
    ) -> None:
        self._uri = uri
        self._home = home
        self._front_every = front_every
        self._decoration = Decoration(Place(home, storage)) if decoration is None else decoration
        self._experiment = ""
        self._parent = _Logged("", {}, {})
        self._logged: dict[int, _Logged] = {}
        self._new = 0
        self._study: StudyResult | None = None

    @cached_property
    def _client(self) -> MlflowClient:
        client = connect(self._uri)
        with tracking_errors(self._uri):
            relocate(self._uri, self._home)
        return client

    def check(self) -> None:
        """Raise TrackingError, within seconds, when MLflow does not answer."""
        _ = self._client

    def open(self, study: StudyResult) -> set[int]:
        """Find or make the study's parent run, delete what is half-written or not of this study any more.

        Returns the trials whose runs show what the study knows of them. Runs of another study of that name, which is
        stored no more, stay as they are.
        """
        card = study.card
        with tracking_errors(self._uri):
            self._experiment = find_experiment(self._client, self._uri, self._home, f"{EXPERIMENT}{card.workload}")
            self._parent, self._logged, self._new, self._study = _Logged("", {}, {}), {}, 0, study
            for run in _study_runs(self._client, [self._experiment], card.name):
                self._adopt(run, study)
            if not self._parent.run_id:
                self._make_parent(card)
            parent = self._parent.run_id
            for logged in self._logged.values():
                if logged.tags.get(runs.PARENT) != parent:  # its parent was deleted by hand
                    self._client.set_tag(logged.run_id, runs.PARENT, parent)
            self._client.set_tag(parent, runs.STUDY_ID, card.id)
            self._client.set_tag(parent, runs.STATE, "searching")
            if LINKED in card.origin:  # which may have come after the run was made
                self._client.set_tag(parent, f"autoopt.{LINKED}", str(card.origin[LINKED]))
            self._decoration.experiment(self._client, self._experiment, study, parent)
            judged = {record.number: record for record in study.judged}
            return {
                number
                for number, logged in self._logged.items()
                if logged.tags.get(runs.WRITTEN) == runs.record_digest(judged[number], study)
            }

    def trial(self, record: TrialRecord, study: StudyResult) -> None:
        """Write a new trial as a child run, complete when this returns; one that is there is brought up to date."""
        self._study = study
        logged = self._logged.get(record.number)
        if logged is not None:
            with tracking_errors(self._uri):
                if _shows(logged, record):
                    self._refresh(logged, record, study)
                    return
                self._client.delete_run(logged.run_id)
        self._log(record, study)
        self._new += 1
        if self._new % self._front_every == 0:
            self.changed(study)

    def changed(self, study: StudyResult) -> None:
        """Bring up to date what one trial changes of others: verdicts, notes and colours, the parent's note and front.

        Writes only what changed since the last time, also if that was in another process.
        """
        self._study = study
        front = self._digest(study)
        if front == self._parent.tags.get(FRONT):
            return
        with tracking_errors(self._uri):
            for record in self._known(study):
                self._refresh(self._logged[record.number], record, study)
            self._log_files(self._parent.run_id, runs.front_files(study))
            note = self._decoration.study_tags(study, self._experiment, self._parent.run_id, self._parent.tags)
            limits = json.dumps(dict(study.card.limits), sort_keys=True)
            # The digest last: it vouches for the rest.
            self._tag_parent(
                {**note, "autoopt.limits": limits, "autoopt.reference": runs.reference_text(study), FRONT: front}
            )

    def close(self, state: str) -> None:
        """Write what all trials together say of each, and how the search ended: finished or interrupted."""
        if self._study is not None:
            self.changed(self._study)
        with tracking_errors(self._uri):
            if self._study is not None:
                self._end(self._study)
            self._client.set_tag(self._parent.run_id, runs.STATE, state)
            self._client.set_terminated(self._parent.run_id)  # again, for its end time

    def _end(self, study: StudyResult) -> None:
        """Metrics that changed since they were written, those of the study, its report, the views."""
        ended = self._digest(study)
        if ended == self._parent.tags.get(ENDED):
            return
        for record in self._known(study):
            self._refresh_metrics(self._logged[record.number], runs.trial_metrics(record, study))
        self._refresh_metrics(self._parent, runs.study_metrics(study))
        decoration = self._decoration
        seen = {part for record in study.records for part in parts(record)}
        decoration.datasets(self._client, self._parent.run_id, study.card, self._unseen(self._parent, study.card, seen))
        whole = False
        with decoration.attempt("the report"):
            if report := decoration.report_file(study):
                self._log_files(self._parent.run_id, report)
                whole = True
        decoration.experiment(self._client, self._experiment, study, self._parent.run_id)
        if whole:  # else the next search tries again
            self._tag_parent({ENDED: ended})

    def _known(self, study: StudyResult) -> list[TrialRecord]:
        return [record for record in study.judged if record.number in self._logged]

    def _digest(self, study: StudyResult) -> str:
        """What the runs are to show of the study."""
        known = self._known(study)
        shown = [(r.number, runs.verdict_tags(r, study), runs.trial_metrics(r, study)) for r in known]
        return digest([FORMAT, dict(study.card.limits), shown])

    def _make_parent(self, card: StudyCard) -> None:
        tags = {**runs.study_tags(card), runs.KIND: "study"}
        made = self._client.create_run(self._experiment, run_name=card.name, tags=tags)
        self._client.log_batch(made.info.run_id, params=runs.as_params(runs.study_params(card)))
        self._client.set_terminated(made.info.run_id)
        self._parent = _Logged(made.info.run_id, tags, {}, card.name)

    def _tag_parent(self, tags: Mapping[str, str]) -> None:
        for name, text in tags.items():
            self._client.set_tag(self._parent.run_id, name, text)
            self._parent.tags[name] = text

    def _log(self, record: TrialRecord, study: StudyResult) -> None:
        """One child run: parameters, metrics, tags, raw samples, scores, log."""
        metrics = runs.settled(runs.trial_metrics(record, study))
        of_study = {**runs.study_tags(study.card), runs.PARENT: self._parent.run_id}
        tags = {**of_study, **runs.trial_tags(record), **runs.verdict_tags(record, study)}
        tags |= self._decoration.trial_tags(record, study, {})
        params = runs.as_params(runs.trial_params(record))
        began, ended = runs.trial_times_ms(record)
        name = self._decoration.row_name(record)
        with tracking_errors(self._uri):
            run_id = self._client.create_run(self._experiment, start_time=began, run_name=name, tags=tags).info.run_id
            self._client.log_batch(run_id, metrics=runs.as_metrics(metrics), params=params[:_BATCH])
            for start in range(_BATCH, len(params), _BATCH):
                self._client.log_batch(run_id, params=params[start : start + _BATCH])
            self._log_files(run_id, runs.trial_files(runs.written(record, study)))
            logged = _Logged(run_id, tags, metrics, name, params=frozenset(param.key for param in params))
            self._show_datasets(logged, record, study.card)
            digest_tag = {runs.WRITTEN: runs.record_digest(record, study)}
            self._client.log_batch(run_id, tags=runs.as_tags(digest_tag))
            self._client.set_terminated(run_id, "FAILED" if record.status is Status.FAILED else "FINISHED", ended)
        logged.tags |= digest_tag
        self._logged[record.number] = logged

    def _adopt(self, run: Run, study: StudyResult) -> None:
        """Remember a run of this study, or delete it: half-written, there twice, of a trial that is stored no more."""
        tags, run_id = run.data.tags, run.info.run_id
        own = tags[runs.STUDY_ID] == study.card.id if runs.STUDY_ID in tags else bool(study.records)
        if not own:  # before runs said of which study of that name they are, a new study had none
            return
        number = int(tags[runs.TRIAL]) if runs.TRIAL in tags else None
        twice = number in self._logged if number is not None else bool(self._parent.run_id)
        lost = number is not None and number not in study.stored
        if run.info.status == "RUNNING" or twice or lost:
            self._client.delete_run(run_id)
            return
        seen = {item.dataset.name for item in run.inputs.dataset_inputs} if run.inputs else set()
        found = _Logged(
            run_id, dict(tags), dict(run.data.metrics), run.info.run_name or "", seen, frozenset(run.data.params)
        )
        if number is None:
            self._parent = found
        else:
            self._logged[number] = found

    def _refresh(self, logged: _Logged, record: TrialRecord, study: StudyResult) -> None:
        """Bring the run of a trial up to date but for its metrics, its files too where they show another record."""
        vouched = runs.record_digest(record, study)
        tags = {**runs.trial_tags(record), **runs.verdict_tags(record, study), runs.WRITTEN: vouched}
        tags |= self._decoration.trial_tags(record, study, logged.tags)
        if logged.tags.get(runs.WRITTEN) != vouched:
            self._log_files(logged.run_id, runs.trial_files(runs.written(record, study)))
        lacking = [item for item in runs.as_params(runs.trial_params(record)) if item.key not in logged.params]
        if lacking:  # an earlier version wrote it
            self._client.log_batch(logged.run_id, params=lacking[:_BATCH])
            logged.params |= {item.key for item in lacking}
        logged.name = self._decoration.name(self._client, logged.run_id, record, logged.name)
        self._show_datasets(logged, record, study.card)
        new_tags = {name: text for name, text in tags.items() if logged.tags.get(name) != text}
        if new_tags:
            self._client.log_batch(logged.run_id, tags=runs.as_tags(new_tags))
            logged.tags.update(new_tags)

    def _refresh_metrics(self, logged: _Logged, metrics: Mapping[str, float]) -> None:
        """Write the metrics of a run that it does not have or that changed."""
        new = {name: value for name, value in metrics.items() if logged.metrics.get(name) != value}
        if new:
            self._client.log_batch(logged.run_id, metrics=runs.as_metrics(new))
            logged.metrics.update(new)

    def _show_datasets(self, logged: _Logged, record: TrialRecord, card: StudyCard) -> None:
        self._decoration.datasets(self._client, logged.run_id, card, self._unseen(logged, card, parts(record)))

    def _unseen(self, logged: _Logged, card: StudyCard, seen: set[str]) -> list[str]:
        """The parts of the data that a run does not name yet; from now on it does."""
        new = [part for part in seen if dataset_name(card, part) not in logged.datasets]
        logged.datasets |= {dataset_name(card, part) for part in new}
        return new

    def _log_files(self, run_id: str, files: Mapping[str, bytes]) -> None:
        with scratch_folder() as folder:
            for name, data in files.items():
                (folder / name).write_bytes(data)
            self._client.log_artifacts(run_id, str(folder))


def _shows(logged: _Logged, record: TrialRecord) -> bool:
    """Whether a run is of this try of the trial: parameters, and that it failed, cannot be changed in a run."""
    cause = None if record.failure is None else record.failure.cause
    known = logged.tags.get(runs.CONFIGURATION), logged.tags.get(runs.CAUSE)
    return runs.WRITTEN in logged.tags and known == (record.configuration.digest, cause)


def read_trials(uri: str, study: str) -> list[TrialRecord]:
    """The records of a study, read back from its MLflow runs, by number; of several of that name those of the last.

    Raises TrackingError when MLflow cannot be used or has no such study.
    """
    client = connect(uri)
    records = []
    with tracking_errors(uri), scratch_folder() as folder:
        experiments = [item.experiment_id for item in _experiments(client) if item.name.startswith(EXPERIMENT)]
        found = _study_runs(client, experiments, study) if experiments else []
        last = found[-1].data.tags.get(runs.STUDY_ID) if found else None
        for run in (run for run in found if run.data.tags.get(runs.STUDY_ID) == last):
            if runs.TRIAL in run.data.tags and run.info.status != "RUNNING":
                target = folder / run.info.run_id
                target.mkdir()
                path = Path(client.download_artifacts(run.info.run_id, runs.RECORD, str(target)))
                records.append(TrialRecord.from_json(json.loads(path.read_bytes())))
    if not found:
        raise TrackingError(
            f"MLflow at {without_secrets(uri)} has no study {study!r}: check --study and --tracking-uri"
        )
    return sorted(records, key=lambda record: record.number)


def find_experiment(client: MlflowClient, uri: str, home: Path, name: str) -> str:
    """The id of an experiment, made or restored if need be; without a server its files go to the home folder."""
    found = client.get_experiment_by_name(name)
    if found is not None:
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)
    location = None if is_server(uri) else artifacts_uri(home)
    return str(client.create_experiment(name, artifact_location=location))


def runs_of_trials(client: MlflowClient, experiment: str, card: StudyCard) -> dict[int, str]:
    """The ids of the runs of a study's trials, by number, where MLflow has them."""
    found = [run for run in _study_runs(client, [experiment], card.name) if runs.TRIAL in run.data.tags]
    return {
        int(run.data.tags[runs.TRIAL]): run.info.run_id for run in found if run.data.tags.get(runs.STUDY_ID) == card.id
    }


def _study_runs(client: MlflowClient, experiments: list[str], study: str) -> list[Run]:
    """All runs of a study that are not deleted, oldest first."""
    quote = '"' if "'" in study else "'"
    # MLflow has no escape for a quote within a quoted text: then all runs are read and looked through.
    wanted = "" if quote in study else f"tags.`{runs.STUDY}` = {quote}{study}{quote}"
    found: list[Run] = []
    token = None
    while True:
        page = client.search_runs(
            experiments, wanted, max_results=PAGE, order_by=["attributes.start_time ASC"], page_token=token
        )
        found += [run for run in page if run.data.tags.get(runs.STUDY) == study]
        token = page.token
        if not token:
            return found


def _experiments(client: MlflowClient) -> list[Experiment]:
    found: list[Experiment] = []
    token = None
    while True:
        page = client.search_experiments(max_results=PAGE, page_token=token)
        found += page
        token = page.token
        if not token:
            return found
