"""The study of a search: what comes next, what was tried, how it stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

from autoopt.core.card import StudyCard
from autoopt.core.configuration import Scalar
from autoopt.core.measurement import Measurement
from autoopt.core.records import TrialRecord
from autoopt.core.scores import Quality
from autoopt.study.early_stop import EarlyStop
from autoopt.study.later import Later
from autoopt.study.limits import violations
from autoopt.study.proposals import GivenProposals, Proposal, Proposals
from autoopt.study.quantization_loss import int8_loses, may_train
from autoopt.study.result import StudyResult
from autoopt.study.samplers import DEFAULT, Found
from autoopt.study.space import Space, named_arms
from autoopt.study.stopping import hypervolume_noise, objective_noise
from autoopt.study.storage import objective_values, open_storage


class Stored(Protocol):
    """Where the records of a study are kept; see `storage.StoredStudy`."""

    card: StudyCard

    def records(self) -> list[TrialRecord]:
        """All records."""
        ...

    def add(
        self,
        record: TrialRecord,
        raw: Mapping[str, Scalar],
        values: Sequence[float] | None,
        excess: Mapping[str, float],
    ) -> TrialRecord:
        """Store the next record; give it back with its number."""
        ...

    def add_later(self, record: TrialRecord, later: Later) -> TrialRecord:
        """Store what was learnt of a stored trial afterwards; give the record back with it."""
        ...

    def early_stop(self) -> EarlyStop | None:
        """How the last search ended that did so before its budget."""
        ...

    def end_early(self, ended: EarlyStop) -> None:
        """Store that a search ended before its budget."""
        ...


class Study:
    """One study: proposes, remembers, never proposes the same configuration twice. It runs nothing.

    `sampler` is the name of what proposes once the seeds are tried, a key of `samplers.SAMPLERS`. Where proposals are
    `given` there are no others.
    """

    def __init__(
        self, stored: Stored, space: Space, sampler: str = DEFAULT, given: Sequence[Proposal] | None = None
    ) -> None:
        self._stored = stored
        self.card = stored.card
        self.result = StudyResult(self.card, tuple(stored.records()), stored.early_stop())
        """The study so far, as a value."""
        count, seed = len(self.result.records), self.card.seed
        dimensions = len(self.card.objectives)
        self._proposals = (
            Proposals(space, dimensions, seed, count, sampler)
            if given is None
            else GivenProposals(given, space, dimensions)
        )
        for record in self.result.records:
            self._proposals.tell(record.configuration, None, *self._outcome(record))
        self._proposals.noise = objective_noise(self.result)
        self._proposals.trains = not may_train(space) or any(
            int8_loses(record, self.result.records[:place]) for place, record in enumerate(self.result.records)
        )

    @property
    def records(self) -> tuple[TrialRecord, ...]:
        """All records as they are stored, by number."""
        return self.result.records

    def exhaustive(self, budget: int) -> bool:
        """Whether the whole canonical space, with the seeds outside it, fits the budget: then every point is tried."""
        return self._proposals.exhaustive(budget)

    def start_with(self, points: Sequence[Found]) -> None:
        """Propose these points of the space right after the seeds."""
        self._proposals.start_with(points)

    def proposals(self, budget: int, *, early_stop: bool = False) -> Iterator[Proposal]:
        """What to try next until `budget` trials are recorded or nothing new is left: see `Proposals.until`.

        With `early_stop` it ends as well where nothing more is to be expected.
        """
        return self._proposals.until(budget, (lambda: hypervolume_noise(self.result)) if early_stop else None)

    def end(self) -> EarlyStop | None:
        """Store that the last proposals ended before their budget, where they did; returns why."""
        if self._proposals.early_stop is None:
            return None
        ended = replace(self._proposals.early_stop, trials=len(self.records))  # also of what was put off
        self._stored.end_early(ended)
        self.result = replace(self.result, ended_early=ended)
        return ended

    def stay_ended(self, before: StudyResult) -> None:
        """Where the study had ended early `before`, it still has: trials came since that no sampler proposed."""
        if before.early_stop is not None:
            ended = replace(before.early_stop, trials=len(self.records))
            self._stored.end_early(ended)
            self.result = replace(self.result, ended_early=ended)

    def begin(self, proposal: Proposal) -> None:
        """It is being run: the next proposal is another one, and its place in the budget is taken."""
        self._proposals.begin(proposal)

    def postpone(self, proposal: Proposal) -> None:
        """Do not propose it again: whoever puts it off comes back to it. It has its place in the budget."""
        self._proposals.postpone(proposal)

    def tell(self, proposal: Proposal, record: TrialRecord) -> TrialRecord:
        """Store what came out of a proposal as the next trial; give it back with its number, judged by the limits."""
        seen = self.result.as_next(record)
        stored = self._stored.add(record, proposal.raw or {}, objective_values(seen, self.card), self._excess(seen))
        before, self.result = self.result, self.result.plus(stored)
        self._teach_again_after(before)
        self._proposals.tell(stored.configuration, proposal.raw, *self._outcome(stored))
        self._proposals.trains = self._proposals.trains or int8_loses(stored, before.records)
        self._proposals.noise = objective_noise(self.result)
        return self._judged(stored.number)

    def replace(self, number: int, record: TrialRecord) -> TrialRecord:
        """Put `record`, of another try, in the place of the failed trial `number`; give it back judged."""
        if not self._add_later(number, Later.of(again=record)):
            self._correct(self.result.stored[number])
        found = self.result.stored[number]
        self._proposals.trains = self._proposals.trains or int8_loses(found, self.result.records)
        return self._judged(number)

    def add(
        self, number: int, *, more: Measurement | None = None, test: Quality | None = None, note: str = ""
    ) -> TrialRecord:
        """Add what was learnt of trial `number` after it was stored: samples, its quality on test, a remark."""
        self._add_later(number, Later.of(more, test, note))
        return self._judged(number)

    def _add_later(self, number: int, later: Later) -> bool:
        """Store it; the answer is whether the sampler was taught anew."""
        before, records = self.result, list(self.result.records)
        index = next(index for index, record in enumerate(records) if record.number == number)
        records[index] = self._stored.add_later(records[index], later)
        self.result = replace(self.result, records=tuple(records))
        return self._teach_again_after(before)

    def _judged(self, number: int) -> TrialRecord:
        found = self.result.by_number(number)
        assert found is not None
        return found

    def _correct(self, record: TrialRecord) -> None:
        self._proposals.correct(record.configuration, None, *self._outcome(record))

    def _teach_again_after(self, before: StudyResult) -> bool:
        """Teach all trials of `before` anew where the reference's latency is another one now, and all theirs with it.

        A sampler that was told some latencies by one level and some by another would compare what cannot be compared.
        """
        if before.reference_latency_s in (None, self.result.reference_latency_s):
            return False
        self._proposals.forget_outcomes()
        for record in before.records:
            self._correct(self.result.stored[record.number])
        return True

    def _outcome(self, record: TrialRecord) -> tuple[list[float] | None, dict[str, float]]:
        """The objectives and the excess over the limits of a stored record, at the latencies of the study."""
        seen = self.result.at_reference_latency(record)
        return objective_values(seen, self.card), self._excess(seen)

    def _excess(self, record: TrialRecord) -> dict[str, float]:
        """By how much each limit is missed, zero or less where it is kept; nothing of a trial that was not scored."""
        if objective_values(record, self.card) is None:
            return {}
        reference = self.result.reference or self.result.plus(record).reference  # the first seed is its own
        return violations(record, reference, self.card.limits, self.result.sigma)


@contextmanager
def open_study(
    url: str, card: StudyCard, space: Space, sampler: str = DEFAULT, given: Sequence[Proposal] | None = None
) -> Iterator[Study]:
    """The study called `card.name` in the storage at `url`, made if it is new, held while the block runs.

    Raises StorageError when the storage cannot be used or holds another study of that name, and
    BusyError when a search on another machine is alive on it.
    """
    card = card if given is not None else replace(card, arms=named_arms(space))
    with open_storage(url, card, space) as stored:
        yield Study(stored, space, sampler, given)
