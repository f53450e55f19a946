"""The search: study, bench and tracking wired together. Proposes, evaluates, stores and logs until told to stop."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from autoopt.confirming import AT_ONCE, head_to_head, on_test
from autoopt.errors import NoStudy, TrialError, UsageError
from autoopt.evaluate import Bench, Stages, evaluate, open_bench
from autoopt.limits import unknown_of
from autoopt.make import warm_child
from autoopt.measure.host import current_host
from autoopt.measure.lock import host_lock
from autoopt.measure.pack import pack_cases
from autoopt.planning import seconds_left
from autoopt.records import Measurement, Quality, Status, TrialRecord, digest
from autoopt.request import Prepared, Request, prepare
from autoopt.results import StudyResult
from autoopt.space import seeds
from autoopt.study import Proposal, Study, check_storage, open_study, read_study
from autoopt.tracking import Tracker, default_tracking_uri, warm_up

FAILURES_IN_A_ROW = 10
"""So many failed trials in a row end a study: something is wrong with the host, not with a configuration."""
FRONT_EVERY = 5
"""Trials between two updates of the front in MLflow."""
RECHECK_SHARE = 0.2
"""Of the time that measuring takes, kept for measuring contested trials again."""
TRIES = 3
"""How often a trial is measured whose host was busy, before its numbers are kept and called noisy."""

Attempt = tuple[Proposal, int]


@dataclass(frozen=True)
class Progress:
    """What a listener is told at every stage of every trial: enough to draw a progress bar.

    `stage` is the stage that begins, `record` the trial that just ended (else None), `result` the
    study so far, `seconds_left` an estimate or None while nothing is known.
    """

    stage: str
    budget: int
    result: StudyResult
    record: TrialRecord | None = None
    seconds_left: float | None = None


Listener = Callable[[Progress], None]


@dataclass(frozen=True)
class SearchResult:
    """What a search found and what it cost.

    `stopped` says why it ended. `made` and `reused` count artifacts by stage, in this command.
    `seconds` is the wall time of this command by kind: make, measure, score, rest and total;
    `first_trial_s` the time from the call to the first finished trial, None when none ran.
    """

    study: StudyResult
    stopped: str
    exhaustive: bool
    made: Mapping[str, int] = field(default_factory=dict)
    reused: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    first_trial_s: float | None = None

    @property
    def front(self) -> tuple[TrialRecord, ...]:
        """The complete, feasible trials that no other dominates, fastest first."""
        return self.study.front

    @property
    def records(self) -> tuple[TrialRecord, ...]:
        """All trials of the study, by number."""
        return self.study.judged


def search(request: Request, *, listener: Listener | None = None) -> SearchResult:
    """Run the search that `request` describes, or continue it, and return what the study knows.

    Every trial is in the study storage and in MLflow when this returns. Raises UsageError for bad
    input and BusyError when another process searches the same study.
    """
    began = time.perf_counter()
    tell = listener or (lambda progress: None)
    with ExitStack() as held:
        # A process imports torch, and a thread MLflow, while demo data are drawn and files are checked.
        child = held.enter_context(warm_child(current_host()))
        threading.Thread(target=warm_up, name="autoopt-mlflow", daemon=True).start()
        prepared = prepare(request)
        held.enter_context(host_lock(f"study-{digest([prepared.storage_url, prepared.card.name])[:16]}", timeout_s=0))
        before = _study_so_far(prepared)
        _check_guards(before, prepared.card.limits)
        bench = None
        if len(before.records) < request.budget or before.unconfirmed:
            on_stage = partial(_announce, tell, request.budget, before)
            bench = held.enter_context(open_bench(prepared, on_stage=on_stage, child=child, before=before))
        tracker = Tracker(request.tracking_uri or default_tracking_uri(request.home), request.home)
        if bench is not None:
            bench.maker.check()  # before there is a study: weights that do not fit leave no empty one behind
            bench.begin(seeds(prepared.space)[0].configuration)
        study = held.enter_context(open_study(prepared.storage_url, prepared.card, prepared.space))
        held.enter_context(_tracked(tracker, study))
        return _Loop(prepared, study, tracker, tell, began).run(bench)


def _study_so_far(prepared: Prepared) -> StudyResult:
    """The study as it is stored, without records when it is new. Raises StorageError."""
    check_storage(prepared.storage_url)
    try:
        return read_study(prepared.storage_url, prepared.card.name)
    except NoStudy:
        return StudyResult(prepared.card, ())


def _check_guards(before: StudyResult, limits: Mapping[str, float]) -> None:
    """Raise UsageError when stored trials tell nothing of a guard: they would pass unseen."""
    scored = [record for record in before.records if record.quality is not None]
    missing = sorted({name for record in scored for name in unknown_of(record, before.reference, limits)})
    if missing:
        raise UsageError(
            f"study {before.card.name} was searched without the guard {', '.join(missing)}, and its trials tell "
            "nothing of it: begin another study with --study NAME"
        )


def _announce(tell: Listener, budget: int, result: StudyResult, stage: str) -> None:
    tell(Progress(stage, budget, result))


class _Loop:
    """The loop of one command: its clock, its counters, its listener."""

    def __init__(self, prepared: Prepared, study: Study, tracker: Tracker, listener: Listener, began: float) -> None:
        self._prepared = prepared
        self._study = study
        self._tracker = tracker
        self._listener = listener
        self._began = began
        self._budget = prepared.request.budget
        self._new: list[TrialRecord] = []
        self._spent: list[Mapping[str, float]] = []
        self._first_trial_s: float | None = None
        self._ends_at: float | None = None
        """When the last trial will be done, as estimated after the last one that was."""
        self._after = Stages(self._on_stage)

    def run(self, bench: Bench | None) -> SearchResult:
        """Spend the budget on `bench`, then look again at what is contested, and at the front on test.

        Without a bench there is nothing left to spend.
        """
        exhaustive = self._study.exhaustive(self._budget)
        if bench is None:
            self._tracker.update_front(self._study.result)
            return self._finish("the budget was already spent", exhaustive, {}, {})
        bench = replace(bench, on_stage=self._on_stage)
        stopped = self._spend(bench, exhaustive)
        self._recheck(bench)
        self._confirm(bench)
        self._on_stage("report")
        self._tracker.update_front(self._study.result)
        return self._finish(stopped, exhaustive, dict(bench.maker.made), dict(bench.maker.reused))

    def _spend(self, bench: Bench, exhaustive: bool) -> str:
        """Trial after trial until something says stop; returns what did."""
        again: deque[Attempt] = deque()
        for proposal, tries in _attempts(self._study.proposals(self._budget), again):
            if self._out_of_time():
                return "the time is up"
            bench = replace(bench, so_far=self._study.result)
            record = evaluate(proposal.configuration, bench, origin=proposal.origin, label=proposal.label)
            self._spent.append(record.seconds)
            if record.measurement is not None and record.measurement.contended:
                if tries < TRIES:
                    self._study.postpone(proposal)
                    again.append((proposal, tries + 1))
                    continue
                record = replace(record, notes=(*record.notes, f"noisy: {tries} times {record.measurement.contended}"))
            self._keep(proposal, record)
            last = self._new[-FAILURES_IN_A_ROW:]
            if len(last) == FAILURES_IN_A_ROW and all(item.status is Status.FAILED for item in last):
                return f"{FAILURES_IN_A_ROW} trials in a row failed"
        if len(self._study.records) < self._budget:
            return "every point of the space was tried" if exhaustive else "nothing new is left to try"
        return "the budget is spent"

    def _keep(self, proposal: Proposal, record: TrialRecord) -> None:
        """Store the record, log it, tell the listener."""
        self._on_stage("store")
        record = self._study.tell(proposal, record)
        self._new.append(record)
        if self._first_trial_s is None:
            self._first_trial_s = time.perf_counter() - self._began
        self._ends_at = time.perf_counter() + seconds_left(self._prepared, self._study.records)
        result = self._study.result
        self._tracker.log_trial(record, result)
        if len(self._new) % FRONT_EVERY == 0:
            self._tracker.update_front(result)
        self._listener(Progress("store", self._budget, result, record, self._seconds_left()))

    def _recheck(self, bench: Bench) -> None:
        """Measure contested trials head to head, for a share of the time that measuring took."""
        measured_s = sum(record.seconds.get("measure", 0.0) for record in self._new)
        most_s, began = RECHECK_SHARE / (1 - RECHECK_SHARE) * measured_s, time.perf_counter()
        while time.perf_counter() - began < most_s and not self._out_of_time(whole=True):
            records = self._study.result.contested[:AT_ONCE]
            if not records:
                return
            try:
                found = head_to_head(records, bench, self._after)
            except TrialError as error:
                for record in records:
                    self._add(record, note=f"could not be measured again: {error.message}")
                return
            for record, more in zip(records, found, strict=True):
                self._add(record, more=more)

    def _confirm(self, bench: Bench) -> None:
        """Score the reference and the front on test, each once."""
        unconfirmed = self._study.result.unconfirmed
        cases = pack_cases(bench.workload, "test", self._prepared.store) if unconfirmed else None
        for record in unconfirmed:
            assert cases is not None
            try:
                self._add(record, test=on_test(record, bench, self._after, cases))
            except TrialError as error:
                self._add(record, note=f"could not be confirmed on test: {error.message}")

    def _add(
        self, record: TrialRecord, *, more: Measurement | None = None, test: Quality | None = None, note: str = ""
    ) -> None:
        self._tracker.log_later(self._study.add(record.number, more=more, test=test, note=note))

    def _finish(
        self, stopped: str, exhaustive: bool, made: Mapping[str, int], reused: Mapping[str, int]
    ) -> SearchResult:
        spent = [*self._spent, self._after.seconds]  # also of tries that were put off
        kinds = {kind: sum(seconds.get(kind, 0.0) for seconds in spent) for kind in ("make", "measure", "score")}
        total = time.perf_counter() - self._began
        seconds = {**kinds, "rest": total - sum(kinds.values()), "total": total}
        return SearchResult(self._study.result, stopped, exhaustive, made, reused, seconds, self._first_trial_s)

    def _on_stage(self, stage: str) -> None:
        self._listener(Progress(stage, self._budget, self._study.result, None, self._seconds_left()))

    def _out_of_time(self, *, whole: bool = False) -> bool:
        """Whether the time for new trials is over, or (`whole`) all of it: a share is kept for the contested ones."""
        limit = self._prepared.request.time_s
        share = 1.0 if whole else 1.0 - RECHECK_SHARE
        return limit is not None and time.perf_counter() - self._began >= limit * share

    def _seconds_left(self) -> float | None:
        if self._ends_at is None:
            return None
        limit = self._prepared.request.time_s
        end = self._ends_at if limit is None else min(self._ends_at, self._began + limit)
        return max(0.0, end - time.perf_counter())


def _attempts(proposals: Iterator[Proposal], again: deque[Attempt]) -> Iterator[Attempt]:
    """New proposals and, after at least one other trial, those that were put into `again`, with the number of the try.

    Seeds are tried again at once: what all others are compared with cannot wait for them.
    """
    for proposal in proposals:
        waiting = len(again)
        yield proposal, 1
        while again and again[-1][0].origin == "seed":
            yield again.pop()
        for _ in range(waiting):
            yield again.popleft()
    while again:
        yield again.popleft()


@contextmanager
def _tracked(tracker: Tracker, study: Study) -> Iterator[None]:
    """The study open in the tracker, every stored trial logged there: none is missing after a kill."""
    logged = tracker.open_study(study.card)
    result = study.result
    for record in result.judged:
        if record.number not in logged:
            tracker.log_trial(record, result)
    state = "interrupted"
    try:
        yield
        state = "finished"
    finally:
        tracker.close(state)
