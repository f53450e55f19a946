"""Run one stored trial again, alone, and compare it with its record: `autoopt replay`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from autoopt.core.card import StudyCard
from autoopt.core.records import TrialRecord
from autoopt.errors import StorageError, UsageError, WeightsError
from autoopt.measure.target import Target
from autoopt.study.prepare import Prepared, prepare
from autoopt.study.request import HOME, SearchRequest, default_storage
from autoopt.study.result import SETTLED, StudyResult
from autoopt.study.storage import read_study
from autoopt.study.trial.bench import open_bench
from autoopt.study.trial.evaluate import evaluate
from autoopt.workloads.contract import Latency
from autoopt.workloads.loading import MODEL

FUNCTION = re.compile(r":[^:/]+$")
"""The end of a source that names a function in a file or module."""


@dataclass(frozen=True)
class Replay:
    """The stored record of a trial and the new one; `notes` say what else differs between then and now."""

    study: StudyResult
    before: TrialRecord
    after: TrialRecord
    notes: tuple[str, ...]


def parse_trial(trial: str) -> tuple[str | None, int]:
    """`NUMBER`, `#NUMBER` or `STUDY/NUMBER` as (study or None, number). Raises UsageError."""
    study, _, number = trial.rpartition("/")
    digits = number.removeprefix("#")
    if not digits.isascii() or not digits.isdigit():
        raise UsageError(f"a trial is named by its number, such as 12, or STUDY/12, got {trial!r}")
    return study or None, int(digits)


def find_trial(trial: str, study: str | None, home: Path, storage: str | None) -> tuple[StudyResult, TrialRecord]:
    """The study and the record that `trial` names; `study` is stronger than a study named in `trial`.

    Raises UsageError for text that names no trial, StorageError for a study or a trial that is not stored.
    """
    named, number = parse_trial(trial)
    result = read_study(storage or default_storage(home), study or named)
    return result, trial_of(result, number)


def trial_of(result: StudyResult, number: int) -> TrialRecord:
    """The judged record of a trial that must be there. Raises StorageError where it is not."""
    record = result.by_number(number)
    if record is None:
        last = max((item.number for item in result.records), default=-1)
        raise StorageError(f"study {result.card.name} has no trial {number}: its trials are 0 to {last}")
    return record


def replay_trial(
    trial: str,
    *,
    study: str | None = None,
    home: Path = HOME,
    storage: str | None = None,
    on_stage: Callable[[str], None] = lambda stage: None,
) -> Replay:
    """Evaluate the configuration of a stored trial again where it was measured, with the weights and data of its study.

    Nothing is added to the study. `on_stage` is told the name of every stage that begins. Raises UsageError when
    workload, weights or data changed since.
    """
    result, before = find_trial(trial, study, home, storage)
    prepared = prepare_as_before(result.card, home, measures=True)
    with closing(prepared), open_bench(prepared, on_stage=on_stage) as bench:
        bench.maker.check()
        after = evaluate(before.configuration, bench, origin="replay", label=before.label)
    notes = _notes(result.card, prepared, before, after)
    after = result.at_reference_latency(after.with_number(before.number))
    return Replay(result, before, after, notes)


def prepare_as_before(card: StudyCard, home: Path, target: Target | None = None, *, measures: bool = False) -> Prepared:
    """The workload, weights and space of a stored study, loaded again. Raises UsageError when they changed.

    Where it `measures`, and no `target` is given, the machine that measured the study is reached again.
    """
    data, weights = (_today(card.origin.get(name), card, home) for name in ("data", "weights"))
    prepared = prepare(
        SearchRequest(
            workload=_source_today(card, home),
            options=card.origin.get("options") or {},
            data=data,
            weights=None if card.demo else weights,
            weights_key=card.origin.get("weights_key"),
            target=card.origin.get("target") if measures else None,
            home=home,
        ),
        target,
    )
    if prepared.card.weights_digest != card.weights_digest:
        raise WeightsError(f"the weights {prepared.weights} are not those that study {card.name} was made with")
    if prepared.card.data_digest != card.data_digest:
        raise UsageError(f"the data {data or 'of the demo'} changed since study {card.name} was made")
    # What is timed (a call or a case) depends on the space of the study, which was not loaded.
    return replace(prepared, card=card, workload=replace(prepared.workload, latency=cast(Latency, card.latency)))


def _today(path: object, card: StudyCard, home: Path) -> Path | None:
    """Where a file or folder of a study is today: its home folder may have been moved or copied, alone or with them.

    What was in the home folder is in the one of today, and what is not there any more is looked for where it was as
    seen from the home folder.
    """
    if path is None:
        return None
    found, then = Path(str(path)), str(card.origin.get("home") or "")
    if not then or not found.is_absolute():
        return found
    moved = Path(os.path.normpath(home.resolve() / os.path.relpath(found, then)))
    return moved if moved.exists() and (found.is_relative_to(then) or not found.exists()) else found


def _source_today(card: StudyCard, home: Path) -> str:
    """The source of the study's workload, its file or folder where it is today."""
    source = str(card.origin.get("source") or card.workload)
    kind = MODEL if source.startswith(MODEL) else ""
    path, colon, function = source.removeprefix(kind), "", ""
    if not Path(path).exists() and FUNCTION.search(path):
        path, colon, function = path.rpartition(":")
    return f"{kind}{_today(path, card, home)}{colon}{function}"


def _notes(card: StudyCard, prepared: Prepared, before: TrialRecord, after: TrialRecord) -> tuple[str, ...]:
    notes = []
    if prepared.host.fingerprint != card.host.fingerprint:
        notes.append(f"this host ({prepared.host.fingerprint}) is not the one of the study ({card.host.fingerprint})")
    if before.artifacts and after.artifacts and before.artifacts != after.artifacts:
        notes.append("the artifacts were made anew: library versions, data or weights changed")
    if before.measurement and after.measurement:
        then, now = before.measurement.effective, after.measurement.effective
        changed = [name for name in SETTLED if then.get(name) != now.get(name)]
        notes += [f"effective {name} was {then.get(name)}, now it is {now.get(name)}" for name in changed]
    return tuple(notes)
