"""The study: what to try next, and what has been tried. It and sampling.py know Optuna.

The stored Optuna study (`mlruns/study.db`, or any RDB URL) holds finished trials only, each added whole in one
transaction with its record: there is nothing half-done to repair after kill -9. The sampler (sampling.py) lives in
memory and is told the records; points that it draws again never reach the stored study, the budget or MLflow.
"""

from __future__ import annotations

import math
import os
import socket
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoopt.core.card import StudyCard
from autoopt.core.configuration import Configuration, Scalar, canonical_json
from autoopt.core.measurement import Measurement, joined, measurement_from_json
from autoopt.core.records import Status, TrialRecord
from autoopt.core.scores import Quality, quality_from_json
from autoopt.core.urls import without_password
from autoopt.errors import BusyError, NoStudy, StorageError
from autoopt.study.limits import violations
from autoopt.study.result import OBJECTIVES, StudyResult
from autoopt.study.samplers import DEFAULT, at_random, distributions, frozen
from autoopt.study.samplers import sampler as make_sampler
from autoopt.study.space import Space, seeds

if TYPE_CHECKING:
    import optuna

LEASE_BEAT_S = 20.0
LEASE_DEAD_S = 90.0
_RECORD, _CARD, _LEASE, _LATER = "autoopt:record", "autoopt:card", "autoopt:lease", "autoopt:later:"


@dataclass(frozen=True)
class Proposal:
    """What to evaluate next. `raw` is the point of the space, None for a seed outside it."""

    configuration: Configuration
    raw: Mapping[str, Scalar] | None
    origin: str
    label: str = ""


class Study:
    """One study in its storage: proposes, remembers, never evaluates the same configuration twice."""

    def __init__(self, stored: optuna.Study, card: StudyCard, space: Space, sampler: str = DEFAULT) -> None:
        self._stored = stored
        self._space = space
        self.card = card
        self.records: list[TrialRecord] = _read_records(stored)
        self._seen = {record.configuration.digest for record in self.records}
        self._postponed: set[str] = set()
        self._result: StudyResult | None = None
        self._distributions = distributions(space)
        # The number of records is part of the seed, or a resumed study would draw its first points again.
        seed = int(np.random.default_rng([card.seed, len(self.records)]).integers(2**31))
        self._sampler = make_sampler(sampler, space, len(card.objectives), seed)
        for record in self.records:
            self._teach(record)

    @property
    def result(self) -> StudyResult:
        """The study so far, as a value; what follows from it is computed once until a record changes."""
        if self._result is None or self._result.records != tuple(self.records):
            self._result = StudyResult(self.card, tuple(self.records))
        return self._result

    def exhaustive(self, budget: int) -> bool:
        """Whether the whole canonical space, with the seeds outside it, fits the budget: then every point is tried."""
        count = self._space.count()
        outside = sum(seed.raw is None for seed in seeds(self._space))
        return count.exact and count.n + outside <= budget

    def proposals(self, budget: int) -> Iterator[Proposal]:
        """What to try next until `budget` trials are recorded or nothing new is left.

        Seeds first, always; then every point of the space when they fit the budget, else the sampler.
        """
        for seed in seeds(self._space):
            if self._taken >= budget:
                return
            if seed.configuration.digest not in self._seen:
                yield Proposal(seed.configuration, seed.raw, "seed", seed.label)
        if self.exhaustive(budget):
            for raw, configuration in self._space.points():
                if self._taken >= budget:
                    return
                if configuration.digest not in self._seen:
                    yield Proposal(configuration, raw, "exhaustive")
            return
        while self._taken < budget and (proposal := self._sample()) is not None:
            yield proposal

    def tell(self, proposal: Proposal, record: TrialRecord) -> TrialRecord:
        """Store the record as the next trial, in one transaction; give it back with its number."""
        record = replace(record, violated=self._excess(record, positive_only=True))
        if record.status is not Status.FAILED:
            record = replace(record, status=Status.INFEASIBLE if record.violated else Status.COMPLETE)
        with _storage_errors(self.card.name):
            self._stored.add_trial(self._frozen(proposal.raw or {}, record))
            number = self._stored.get_trials(deepcopy=False)[-1].number
        record = record.with_number(number)
        self.records.append(record)
        self._seen.add(record.configuration.digest)
        self._postponed.discard(record.configuration.digest)
        self._teach(record, proposal.raw)
        return record

    @property
    def _taken(self) -> int:
        return len(self.records) + len(self._postponed)

    def postpone(self, proposal: Proposal) -> None:
        """Do not propose it again: whoever postpones it comes back to it. It has its place in the budget."""
        self._seen.add(proposal.configuration.digest)
        self._postponed.add(proposal.configuration.digest)

    def add(
        self, number: int, *, more: Measurement | None = None, test: Quality | None = None, note: str = ""
    ) -> TrialRecord:
        """Add what was learnt of trial `number` after it was stored: samples, its quality on test, a remark."""
        key = f"{_LATER}{number}"
        with _storage_errors(self.card.name):
            later = dict(self._stored.user_attrs.get(key) or {"more": [], "test": None, "notes": []})
            if more is not None:
                later["more"] = [*later["more"], asdict(more)]
            if test is not None:
                later["test"] = asdict(test)
            if note:
                later["notes"] = [*later["notes"], note]
            self._stored.set_user_attr(key, later)
        new = {
            "more": [] if more is None else [asdict(more)],
            "test": None if test is None else asdict(test),
            "notes": [note] if note else [],
        }
        index = next(index for index, record in enumerate(self.records) if record.number == number)
        self.records[index] = _with_later(self.records[index], new)
        return self.records[index]

    def _sample(self) -> Proposal | None:
        found = self._sampler.ask(self._seen)
        if found is None:
            found = at_random(self._space, self._seen, np.random.default_rng([self.card.seed, len(self.records)]))
        if found is None:
            return None
        raw, configuration, origin = found
        return Proposal(configuration, raw, origin)

    def _teach(self, record: TrialRecord, raw: Mapping[str, Scalar] | None = None) -> None:
        point = raw if raw is not None else self._space.raw_for(record.configuration)
        if point is not None:
            self._sampler.tell(point, *self._told(record))

    def _told(self, record: TrialRecord) -> tuple[list[float] | None, dict[str, float]]:
        """The objectives of a record, None where it has none, and how far its limits are broken."""
        scored = record.quality is not None and record.measurement is not None
        return (self._values(record), self._excess(record)) if scored else (None, {})

    def _frozen(self, raw: Mapping[str, Scalar], record: TrialRecord) -> optuna.trial.FrozenTrial:
        attributes = {_RECORD: record.to_json(), "configuration": str(record.configuration), "label": record.label}
        return frozen(self._distributions, raw, *self._told(record), attributes)

    def _values(self, record: TrialRecord) -> list[float]:
        values = [(OBJECTIVES[name], OBJECTIVES[name].read(record)) for name in self.card.objectives]
        return [math.log(value) if objective.log else value for objective, value in values]

    def _excess(self, record: TrialRecord, *, positive_only: bool = False) -> dict[str, float]:
        reference = self.result.reference
        excess = violations(record, reference if reference is not None else record, self.card.limits)
        return {name: value for name, value in excess.items() if value > 0 or not positive_only}


