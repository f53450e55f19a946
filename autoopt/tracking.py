"""Trial records to MLflow: one parent run per study, one child run per trial. The one file that knows MLflow.

Runs are written from records and are in a terminal status a moment after they are created, the parent
too; the tag `autoopt.state` says whether a search is going on. What a kill -9 in that moment leaves
RUNNING is deleted and written again by the next command.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import logging
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.errors import TrackingError
from autoopt.picture import front_picture
from autoopt.records import Status, StudyCard, TrialRecord
from autoopt.results import StudyResult, describe

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

STUDY, TRIAL, STATE, ON_FRONT = "autoopt.study", "autoopt.trial", "autoopt.state", "autoopt.on_front"
PARENT = "mlflow.parentRunId"
PAGE = 1000
_NAMES = str.maketrans(dict.fromkeys("@#%&+=*?!\"'()[]{}<>,;:|\\", "_"))
"""What MLflow refuses in the name of a metric or parameter."""


def default_tracking_uri(home: Path) -> str:
    """The tracking URI of a home folder: SQLite."""
    return f"sqlite:///{home / 'mlflow.db'}"


def check_tracking(uri: str) -> None:
    """Raise TrackingError when the tracking server or database at `uri` cannot be used."""
    with _tracking_errors(uri):
        _client(uri).search_experiments(max_results=1)


class Tracker:
    """Writes one study to MLflow at `uri`; artifacts of a local database go to `home`/artifacts.

    Raises TrackingError when the server cannot be reached, here or later.
    """

    def __init__(self, uri: str, home: Path) -> None:
        self._uri = uri
        self._home = home
        with _tracking_errors(uri):
            self._client = _client(uri)
            self._client.search_experiments(max_results=1)
        self._parent = ""
        self._runs: dict[int, str] = {}
        self._on_front: set[int] = set()
        self._written = ""

    def open_study(self, card: StudyCard) -> set[int]:
        """Find or make the study's parent run, delete half-written runs; returns the trials already logged."""
        with _tracking_errors(self._uri):
            experiment = self._experiment(f"autoopt-{card.workload}")
            for run in self._search(experiment, f"tags.`{STUDY}` = '{card.name}'"):
                if run.info.status == "RUNNING":
                    self._client.delete_run(run.info.run_id)
                elif PARENT not in run.data.tags:
                    self._parent = run.info.run_id
                else:
                    number = int(run.data.tags[TRIAL])
                    self._runs[number] = run.info.run_id
                    if run.data.tags.get(ON_FRONT) == "true":
                        self._on_front.add(number)
            if not self._parent:
                parent = self._client.create_run(experiment, run_name=card.name, tags=_study_tags(card))
                self._parent = parent.info.run_id
                self._client.log_batch(self._parent, params=_params(_study_params(card)))
                self._client.set_terminated(self._parent)
            self._experiment_id = experiment
            self._client.set_tag(self._parent, STATE, "searching")
        return set(self._runs)

    def log_trial(self, record: TrialRecord, result: StudyResult) -> None:
        """One child run, complete when this returns: parameters, metrics, tags, raw samples, per-case scores, log."""
        from mlflow.entities import RunTag

        failed = record.status is Status.FAILED
        metrics = {**result.headline(record), **{f"seconds_{kind}": value for kind, value in record.seconds.items()}}
        metrics |= {f"violation_{name}": value for name, value in record.violated.items()}
        tags = {**_study_tags(result.card), **_trial_tags(record, self._parent)}
        with _tracking_errors(self._uri):
            name = f"#{record.number:03d} {describe(record.configuration)}"
            run_id = self._client.create_run(
                self._experiment_id, run_name=name, tags={PARENT: self._parent}
            ).info.run_id
            self._client.log_batch(
                run_id,
                metrics=_metrics(metrics),
                params=_params(record.configuration.flat()),
                tags=[RunTag(key, value) for key, value in tags.items()],
            )
            self._log_files(run_id, _trial_files(record))
            self._client.set_terminated(run_id, status="FAILED" if failed else "FINISHED")
        self._runs[record.number] = run_id

    def update_front(self, result: StudyResult) -> None:
        """Where changed: the parent's front (CSV, JSON, picture), its counts, and the children's on-front tags."""
        front = {record.number for record in result.front}
        state = json.dumps([len(result.records), sorted(front), dict(result.card.limits)])
        if state == self._written:
            return
        with _tracking_errors(self._uri):
            for number in front ^ self._on_front:
                if number in self._runs:
                    self._client.set_tag(self._runs[number], ON_FRONT, str(number in front).lower())
            self._client.log_batch(self._parent, metrics=_metrics(_study_metrics(result)))
            self._log_files(self._parent, _front_files(result))
        self._on_front, self._written = front, state

    def close(self, state: str) -> None:
        """Say on the parent run how the search ended: finished or interrupted."""
        with _tracking_errors(self._uri):
            self._client.set_tag(self._parent, STATE, state)
            self._client.set_terminated(self._parent)

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            if found.lifecycle_stage == "deleted":
                self._client.restore_experiment(found.experiment_id)
            return str(found.experiment_id)
        local = self._uri.startswith("sqlite:")
        location = (self._home / "artifacts").resolve().as_uri() if local else None
        return str(self._client.create_experiment(name, artifact_location=location))

    def _search(self, experiment: str, filter_string: str) -> list[Run]:
        runs: list[Run] = []
        token = None
        while True:
            page = self._client.search_runs([experiment], filter_string, max_results=PAGE, page_token=token)
            runs += page
            token = page.token
            if not token:
                return runs

    def _log_files(self, run_id: str, files: Mapping[str, bytes]) -> None:
        with tempfile.TemporaryDirectory(prefix="autoopt-") as folder:
            for name, data in files.items():
                (Path(folder) / name).write_bytes(data)
            self._client.log_artifacts(run_id, folder)


