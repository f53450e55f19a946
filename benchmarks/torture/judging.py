"""What must hold of a search after a bad day, as functions of what was seen: each names what does not hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoopt.core.records import Status, TrialRecord
from autoopt.core.scratch import MARK
from autoopt.core.urls import sqlite_url
from autoopt.study.result import StudyResult
from autoopt.study.storage import read_study
from autoopt.tracking import read_trials
from autoopt.tracking.runs import written
from benchmarks.torture.searching import Ended, Search, identities, is_trial_line

TRACEBACK = "Traceback (most recent call last)"
MOST_LINES = 2
"""How many lines an error may have that is "one line": the sentence, and where it came from when it has two parts."""
REMARKS = ("the reference takes ", "autoopt: this host is busy")
"""Lines of a search that are neither a trial nor an error."""


@dataclass(frozen=True)
class Seen:
    """A study after its search came to an end, what MLflow shows of it, what lies about, and what the command said."""

    study: StudyResult
    shown: tuple[TrialRecord, ...]
    left_behind: tuple[str, ...] = ()
    said: str = ""


def look(search: Search, home: Path, *, storage: str | None = None, tracking: str | None = None) -> Seen:
    """What is there now: the study in the storage, its runs, and temporary files of processes that are gone."""
    study = read_study(storage or sqlite_url(home / "study.db"), None)
    shown = read_trials(tracking or sqlite_url(home / "mlflow.db"), study.card.name)
    places = (search.temporary, home, home / "demo", home / "weights", *(home / "store").glob("[!.]*"))
    left = [str(path) for place in places if place.is_dir() for path in place.iterdir() if MARK.match(path.name)]
    return Seen(study, tuple(shown), tuple(left), search.log.read_text(errors="replace"))


def lost(before: Sequence[TrialRecord], after: Sequence[TrialRecord]) -> Iterator[str]:
    """Trials of before that are not there any more as they were; one that failed may have been tried again since."""
    now = dict(zip((record.number for record in after), identities(after), strict=True))
    for record, known in zip(before, identities(before), strict=True):
        found = now.get(record.number)
        again = record.status is Status.FAILED and found is not None and found[:2] == known[:2]
        if found != known and not again:
            yield f"stored trial changed: {known} became {found}"


def broken(
    seen: Seen, before: Sequence[TrialRecord], *, budget: int, most_failed: int = 0, words: Collection[str] = ()
) -> Iterator[str]:
    """What does not hold of a finished search that had `before` and may have failed trials.

    Those are at most `most_failed`, each with one of the `words` in its message: what was done to it explains it.
    """
    records, study = seen.study.records, seen.study
    yield from lost(before, records)
    if [record.number for record in records] != list(range(budget)):
        yield f"trials {[record.number for record in records]} instead of 0 to {budget - 1}"
    counts = Counter(record.configuration.digest for record in records)
    yield from (f"configuration {key[:12]} was tried {count} times" for key, count in counts.items() if count > 1)
    failed = [record for record in records if record.status is Status.FAILED]
    for record in failed:
        message = "" if record.failure is None else record.failure.message
        if len(failed) > most_failed or not any(word in message for word in words):
            yield f"trial #{record.number} failed: {message}"
    for record in study.complete:
        if "drop" not in study.headline(record):
            yield f"the drop of trial #{record.number} is not known"
    if seen.shown != tuple(written(record, study) for record in study.judged):
        yield "MLflow does not show what the study knows"
    yield from (f"left behind: {name}" for name in seen.left_behind)
    if TRACEBACK in seen.said:
        yield "a traceback was shown"


def ended_badly(
    ended: Ended, *, codes: Collection[int], words: Collection[str] = (), lines: int | None = MOST_LINES
) -> Iterator[str]:
    """What does not hold of how a command ended.

    It must give one of the exit `codes`, say each of the `words`, and tell no traceback and, where it did not finish,
    no more than `lines` lines beside those of trials (None: as many as it likes).
    """
    if ended.code not in codes:
        yield f"exit code {ended.code} instead of {' or '.join(map(str, codes))}: {ended.said[-300:]!r}"
    if TRACEBACK in ended.said or "Exception ignored" in ended.said:
        yield f"a traceback was shown: {ended.said[-300:]!r}"
    said = [line for line in ended.said.splitlines() if line.strip() and not is_trial_line(line)]
    said = [line for line in said if not line.startswith(REMARKS)]
    if ended.code not in (0, 3) and lines is not None and len(said) > lines:
        yield f"{len(said)} lines instead of at most {lines}: {said[0]!r}"
    for word in words:
        if not any(word in line for line in said):
            yield f"nothing says {word!r}: {ended.said[-300:]!r}"
