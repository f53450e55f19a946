"""Studies in Optuna's storage: what is written of a study, and how it is found again.

The stored Optuna study (`mlruns/study.db`, or any RDB URL) holds finished trials only, each added whole in one
transaction with its record: there is nothing half-done to repair after kill -9. It stores what was found; whether a
trial keeps the limits is judged by `StudyResult`, since limits may change between two commands.
"""

from __future__ import annotations

import json
import secrets
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from autoopt.core.card import LINKED, StudyCard
from autoopt.core.configuration import Scalar, canonical_json
from autoopt.core.host_problem import own_problem
from autoopt.core.records import TrialRecord
from autoopt.core.urls import sqlite_file, without_secrets
from autoopt.errors import NoStudy, StorageError
from autoopt.study.early_stop import EarlyStop
from autoopt.study.later import LATER, Later, additions
from autoopt.study.lease import Lease, last_sign_of_life
from autoopt.study.numbers import objectives
from autoopt.study.only_writer import Writer, only_writer
from autoopt.study.postgresql import arguments, with_driver
from autoopt.study.result import StudyResult
from autoopt.study.samplers import distributions, frozen
from autoopt.study.space import Space

if TYPE_CHECKING:
    import optuna

_RECORD, _CARD, _LEASE, _EARLY_STOP = "autoopt:record", "autoopt:card", "autoopt:lease", "autoopt:early-stop"
_QUERY = """
SELECT trials.number, trial_user_attributes.value_json
FROM trials JOIN trial_user_attributes ON trial_user_attributes.trial_id = trials.trial_id
WHERE trials.study_id = :study AND trial_user_attributes.key = :key ORDER BY trials.number
"""
"""The numbers and records of a study in the tables of Optuna, whose version `_storage` checks."""
MOST_REASON = 300
LOCKED_S = 30.0
"""How long a SQLite file that another program has locked is waited for, such as one that copies it."""
Check = Callable[[], None]
"""Raises BusyError when the study is not this search's to write any more."""


class StoredStudy:
    """One study in its storage: records are added, never changed; what is learnt later stands beside them.

    `check` is asked before every write.
    """

    def __init__(
        self, stored: optuna.Study, storage: optuna.storages.RDBStorage, card: StudyCard, space: Space, check: Check
    ) -> None:
        self._stored, self._storage = stored, storage
        self._id = storage.get_study_id_from_name(card.name)
        self._check = check
        self.card = card
        self._distributions = distributions(space)

    def records(self) -> list[TrialRecord]:
        """All records, each with what was added later. Raises StorageError for those of another version."""
        with _undamaged(self.card.name), _storage_errors(self.card.name):
            return _read_records(self._stored, self._storage)

    def add(
        self,
        record: TrialRecord,
        raw: Mapping[str, Scalar],
        values: Sequence[float] | None,
        excess: Mapping[str, float],
    ) -> TrialRecord:
        """Store the record as the next trial, in one transaction; give it back with its number.

        `raw`, `values` (None: it failed) and `excess` are what Optuna's own plots and samplers see of it.
        """
        attributes = {_RECORD: record.to_json(), "configuration": str(record.configuration), "label": record.label}
        with _storage_errors(self.card.name):
            self._check()
            trial = frozen(self._distributions, raw, values, excess, attributes)
            number = self._storage.get_trial_number_from_id(self._storage.create_new_trial(self._id, trial))
        return record.with_number(number)

    def add_later(self, record: TrialRecord, later: Later) -> TrialRecord:
        """Store what was learnt of a stored trial afterwards; give the record back with it."""
        key = f"{LATER}{record.number}:{time.time_ns():020d}-{secrets.token_hex(4)}"  # overwrites none before it
        with _storage_errors(self.card.name):
            self._check()
            self._stored.set_user_attr(key, later.to_json())
        return later.added_to(record)

    def early_stop(self) -> EarlyStop | None:
        """How the last search ended that did so before its budget. Raises StorageError for that of another version."""
        with _undamaged(self.card.name), _storage_errors(self.card.name):
            return _read_early_stop(self._stored)

    def end_early(self, ended: EarlyStop) -> None:
        """Store that a search ended before its budget."""
        with _storage_errors(self.card.name):
            self._check()
            self._stored.set_user_attr(_EARLY_STOP, asdict(ended))


def objective_values(record: TrialRecord, card: StudyCard) -> list[float] | None:
    """The objectives of a record as the samplers get them: minimised, in logarithms where ratios count.

    None where it was not measured and scored, or one of them is not known.
    """
    chosen = [objectives()[name] for name in card.objectives]
    if record.quality is None or record.measurement is None or not all(number.known(record) for number in chosen):
        return None
    return [number.told(record) for number in chosen]


