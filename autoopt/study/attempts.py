"""What a search runs next: new proposals, and what has to be tried again before its outcome is believed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from autoopt.core.records import TrialRecord
from autoopt.errors import BadData, Numeric, ReferenceDied, TargetLost, Unsupported
from autoopt.study.proposals import SEED, Proposal

CERTAIN = (Unsupported.cause, Numeric.cause, BadData.cause)
"""Causes of failures that another try would not change."""
OF_THE_HOST = (ReferenceDied.cause, TargetLost.cause)
"""Causes that have nothing to do with the configuration."""
TWICE = 2
"""Tries of what a signal ended: once may be chance, such as memory that another program took."""


@dataclass(frozen=True)
class Attempt:
    """One try of a proposal, `tries` counts them from 1. `number` is the stored trial that it replaces, None for a new
    one; `failed` is what the last try gave, where it failed."""

    proposal: Proposal
    tries: int = 1
    number: int | None = None
    failed: TrialRecord | None = None

    @classmethod
    def of(cls, record: TrialRecord) -> Attempt:
        """A stored trial that is to be run again."""
        return cls(Proposal(record.configuration, None, record.origin, record.label), number=record.number)

    def next(self, record: TrialRecord) -> Attempt:
        """The try after this one, of which `record` came."""
        return replace(self, tries=self.tries + 1, failed=None if record.failure is None else record)


class Attempts:
    """Iterates over all tries of a search: first those of stored trials, then the proposals, then what is left.

    What was put off comes after at least one other trial, or after all others; seeds at once, since all others are
    compared with them.
    """

    def __init__(self, proposals: Iterable[Proposal], stored: Iterable[Attempt] = ()) -> None:
        self._proposals = iter(proposals)
        self._stored = deque(stored)
        self._soon: deque[Attempt] = deque()
        self._last: deque[Attempt] = deque()

    def put_off(self, attempt: Attempt, *, to_the_end: bool = False) -> None:
        """Try this again later."""
        (self._last if to_the_end and attempt.proposal.origin != SEED else self._soon).append(attempt)

    @property
    def left(self) -> tuple[Attempt, ...]:
        """What was put off and not tried again so far."""
        return (*self._soon, *self._last)

    def __iter__(self) -> Iterator[Attempt]:
        while self._stored:
            yield from self._followed(self._stored.popleft())
        for proposal in self._proposals:
            yield from self._followed(Attempt(proposal))
        while self._soon:
            yield self._soon.popleft()
        while self._last:
            yield self._last.popleft()

    def _followed(self, attempt: Attempt) -> Iterator[Attempt]:
        """The attempt, and after it what was waiting before."""
        waiting = len(self._soon)
        yield attempt
        while self._soon and self._soon[-1].proposal.origin == SEED:
            yield self._soon.pop()
        for _ in range(waiting):
            yield self._soon.popleft()


def reason_to_wait(record: TrialRecord, tries: int, most: int) -> str:
    """Why the outcome of this try is not believed yet, such as a busy host; empty where it is.

    `most` is the number of tries that the host may spoil.
    """
    failure = record.failure
    if record.measurement is not None and record.measurement.contended:
        return record.measurement.contended if tries < most else ""
    if failure is None:
        return ""
    if failure.cause in OF_THE_HOST:
        return failure.message if tries < most else ""
    return failure.message if failure.by_signal and tries < TWICE else ""


def to_retry(record: TrialRecord, *, all_failed: bool) -> bool:
    """Whether a new command runs the stored trial again.

    It does so with what failed through no fault of its own: a trial whose reference or target died, and a seed that did
    not fail for certain, because all others are compared with the seeds. With `all_failed` it does so with all
    failures.
    """
    if record.failure is None:
        return False
    cause = record.failure.cause
    return all_failed or cause in OF_THE_HOST or (record.origin == SEED and cause not in CERTAIN)


def told(attempt: Attempt, record: TrialRecord) -> TrialRecord:
    """The record with notes on the tries before, and on a host that stayed busy."""
    if attempt.failed is not None and attempt.failed.failure is not None:
        record = noted(record, f"tried {attempt.tries} times: before, {attempt.failed.failure.message}")
    if record.measurement is not None and record.measurement.contended:
        record = noted(record, f"noisy: {attempt.tries} times {record.measurement.contended}")
    return record


def noted(record: TrialRecord, note: str) -> TrialRecord:
    """The record with a remark more."""
    return replace(record, notes=(*record.notes, note))