def read_trials(uri: str, study: str) -> list[TrialRecord]:
    """The trial records of a study, read back from its MLflow runs, by number."""
    import mlflow

    with _tracking_errors(uri):
        client = _client(uri)
        experiments = [item.experiment_id for item in client.search_experiments()]
        runs = client.search_runs(experiments, f"tags.`{STUDY}` = '{study}'", max_results=PAGE)
        records = []
        for run in runs:
            if TRIAL in run.data.tags:
                path = mlflow.artifacts.download_artifacts(
                    artifact_uri=f"{run.info.artifact_uri}/record.json", tracking_uri=uri
                )
                records.append(TrialRecord.from_json(json.loads(Path(path).read_text())))
    return sorted(records, key=lambda record: record.number)


def _study_tags(card: StudyCard) -> dict[str, str]:
    versions = {f"autoopt.version.{name}": str(version) for name, version in card.host.versions.items()}
    return {
        STUDY: card.name,
        "autoopt.workload": card.workload,
        "autoopt.demo": str(card.demo).lower(),
        "autoopt.host": card.host.fingerprint,
        "autoopt.cpu": card.host.cpu,
        "autoopt.data_digest": card.data_digest,
        "autoopt.weights_digest": card.weights_digest,
        **versions,
    }


def _trial_tags(record: TrialRecord, parent: str) -> dict[str, str]:
    tags = {
        PARENT: parent,
        TRIAL: str(record.number),
        "autoopt.status": record.status.value,
        "autoopt.origin": record.origin,
        "autoopt.label": record.label,
        "autoopt.configuration": record.configuration.digest,
        "autoopt.artifact": record.artifacts[-1] if record.artifacts else "",
        "autoopt.cause": record.failure.cause if record.failure else "",
        "autoopt.stage": record.failure.stage if record.failure else "",
        "autoopt.message": record.failure.message if record.failure else "",
        ON_FRONT: "false",
    }
    if record.measurement is not None:
        tags |= {f"effective.{name}": str(value) for name, value in record.measurement.effective.items()}
        tags["autoopt.doubts"] = "; ".join(record.measurement.doubts)
    return {name: value[:5000] for name, value in tags.items() if value}