@contextmanager
def open_storage(url: str, card: StudyCard, space: Space) -> Iterator[StoredStudy]:
    """The study called `card.name` in the storage at `url`, made if it is new, held while the block runs.

    Raises StorageError when the storage cannot be used or holds another study of that name, and
    BusyError when a search on another machine is alive on it.
    """
    with ExitStack() as held:
        writer = held.enter_context(only_writer(url, card.name))
        yield held.enter_context(_opened(url, card, space, writer))


@contextmanager
def _opened(url: str, card: StudyCard, space: Space, writer: Writer) -> Iterator[StoredStudy]:
    with _undamaged(url), _storage_errors(url):
        storage = _storage(url)
        stored = _connect(storage, card)
        known = stored.user_attrs.get(_CARD)
    study_id, arms = secrets.token_hex(8), card.arms
    if known is not None:
        with _of_this_version(card.name):
            before = StudyCard.from_json(known)
        if before.identity() != card.identity():
            raise StorageError(_difference(before, card))
        study_id, arms = before.id or study_id, {**before.arms, **arms}
        if LINKED in before.origin:  # a search on one target alone does not undo it
            card = replace(card, origin={LINKED: before.origin[LINKED], **card.origin})
    card = replace(card, id=study_id, arms=arms)
    with _storage_errors(url):
        stored.set_user_attr(_CARD, card.to_json())

    @_storage_errors(card.name)
    def read() -> Mapping[str, Any] | None:
        return stored.user_attrs.get(_LEASE)

    @_storage_errors(card.name)
    def write(lease: Mapping[str, Any]) -> None:
        stored.set_user_attr(_LEASE, dict(lease))

    with Lease(card.name, read, write, decided=writer.decides) as lease:

        def check() -> None:
            writer.check()
            lease.check()

        yield StoredStudy(stored, storage, card, space, check)


def read_study(url: str, name: str | None, workload: str | None = None) -> StudyResult:
    """A stored study as a value: the one called `name`, else the last one searched, of `workload` if given.

    Raises NoStudy when there is none, StorageError when the storage cannot be used.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    file = sqlite_file(url)
    if file is not None and not file.exists():  # connecting would create it
        raise NoStudy(f"no study is stored in {file}: run autoopt search first")
    with _undamaged(url), _storage_errors(url):
        storage = _storage(url)
        studies = storage.get_all_studies()  # Optuna's summaries would read the trials of all of them
        written = {item.study_name: item.user_attrs for item in studies if _CARD in item.user_attrs}
        cards, unreadable = _cards({key: item for key, item in written.items() if name in (None, key)})
        fitting = {key: card for key, card in cards.items() if workload in (None, card.workload)}
        if not fitting:
            if unreadable is not None:
                raise unreadable
            wanted = name or (f"a study of {workload}" if workload else "a study")
            there = ", ".join(sorted(cards if name is None else written))[:MOST_REASON] or "none"
            raise NoStudy(f"{wanted} is not in {without_secrets(url)} (there: {there}): run autoopt search first")
        last = max(fitting, key=lambda key: _searched_at(key, written[key], storage))
        stored = optuna.load_study(study_name=last, storage=storage)
        result = StudyResult(fitting[last], tuple(_read_records(stored, storage)), _read_early_stop(stored))
        _ = result.front  # every command asks for it: a record whose numbers are none is found here
        return result


def all_studies(url: str) -> list[StudyResult]:
    """All studies in a storage, none where there is no storage yet.

    Raises StorageError when the storage, or one of its studies, cannot be read.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    file = sqlite_file(url)
    if file is not None and not file.exists():
        return []
    with _undamaged(url), _storage_errors(url):
        storage = _storage(url)
        found = []
        for name in optuna.get_all_study_names(storage=storage):
            stored = optuna.load_study(study_name=name, storage=storage)
            if _CARD in stored.user_attrs:
                with _of_this_version(name):
                    card = StudyCard.from_json(stored.user_attrs[_CARD])
                found.append(StudyResult(card, tuple(_read_records(stored, storage)), _read_early_stop(stored)))
        return found


def study_names(url: str) -> set[str]:
    """The names of all studies in a storage, also of those that other programs made there. Raises StorageError."""
    import optuna

    with _undamaged(url), _storage_errors(url):
        return set(optuna.get_all_study_names(storage=_storage(url)))


def artifacts_in_use(url: str) -> set[str]:
    """The keys of what the trials of all studies in a storage measured: what `pull` may ask for.

    Raises StorageError when the storage, or one of its studies, cannot be read.
    """
    return {record.artifacts[-1] for study in all_studies(url) for record in study.records if record.artifacts}


def check_storage(url: str) -> None:
    """Raise StorageError when the storage at `url` cannot be used. Makes no file."""
    file = sqlite_file(url)
    if file is not None and not file.exists():
        return
    with _undamaged(url), _storage_errors(url):
        _storage(url)