@contextmanager
def open_study(url: str, card: StudyCard, space: Space, sampler: str = DEFAULT) -> Iterator[Study]:
    """The study called `card.name` in the storage at `url`, made if it is new, held while the block runs.

    `sampler` is the name of what proposes its trials, of `samplers.SAMPLERS`.

    Raises StorageError when the storage cannot be used or holds another study of that name, and
    BusyError when a search on another machine is alive on it.
    """
    with _storage_errors(url):
        stored = _connect(url, card)
    known = stored.user_attrs.get(_CARD)
    if known is not None:
        with _of_this_version(card.name):
            before = StudyCard.from_json(known)
        if before.identity() != card.identity():
            raise StorageError(_difference(before, card))
    with _storage_errors(url):
        stored.set_user_attr(_CARD, card.to_json())
    with _Lease(stored, card.name):
        yield Study(stored, card, space, sampler)


def read_study(url: str, name: str | None, workload: str | None = None) -> StudyResult:
    """A stored study as a value: the one called `name`, else the last one written, of `workload` if given.

    Raises NoStudy when there is none, StorageError when the storage cannot be used.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    found: list[tuple[str, StudyCard, optuna.Study]] = []
    unreadable: StorageError | None = None
    file = url.removeprefix("sqlite:///")
    if file != url and not Path(file).exists():  # connecting would create it
        raise NoStudy(f"no study is stored in {file}: run autoopt search first")
    with _storage_errors(url):
        storage = _storage(url)
        for summary in optuna.get_all_study_summaries(storage=storage, include_best_trial=False):
            card = summary.user_attrs.get(_CARD)
            if card is not None and name in (None, summary.study_name):
                stored = optuna.load_study(study_name=summary.study_name, storage=storage)
                last = max(
                    (t.datetime_complete for t in stored.get_trials(deepcopy=False) if t.datetime_complete),
                    default=None,
                )
                try:
                    with _of_this_version(summary.study_name):
                        found.append(("" if last is None else last.isoformat(), StudyCard.from_json(card), stored))
                except StorageError as error:  # others of the same storage may be asked for
                    unreadable = error
        names = ", ".join(sorted(card.name for _, card, _ in found)) or "none"
        found = [item for item in found if workload is None or item[1].workload == workload]
        if not found and unreadable is not None:
            raise unreadable
        if not found:
            wanted = name or (f"a study of {workload}" if workload else "a study")
            raise NoStudy(f"{wanted} is not in {without_password(url)} (there: {names}): run autoopt search first")
        _, card, stored = max(found, key=lambda item: item[0])
        return StudyResult(card, tuple(_read_records(stored)))


@contextmanager
def _of_this_version(name: str) -> Iterator[None]:
    """Say in words that what is stored of study `name` has other fields than this version knows."""
    try:
        yield
    except (ValueError, TypeError, KeyError) as error:
        raise StorageError(
            f"study {name} was written by another version of autoopt ({error}): read it with that version, or begin "
            "another one with --study NAME"
        ) from error


def check_storage(url: str) -> None:
    """Raise StorageError when the storage at `url` cannot be used. Makes no file."""
    file = url.removeprefix("sqlite:///")
    if file != url and not Path(file).exists():
        return
    with _storage_errors(url):
        _storage(url)


class _Lease:
    """A beat in the storage that says "this study is being searched": no two machines write one study.

    On one machine the host lock decides; this covers a storage that several machines share.
    """

    def __init__(self, stored: optuna.Study, name: str) -> None:
        self._stored = stored
        self._name = name
        self._me = {"machine": socket.gethostname(), "pid": os.getpid()}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> None:
        held = self._stored.user_attrs.get(_LEASE)
        if held is not None and held["machine"] != self._me["machine"]:
            age = time.time() - held["at"]
            if age < LEASE_DEAD_S:
                raise BusyError(
                    f"study {self._name} is being searched by process {held['pid']} on {held['machine']} "
                    f"(last sign of life {age:.0f} s ago): wait for it, or use another --study"
                )
        self._write(time.time())
        self._thread.start()

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._thread.join()
        self._write(0.0)

    def _beat(self) -> None:
        while not self._stop.wait(LEASE_BEAT_S):
            try:
                self._write(time.time())
            except StorageError:
                return  # the storage went away: the next trial says so in the main thread

    def _write(self, at: float) -> None:
        with _storage_errors(self._name):
            self._stored.set_user_attr(_LEASE, {**self._me, "at": at})


def _connect(url: str, card: StudyCard) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=card.name,
        storage=_storage(url),
        directions=["minimize"] * len(card.objectives),
        load_if_exists=True,
    )
    names = {"latency": "log latency_p25_s", "quality": f"minus {card.primary}", "memory": "log bytes in memory"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # only labels for Optuna's own plots
        study.set_metric_names([names.get(name, f"log {name}") for name in card.objectives])
    return study


def _storage(url: str) -> optuna.storages.RDBStorage:
    import optuna

    for plain in ("postgresql://", "postgres://"):  # SQLAlchemy's default driver is psycopg2; ours is psycopg 3
        if url.startswith(plain):
            url = f"postgresql+psycopg://{url.removeprefix(plain)}"
    return optuna.storages.RDBStorage(url, engine_kwargs=None if url.startswith("sqlite") else {"pool_pre_ping": True})


def _read_records(stored: optuna.Study) -> list[TrialRecord]:
    attributes = stored.user_attrs
    with _of_this_version(stored.study_name):
        return [
            _with_later(
                TrialRecord.from_json(trial.user_attrs[_RECORD]).with_number(trial.number),
                attributes.get(f"{_LATER}{trial.number}"),
            )
            for trial in stored.get_trials(deepcopy=False)
            if _RECORD in trial.user_attrs
        ]


def _with_later(record: TrialRecord, later: Mapping[str, Any] | None) -> TrialRecord:
    """The record with what `Study.add` stored beside it."""
    if later is None:
        return record
    measurement = record.measurement
    for more in later["more"]:
        measurement = _joined(measurement, measurement_from_json(more))
    test = record.test if later["test"] is None else quality_from_json(later["test"])
    return replace(record, measurement=measurement, test=test, notes=(*record.notes, *later["notes"]))


def _joined(measurement: Measurement | None, more: Measurement) -> Measurement:
    """Both as one; where only one was measured beside a reference, it alone, since the other cannot be compared."""
    if measurement is None or bool(measurement.reference_s) == bool(more.reference_s):
        return more if measurement is None else joined(measurement, more)
    return more if more.reference_s else measurement


def _difference(known: StudyCard, card: StudyCard) -> str:
    before, now = known.identity(), card.identity()
    changed = [key for key in now if canonical_json(before.get(key)) != canonical_json(now[key])]
    return (
        f"study {card.name} was made with another {' and another '.join(changed)}: a study never mixes them. "
        "Use another --study, or leave --study out"
    )


@contextmanager
def _storage_errors(where: str) -> Iterator[None]:
    """Turn what SQLAlchemy and Optuna raise about a storage into one StorageError."""
    import optuna
    import sqlalchemy.exc

    try:
        yield
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError, ImportError, RuntimeError) as error:
        reason = (str(getattr(error, "orig", None) or error).strip().splitlines() or [type(error).__name__])[0]
        raise StorageError(
            f"the study storage {without_password(where)} cannot be used ({reason}): check the URL (sqlite:///FILE or "
            "postgresql://USER@HOST/DB), that the server runs, and for PostgreSQL that autoopt[postgres] is installed"
        ) from error