def _study_params(card: StudyCard) -> dict[str, Any]:
    limits = {f"limit.{name}": value for name, value in card.limits.items()}
    return {
        "workload": card.title,
        "objectives": ",".join(card.objectives),
        "primary": card.primary,
        "seed": card.seed,
        **limits,
    }


def _study_metrics(result: StudyResult) -> dict[str, float]:
    counts = {f"trials_{status.value}": sum(r.status is status for r in result.judged) for status in Status}
    numbers: dict[str, float] = {"trials": len(result.records), "front_size": len(result.front), **counts}
    if result.front:
        fastest = result.headline(result.front[0])
        numbers |= {f"fastest_{name}": value for name, value in fastest.items()}
    if result.reference is not None:
        numbers |= {f"reference_{name}": value for name, value in result.headline(result.reference).items()}
    return numbers


def _trial_files(record: TrialRecord) -> dict[str, bytes]:
    files = {"record.json": json.dumps(record.to_json(), indent=1, allow_nan=False).encode()}
    if (measured := record.measurement) is not None:
        rows = [
            (process, phase, call, seconds)
            for phase, processes in (("warmup", measured.warmups_s), ("timed", measured.calls_s))
            for process, calls in enumerate(processes)
            for call, seconds in enumerate(calls)
        ]
        files["latency_samples.csv"] = _csv(("process", "phase", "call", "seconds"), rows)
    if (quality := record.quality) is not None:
        metrics = list(quality.cases[0].scores) if quality.cases else []
        scores = [(case.id, case.group, *(case.scores.get(name) for name in metrics)) for case in quality.cases]
        files["case_scores.csv"] = _csv(("case", "group", *metrics), scores)
    if record.failure is not None:
        files["log.txt"] = f"{record.failure.message}\n\n{record.failure.log_tail}".encode()
    return files


def _front_files(result: StudyResult) -> dict[str, bytes]:
    rows = [
        {"trial": record.number, "demo": result.card.demo, **record.configuration.flat(), **result.headline(record)}
        for record in result.front
    ]
    names = tuple(dict.fromkeys(name for row in rows for name in row))
    card = result.card
    document = {"study": card.name, "workload": card.title, "demo": card.demo, "host": card.host.cpu, "front": rows}
    return {
        "front.json": json.dumps(document, indent=1).encode(),
        "front.csv": _csv(names, [tuple(row.get(name) for name in names) for row in rows]),
        "front.png": front_picture(result),
    }


def _csv(header: tuple[str, ...], rows: list[tuple[Any, ...]]) -> bytes:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return stream.getvalue().encode()


def _metrics(numbers: Mapping[str, float]) -> list[Any]:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    return [Metric(name.translate(_NAMES), float(value), now, 0) for name, value in numbers.items()]


def _params(values: Mapping[str, Any]) -> list[Any]:
    from mlflow.entities import Param

    return [Param(name.translate(_NAMES), "none" if value is None else str(value)) for name, value in values.items()]


def _client(uri: str) -> MlflowClient:
    # Set before MLflow is imported: no telemetry unless the user has opted in, no minutes of retries.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    for name in ("alembic", "mlflow", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with contextlib.redirect_stderr(io.StringIO()):
        from mlflow import MlflowClient

        for name in ("alembic", "mlflow"):  # MLflow configures them anew when it is imported
            logging.getLogger(name).setLevel(logging.ERROR)
        return MlflowClient(tracking_uri=uri)


@contextmanager
def _tracking_errors(uri: str) -> Iterator[None]:
    """Turn what MLflow, its database and its HTTP client raise into one TrackingError."""
    import requests
    import sqlalchemy.exc
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, sqlalchemy.exc.SQLAlchemyError, requests.RequestException, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise TrackingError(
            f"MLflow at {uri} cannot be used ({reason[:300]}): check --tracking-uri (http://HOST:PORT or "
            "sqlite:///FILE) and that the server runs"
        ) from error