def _cards(written: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, StudyCard], StorageError | None]:
    """The cards by study; and why one cannot be read, since others of the same storage may be asked for."""
    cards: dict[str, StudyCard] = {}
    unreadable: StorageError | None = None
    for name, attributes in written.items():
        try:
            with _of_this_version(name):
                cards[name] = StudyCard.from_json(attributes[_CARD])
        except StorageError as error:
            unreadable = error
    return cards, unreadable


def _searched_at(name: str, attributes: Mapping[str, Any], storage: optuna.storages.RDBStorage) -> float:
    """When a study was last searched, in seconds since 1970, without a look at its trials where the lease says it."""
    found = last_sign_of_life(attributes.get(_LEASE))
    if found > 0:
        return found
    import optuna

    trials = optuna.load_study(study_name=name, storage=storage).get_trials(deepcopy=False)  # before leases said it
    return max((t.datetime_complete.timestamp() for t in trials if t.datetime_complete), default=0.0)


@contextmanager
def _of_this_version(name: str) -> Iterator[None]:
    """Say in words that what is stored of study `name` has other fields than this version knows."""
    try:
        yield
    except (ValueError, TypeError, KeyError) as error:
        raise StorageError(
            f"study {name[:MOST_REASON]} was written by another version of autoopt ({str(error)[:MOST_REASON]}): "
            "read it with that version, or begin another one with --study NAME"
        ) from error


def _connect(storage: optuna.storages.RDBStorage, card: StudyCard) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=card.name,
        storage=storage,
        directions=["minimize"] * len(card.objectives),
        load_if_exists=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # only labels for Optuna's own plots
        study.set_metric_names([_label(name, card) for name in card.objectives])
    return study


def _label(objective: str, card: StudyCard) -> str:
    number = objectives()[objective]
    sign, log = "minus " if number.larger_is_better_in(card) else "", "log " if number.log else ""
    return f"{sign}{log}{number.name(card.primary)}{' in SI units' if number.unit else ''}"


def _storage(url: str) -> optuna.storages.RDBStorage:
    import optuna

    url = with_driver(url)
    sqlite = url.startswith("sqlite")
    of_server = {"pool_pre_ping": True, "connect_args": arguments(url)}
    settings = {"connect_args": {"timeout": LOCKED_S}} if sqlite else of_server
    return optuna.storages.RDBStorage(url, engine_kwargs=settings)


def _read_records(stored: optuna.Study, storage: optuna.storages.RDBStorage) -> list[TrialRecord]:
    """All records of a study, by number; read by a query, since Optuna's own trials take ten times as long to make."""
    import sqlalchemy

    wanted = {"study": storage.get_study_id_from_name(stored.study_name), "key": _RECORD}
    with storage.engine.connect() as connection:
        rows = connection.execute(sqlalchemy.text(_QUERY), wanted).all()
    with _of_this_version(stored.study_name):
        later_of = additions(stored.user_attrs)
        records = []
        for number, text in rows:
            record = TrialRecord.from_json(json.loads(text)).with_number(int(number))
            for later in later_of.get(record.number, ()):
                record = later.added_to(record)
            records.append(record)
        return records


def _read_early_stop(stored: optuna.Study) -> EarlyStop | None:
    with _of_this_version(stored.study_name):
        found = stored.user_attrs.get(_EARLY_STOP)
        return None if found is None else EarlyStop.from_json(found)


def _difference(known: StudyCard, card: StudyCard) -> str:
    before, now = known.identity(), card.identity()
    changed = [key for key in now if canonical_json(before.get(key)) != canonical_json(now[key])]
    return (
        f"study {card.name} was made with another {' and another '.join(changed)}: a study never mixes them. "
        "Use another --study, or leave --study out"
    )


@contextmanager
def _undamaged(where: str) -> Iterator[None]:
    """Turn what a value in the wrong place of a storage leads to, while it is read, into one StorageError."""
    try:
        yield
    except (
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        ArithmeticError,
        AssertionError,
        RecursionError,
    ) as error:
        reason = f"{type(error).__name__}: {without_secrets(str(error))[:MOST_REASON]}"
        raise StorageError(
            f"the study storage {without_secrets(where)} is damaged ({reason}): put a copy from before in its place, "
            "or begin another with --storage"
        ) from error


@contextmanager
def _storage_errors(where: str) -> Iterator[None]:
    """Turn what SQLAlchemy and Optuna raise about a storage into one StorageError."""
    import optuna
    import sqlalchemy.exc

    try:
        yield
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError, ImportError, RuntimeError) as error:
        problem, place = own_problem(error), without_secrets(where)
        if problem is not None:
            raise StorageError(f"the study storage {place} cannot be written: {problem}") from error
        reason = (str(getattr(error, "orig", None) or error).strip().splitlines() or [type(error).__name__])[0]
        raise StorageError(
            f"the study storage {place} cannot be used ({without_secrets(reason)}): check the URL (sqlite:///FILE or "
            "postgresql://USER@HOST/DB), that the server runs, and for PostgreSQL that autoopt[postgres] is installed"
        ) from error
