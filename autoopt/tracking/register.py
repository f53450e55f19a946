"""The front of a study in MLflow's model registry: one version per content, with tags, aliases and its trial's run.

Only calls of a client are made, so no run is started and no state of MLflow in this process changes. Registering the
same once more adds nothing. On one host a lock keeps several at once apart; of several hosts each looks once more after
it made a version, and takes its own back where an earlier one has the same content.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from autoopt.core.configuration import digest
from autoopt.core.records import TrialRecord
from autoopt.core.scratch import scratch_folder
from autoopt.core.store import Store
from autoopt.core.urls import without_secrets
from autoopt.deploy.layout import SEAL as SEAL_FILE
from autoopt.deploy.nothing_fits import nothing_fits, numbers_text
from autoopt.deploy.pick import Choice, picked
from autoopt.deploy.policies import PICKS
from autoopt.deploy.pull import pull
from autoopt.deploy.registered import (
    DEMO,
    SEAL,
    aliases,
    identity_tags,
    key_of,
    registered_name,
    shown,
    tags_of,
)
from autoopt.errors import NothingFits
from autoopt.inference.pipeline import Pipeline
from autoopt.measure.lock import host_lock
from autoopt.study.result import StudyResult
from autoopt.study.words import in_words
from autoopt.tracking import runs
from autoopt.tracking.client_registry import exists, registry_client, versions
from autoopt.tracking.model_files import requirements, write_model
from autoopt.tracking.relocate import EXPERIMENT, relocate
from autoopt.tracking.server import is_server, tracking_errors
from autoopt.tracking.tracker import Tracker, find_experiment, runs_of_trials

if TYPE_CHECKING:
    from mlflow import MlflowClient

WAIT_S = 1800.0
"""How long another registration on this host is waited for."""
MODEL_TYPE = "autoopt"
ALIAS_TRIES = 4
_log = logging.getLogger("autoopt")


@dataclass(frozen=True)
class Registration:
    """What was registered: the model's `name`, the version of each trial of the front, and which of them are new.

    `aliases` says which version each alias of ours names now, `remarks` what was left as it is and why, `unconfirmed`
    how many were not scored on test.
    """

    name: str
    place: str
    versions: Mapping[int, int]
    new: tuple[int, ...]
    aliases: Mapping[str, int]
    remarks: tuple[str, ...] = field(default=())
    unconfirmed: int = 0

    @property
    def text(self) -> str:
        """It in lines for people: versions with their trials, aliases, what was left as it is."""
        lines = [f"{self.name} at {self.place}: {len(self.versions)} models of the front, {len(self.new)} of them new"]
        for number, version in self.versions.items():
            names = ", ".join(alias for alias, named in self.aliases.items() if named == version)
            state = "new" if number in self.new else "was there"
            lines.append(f"  version {version}: trial #{number} ({state}){f': {names}' if names else ''}")
        if self.unconfirmed:
            lines.append(
                f"{self.unconfirmed} of them were not scored on test: a search that comes to its end does that"
            )
        return "\n".join([*lines, *self.remarks])


def register(
    result: StudyResult,
    store: Store,
    uri: str,
    home: Path,
    here: str,
    *,
    on_stage: Callable[[str], None] = lambda stage: None,
    locks: Path | None = None,
    self_test: bool = True,
) -> Registration:
    """Register every member of a front at the MLflow `uri`; `here` is the fingerprint of this host.

    `locks` is the folder of the lock, by default one of this user. With `self_test` members that were measured here are
    run here again, so that their bundles can test themselves. Raises NothingFits for an empty front, BundleError
    where an artifact is not in the store any more (nothing is registered then), TrackingError where MLflow cannot be
    used.
    """
    if not result.front:
        raise NothingFits(nothing_fits(result))
    name = registered_name(result.card.workload)
    with _alone(uri, name, locks, on_stage), scratch_folder() as folder, registry_client(uri) as client:
        with tracking_errors(uri):
            relocate(uri, home)
            there = _there(client, name)
        wanted = {record.number: key_of(identity_tags(result, record)) for record in result.front}
        missing = [record for record in result.front if wanted[record.number] not in there]
        bundles = {}
        for record in missing:
            on_stage(f"bundle #{record.number}")
            # Only where it was measured can a bundle be given what it tests itself by.
            bundles[record.number] = pull(
                result,
                _choice(result, record),
                store,
                folder / str(record.number) / "bundle",
                self_test=self_test and record.measured.host == here,
            )
        with tracking_errors(uri):
            publisher = _Publisher(client, result, name, uri, home)
            for record in missing:
                on_stage(f"register #{record.number}")
                there[wanted[record.number]] = publisher.publish(record, bundles[record.number])
            found = {number: there[key] for number, key in wanted.items()}
            named, remarks = _set_aliases(client, name, result, found, here)
    new = tuple(record.number for record in missing)
    unconfirmed = sum(record.test is None for record in result.front)
    return Registration(name, without_secrets(uri), found, new, named, tuple(remarks), unconfirmed)


@contextmanager
def _alone(uri: str, name: str, locks: Path | None, on_stage: Callable[[str], None]) -> Iterator[None]:
    """Only one of this user on this host registers this model there."""
    lock = f"register-{digest([uri, name])[:16]}"
    with host_lock(lock, timeout_s=WAIT_S, on_wait=lambda holder: on_stage("wait"), folder=locks):
        yield


def _there(client: MlflowClient, name: str) -> dict[tuple[str, ...], int]:
    """What is registered already and can be downloaded: what makes a version what it is, to the first such version."""
    found: dict[tuple[str, ...], int] = {}
    for one in sorted(versions(client, name), key=lambda item: item.version):
        key = key_of(one.tags)
        if all(key) and key not in found and exists(client, one):
            found[key] = one.version
    return found


def _choice(result: StudyResult, record: TrialRecord) -> Choice:
    """Why a member is in the registry, for its bundle."""
    policies = [pick for pick in PICKS if picked(result, pick).number == record.number]
    reason = f"the choice of {', '.join(policies)}" if policies else "no policy's own choice"
    text = (
        f"trial #{record.number} ({in_words(record.configuration)}), a member of the front of {result.card.name} "
        f"({result.card.title}), {reason}. {numbers_text(result, record)}"
    )
    return Choice(record, text, policies[0] if policies else "registered", result.card.limits)


class _Publisher:
    """Makes versions of one registered model out of the members of one front."""

    def __init__(self, client: MlflowClient, result: StudyResult, name: str, uri: str, home: Path) -> None:
        self._client = client
        self._result = result
        self._name = name
        self._experiment = find_experiment(client, uri, home, f"{EXPERIMENT}{result.card.workload}")
        self._runs = runs_of_trials(client, self._experiment, result.card) or self._new_runs(uri, home)
        self._make_name()

    def publish(self, record: TrialRecord, bundle: Path) -> int:
        """Upload a bundle as a model and register it; returns its version, an earlier one where there is one."""
        from mlflow.entities import LoggedModelOutput

        card, client, result = self._result.card, self._client, self._result
        seal = (bundle / SEAL_FILE).read_text().split()[0]
        tags = tags_of(result, record, seal)
        packages = requirements(
            Pipeline.from_json(card.pipeline), str(record.configuration.runtime["name"]), card.host.versions
        )
        files = write_model(bundle.parent / "model", bundle, packages, {SEAL: seal, DEMO: tags[DEMO]})
        run = self._runs.get(record.number)
        params = {key: str(value)[: runs.LONGEST] for key, value in record.configuration.flat().items()}
        model = client.create_logged_model(
            self._experiment,
            name=f"trial-{record.number:03d}",
            source_run_id=run,
            tags={key: text[: runs.LONGEST] for key, text in tags.items()},
            params=params,
            model_type=MODEL_TYPE,
        ).model_id
        client.log_model_artifacts(model, str(files))
        client.finalize_logged_model(model, "READY")
        if run is not None:
            client.log_outputs(run, [LoggedModelOutput(model, 0)])
            self._log_metrics(run, model)
        description = f"{_choice(result, record).explanation}{' DEMO: synthetic data.' if card.demo else ''}"
        version = client.create_model_version(
            self._name,
            source=f"models:/{model}",
            run_id=run,
            tags=tags,
            description=description[: runs.LONGEST],
            await_creation_for=0,  # it is ready at once, and MLflow would announce that it waits
            model_id=model,
        )
        return self._first(int(version.version), model, key_of(tags))

    def _first(self, version: int, model: str, key: tuple[str, ...]) -> int:
        """The first version of this content; ours is taken back where another host was faster."""
        same = [one for one in versions(self._client, self._name) if key_of(one.tags) == key]
        first = min((one.version for one in same if exists(self._client, one)), default=version)
        if first < version:
            self._client.delete_model_version(self._name, str(version))
            self._client.delete_logged_model(model)
        return min(first, version)

    def _log_metrics(self, run: str, model: str) -> None:
        """Say of the model the numbers that its run has: the very entries, so that no run gets a second value."""
        from mlflow.entities import Metric

        known = self._client.get_run(run).data.metrics
        keys = [key for key in shown(self._result.card.primary) if key in known]
        last = [self._client.get_metric_history(run, key)[-1] for key in keys]
        found = [Metric(one.key, one.value, one.timestamp, one.step, model_id=model) for one in last]
        if found:
            self._client.log_batch(run, metrics=found)

    def _new_runs(self, uri: str, home: Path) -> dict[int, str]:
        """The runs of the front, written now: this MLflow has none of the study, which was searched with another."""
        tracker = Tracker(uri, home)
        tracker.open(self._result)
        for record in self._result.front:
            tracker.trial(record, self._result)
        tracker.changed(self._result)
        tracker.close("finished")
        return runs_of_trials(self._client, self._experiment, self._result.card)

    def _make_name(self) -> None:
        from mlflow.exceptions import MlflowException

        card = self._result.card
        about = f"Members of the Pareto fronts of the workload {card.workload}, each a bundle that autoopt loads."
        try:
            self._client.create_registered_model(self._name, {"autoopt.workload": card.workload}, about)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise


def _set_aliases(
    client: MlflowClient, name: str, result: StudyResult, found: Mapping[int, int], here: str
) -> tuple[dict[str, int], list[str]]:
    """Let our aliases name what the policies pick; one that names a version of somebody else stays as it is."""
    known = {one.version: one for one in versions(client, name)}
    before = {alias: int(number) for alias, number in client.get_registered_model(name).aliases.items()}
    named: dict[str, int] = {}
    remarks = []
    for pick in PICKS:
        record = picked(result, pick)
        version, ours = found[record.number], aliases(result, record, here)
        for alias in ours[pick]:
            holder = known.get(before.get(alias, -1))
            if holder is not None and not holder.ours:
                remarks.append(
                    f"the alias {alias} names version {holder.version}, which autoopt did not register: it stays there"
                )
                continue
            if before.get(alias) != version:
                _set_alias(client, name, alias, version)
            named[alias] = version
    return named, remarks


def _set_alias(client: MlflowClient, name: str, alias: str, version: int) -> None:
    """Set an alias; two that set it first at the same moment meet in MLflow's database, and one of them tries again."""
    from mlflow.exceptions import MlflowException

    for left in reversed(range(ALIAS_TRIES)):
        try:
            client.set_registered_model_alias(name, alias, str(version))
            return
        except MlflowException:
            if not left:
                raise
            time.sleep(random.random())  # noqa: S311 - not a secret


