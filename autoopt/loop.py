"""The search: study, bench and tracking wired together. Proposes, evaluates, stores and logs until told to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from autoopt.errors import NoStudy
from autoopt.evaluate import Bench, evaluate, open_bench
from autoopt.make import warm_child
from autoopt.measure.host import current_host
from autoopt.measure.lock import host_lock
from autoopt.records import Status, TrialRecord, digest
from autoopt.request import Prepared, Request, prepare
from autoopt.results import StudyResult
from autoopt.study import Study, check_storage, open_study, read_study
from autoopt.tracking import Tracker, default_tracking_uri, warm_up

if TYPE_CHECKING:
    from collections.abc import Iterator

FAILURES_IN_A_ROW = 10
"""So many failed trials in a row end a study: something is wrong with the host, not with a configuration."""
FRONT_EVERY = 5
"""Trials between two updates of the front in MLflow."""


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
        bench = None
        if len(before.records) < request.budget:
            on_stage = partial(_announce, tell, request.budget, before)
            bench = held.enter_context(open_bench(prepared, on_stage=on_stage, child=child))
        tracker = Tracker(request.tracking_uri or default_tracking_uri(request.home), request.home)
        if bench is not None:
            bench.maker.check()  # before there is a study: weights that do not fit leave no empty one behind
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
        self._first_trial_s: float | None = None

    def run(self, bench: Bench | None) -> SearchResult:
        """Spend the budget on `bench`; without a bench there is nothing left to spend."""
        exhaustive = self._study.exhaustive(self._budget)
        if bench is None:
            self._tracker.update_front(self._study.result)
            return self._finish("the budget was already spent", exhaustive, {}, {})
        stopped = self._spend(replace(bench, on_stage=self._on_stage), exhaustive)
        self._on_stage("report")
        self._tracker.update_front(self._study.result)
        return self._finish(stopped, exhaustive, dict(bench.maker.made), dict(bench.maker.reused))

    def _spend(self, bench: Bench, exhaustive: bool) -> str:
        """Trial after trial until something says stop; returns what did."""
        for proposal in self._study.proposals(self._budget):
            if self._out_of_time():
                return "the time is up"
            record = evaluate(proposal.configuration, bench, origin=proposal.origin, label=proposal.label)
            self._on_stage("store")
            record = self._study.tell(proposal, record)
            self._new.append(record)
            if self._first_trial_s is None:
                self._first_trial_s = time.perf_counter() - self._began
            result = self._study.result
            self._tracker.log_trial(record, result)
            if len(self._new) % FRONT_EVERY == 0:
                self._tracker.update_front(result)
            self._listener(Progress("store", self._budget, result, record, self._seconds_left()))
            last = self._new[-FAILURES_IN_A_ROW:]
            if len(last) == FAILURES_IN_A_ROW and all(item.status is Status.FAILED for item in last):
                return f"{FAILURES_IN_A_ROW} trials in a row failed"
        if len(self._study.records) < self._budget:
            return "every point of the space was tried" if exhaustive else "nothing new is left to try"
        return "the budget is spent"

    def _finish(
        self, stopped: str, exhaustive: bool, made: Mapping[str, int], reused: Mapping[str, int]
    ) -> SearchResult:
        kinds = {
            kind: sum(record.seconds.get(kind, 0.0) for record in self._new) for kind in ("make", "measure", "score")
        }
        total = time.perf_counter() - self._began
        seconds = {**kinds, "rest": total - sum(kinds.values()), "total": total}
        return SearchResult(self._study.result, stopped, exhaustive, made, reused, seconds, self._first_trial_s)

    def _on_stage(self, stage: str) -> None:
        self._listener(Progress(stage, self._budget, self._study.result, None, self._seconds_left()))

    def _out_of_time(self) -> bool:
        limit = self._prepared.request.time_s
        return limit is not None and time.perf_counter() - self._began >= limit

    def _seconds_left(self) -> float | None:
        if not self._new:
            return None
        # The median of the trials alone: starting up and the slow reference come once and say nothing of the rest.
        per_trial = float(np.median([sum(record.seconds.values()) for record in self._new]))
        left = per_trial * (self._budget - len(self._study.records))
        limit = self._prepared.request.time_s
        return left if limit is None else min(left, max(0.0, limit - (time.perf_counter() - self._began)))


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