class Registrar:
    """A sink (see `sink.Sink`) that registers the front at the end of a search, where `uri` is a server.

    What goes wrong is a warning: the search is done, and `autoopt register` does the rest later. `here` says the
    fingerprint of this host.
    """

    def __init__(self, uri: str, home: Path, here: Callable[[], str]) -> None:
        self._uri = uri
        self._home = home
        self._here = here
        self._study: StudyResult | None = None

    def check(self) -> None:
        """Nothing: MLflow itself is checked by the tracker."""

    def open(self, study: StudyResult) -> set[int]:
        """Remember the study; every trial counts as known, since only the front at the end is of interest."""
        self._study = study
        return set(study.stored)

    def trial(self, record: TrialRecord, study: StudyResult) -> None:
        """Remember the study."""
        self._study = study

    def changed(self, study: StudyResult) -> None:
        """Remember the study."""
        self._study = study

    def close(self, state: str) -> None:
        """Register the front of a search that was finished; what goes wrong is logged as a warning."""
        study = self._study
        if state != "finished" or study is None or not study.front or not is_server(self._uri):
            return
        try:
            done = register(study, Store(self._home / "store"), self._uri, self._home, self._here())
        except Exception as error:  # a search that is done must not fail for this
            first = (str(error) or type(error).__name__).partition("\n")[0]
            _log.warning("the front was not registered (%s): run autoopt register %s again", first, study.card.name)
            return
        for remark in done.remarks:
            _log.warning("%s", remark)
