"""The search: proposes, has trials run, stores and announces them until told to stop. Its world comes as arguments."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial

from autoopt.core.configuration import digest
from autoopt.core.measurement import Measurement
from autoopt.core.records import Status, TrialRecord
from autoopt.core.scores import Quality
from autoopt.errors import NoStudy, TrialError, UsageError
from autoopt.measure.target import LocalTarget, Target
from autoopt.measure.timing import MeasuringPlan
from autoopt.study.attempts import Attempt, Attempts, noted, reason_to_wait, to_retry, told
from autoopt.study.early_stop import EarlyStop
from autoopt.study.events import Listener, Progress, SearchResult, silent
from autoopt.study.garbage import clean
from autoopt.study.lanes import lanes_for
from autoopt.study.limits import THROUGHPUT, is_guard, limit, unknown_of
from autoopt.study.plan import seconds_left
from autoopt.study.prepare import Prepared, prepare
from autoopt.study.proposals import SEED
from autoopt.study.request import SearchRequest
from autoopt.study.result import StudyResult
from autoopt.study.runner import Evaluate, LocalRunner, Runner
from autoopt.study.sink import Sink, opened
from autoopt.study.stopping import contested
from autoopt.study.storage import artifacts_in_use, check_storage, read_study
from autoopt.study.study import Study, open_study
from autoopt.study.trial.confirm import AT_ONCE
from autoopt.study.trial.evaluate import evaluate
from autoopt.study.warm_start import first_points
from autoopt.workloads.loading import imports_of

Clock = Callable[[], float]
"""Seconds since some moment; never goes back."""


@dataclass(frozen=True)
class Rules:
    """What a search decides by, besides its budget, its time and its limits.

    `failures_in_a_row` failed trials end it: something is wrong with the host, not with a configuration. Of the time
    that measuring takes, `recheck_share` is kept for measuring contested trials again. A trial whose host was busy is
    measured `tries` times before its numbers are kept and called noisy. Where the artifacts of the home folder are more
    than `store_bytes` in the end, those that no stored trial measured are removed, the longest unused first.
    """

    failures_in_a_row: int = 10
    recheck_share: float = 0.2
    tries: int = 3
    store_bytes: int = 20_000_000_000


USUAL = Rules()


def search(
    request: SearchRequest,
    *,
    sinks: Sequence[Sink] = (),
    evaluate: Evaluate = evaluate,
    clock: Clock = time.perf_counter,
    plan: MeasuringPlan | None = None,
    listener: Listener = silent,
    rules: Rules = USUAL,
    runner: Runner | None = None,
    target: Target | None = None,
) -> SearchResult:
    """Run the search that `request` describes, or continue it, and return what the study knows.

    Every trial is in the study storage and in all `sinks` when this returns. Trials are run by `evaluate`, each
    measured as long as `plan` says on `target`, by default this host, unless a `runner` is given. Raises UsageError for
    bad input and BusyError when another process searches the same study.
    """
    began = clock()
    with ExitStack() as held:
        if runner is None:
            runner = LocalRunner(LocalTarget().host, evaluate, plan, imports_of(request.workload))
        held.enter_context(runner)
        prepared = held.enter_context(closing(prepare(request, target)))
        lock = f"study-{digest([prepared.storage_url, prepared.card.name])[:16]}"
        held.enter_context(prepared.target.exclusive(lock, wait_s=0))
        before = _study_so_far(prepared)
        _check_guards(before, prepared.card.limits)
        loop = Loop(
            runner,
            sinks,
            budget=request.budget,
            time_s=request.time_s,
            rules=rules,
            clock=clock,
            began=began,
            listener=listener,
            before=before,
            retry_failed=request.retry_failed,
            early_stop=not request.no_early_stop,
        )
        again = any(to_retry(record, all_failed=request.retry_failed) for record in before.records)
        more = len(before.records) < request.budget and not loop.ended_early(before)
        to_do = more or again or bool(before.unconfirmed)
        if to_do:
            runner.open(prepared, before, loop.on_stage)
        for sink in sinks:  # before there is a study: what does not fit leaves no empty one behind
            sink.check()
        space = runner.check() if to_do else prepared.space
        loop.estimate_s = partial(seconds_left, replace(prepared, space=space))
        study = held.enter_context(open_study(prepared.storage_url, prepared.card, space, request.sampler))
        if to_do:
            study.start_with(first_points(space, prepared.earlier))
        held.enter_context(opened(sinks, study.result))
        result = loop.run(study) if to_do else loop.rest(study)
        _tidy(prepared, rules.store_bytes)
        return result


def _tidy(prepared: Prepared, most_bytes: int) -> None:
    """Remove what processes left that died meanwhile, and artifacts that no trial needs beyond `most_bytes`."""
    clean(prepared.request.home)
    if prepared.store.size_bytes() > most_bytes:
        prepared.store.collect(artifacts_in_use(prepared.storage_url), most_bytes)


def _study_so_far(prepared: Prepared) -> StudyResult:
    """The study as it is stored, without records when it is new. Raises StorageError."""
    check_storage(prepared.storage_url)
    try:
        return read_study(prepared.storage_url, prepared.card.name)
    except NoStudy:
        return StudyResult(prepared.card, ())


def _check_guards(before: StudyResult, limits: Mapping[str, float]) -> None:
    """Raise UsageError when stored trials tell nothing of a guard: they would pass unseen."""
    if before.reference is None:
        return  # nothing passes without one
    guards = {name: most for name, most in limits.items() if is_guard(name) or name == THROUGHPUT}
    scored = [record for record in before.records if record.quality is not None]
    missing = sorted({name for record in scored for name in unknown_of(record, before.reference, guards, before.sigma)})
    if missing:
        raise UsageError(
            f"study {before.card.name} was searched without {', '.join(map(_asked, missing))}, and its trials tell "
            "nothing of it: begin another study with --study NAME"
        )


def _asked(name: str) -> str:
    return f"the guard {name}" if is_guard(name) else limit(name).option.format("")[:-1]


class Loop:
    """The loop of one search: what is proposed is run, stored and announced, until a rule ends it.

    `estimate_s` says from the records how many seconds the rest takes; `began` is when the search was asked for, by
    `clock`; `before` is the study until `run` has it.
    """

    def __init__(
        self,
        runner: Runner,
        sinks: Sequence[Sink],
        *,
        budget: int,
        before: StudyResult,
        time_s: float | None = None,
        rules: Rules = USUAL,
        clock: Clock = time.perf_counter,
        began: float | None = None,
        listener: Listener = silent,
        estimate_s: Callable[[Sequence[TrialRecord]], float] = lambda records: 0.0,
        retry_failed: bool = False,
        early_stop: bool = False,
    ) -> None:
        self._runner = runner
        self._sinks = sinks
        self._budget = budget
        self._result = before
        self._time_s = time_s
        self._rules = rules
        self._clock = clock
        self._began = clock() if began is None else began
        self._listener = listener
        self.estimate_s = estimate_s
        self._retry_failed = retry_failed
        self._early_stop = early_stop
        self._new: list[TrialRecord] = []
        self._spent: list[Mapping[str, float]] = []
        self._first_trial_s: float | None = None
        self._lanes = lanes_for(1, self._run)
        self._ends_at: float | None = None  # when the last trial will be done, as estimated after each

    def run(self, study: Study) -> SearchResult:
        """Spend the budget, then measure again what is contested, and score the front on test."""
        stopped = self._spend(study)
        self._recheck(study)
        self._confirm(study)
        self.on_stage("report")
        return self._finish(study, stopped)

    def rest(self, study: Study) -> SearchResult:
        """What `run` returns where no budget is left and nothing is to be confirmed."""
        ended = self.ended_early(study.result) if len(study.records) < self._budget else None
        return self._finish(study, "the budget was already spent" if ended is None else ended.reason)

    def ended_early(self, study: StudyResult) -> EarlyStop | None:
        """How an earlier command with at least this budget ended early, where this one is to stay with that."""
        ended = study.early_stop if self._early_stop else None
        return ended if ended is not None and ended.budget >= self._budget else None

    def on_stage(self, stage: str) -> None:
        """Tell the listener that `stage` begins."""
        left, attempt, running = self._seconds_left(), self._lanes.attempt, self._lanes.running
        self._listener(Progress(stage, self._budget, self._result, None, left, attempt, running))

    def _spend(self, study: Study) -> str:
        """Trial after trial until something says stop; returns what did."""
        again = (record for record in study.records if to_retry(record, all_failed=self._retry_failed))
        proposals = study.proposals(self._budget, early_stop=self._early_stop)
        attempts = Attempts(
            () if self.ended_early(study.result) else proposals, map(Attempt.of, sorted(again, key=_seeds_first))
        )
        self._lanes = lanes_for(self._runner.in_flight, self._run)
        with self._lanes:
            stopped = self._work_off(study, attempts)
        for attempt in attempts.left:
            if attempt.failed is not None:
                self._keep(study, attempt, noted(attempt.failed, "not tried again: the search ended before"))
        return stopped

    def _work_off(self, study: Study, attempts: Attempts) -> str:
        stopped, failures = "", 0
        while True:
            while not stopped and self._lanes.free and (attempt := attempts.next()) is not None:
                waits = not self._lanes.may_begin(attempt)
                stopped = "" if waits else self._reason_not_to_begin(study, attempt)
                if waits or stopped:
                    attempts.put_back(attempt)
                    break
                if attempt.number is None:
                    study.begin(attempt.proposal)
                self._result = study.result
                self._lanes.begin(attempt, study.result)
            if not self._lanes.running:
                return stopped or self._how_it_ended(study)
            record = self._ended(study, attempts, *self._lanes.next_ended())
            failures = failures + 1 if record.status is Status.FAILED else 0
            if failures == self._rules.failures_in_a_row:
                stopped = stopped or f"{failures} trials in a row failed"

    def _run(self, attempt: Attempt, result: StudyResult) -> TrialRecord:
        return self._runner.run(attempt.proposal, result)

    def _reason_not_to_begin(self, study: Study, attempt: Attempt) -> str:
        if self._out_of_time():
            return "the time is up"
        if study.result.lacks_reference and attempt.proposal.origin != SEED:
            return "no reference could be measured, so no drop is known"
        return ""

    def _ended(self, study: Study, attempts: Attempts, attempt: Attempt, record: TrialRecord) -> TrialRecord:
        """Keep what came out of an attempt, or put it off where that is not believed yet."""
        self._spent.append(record.seconds)
        if reason_to_wait(record, attempt.tries, self._rules.tries):
            if attempt.number is None:
                study.postpone(attempt.proposal)
            attempts.put_off(attempt.next(record), to_the_end=record.failure is not None)
        else:
            self._keep(study, attempt, told(attempt, record))
        return record

    def _how_it_ended(self, study: Study) -> str:
        ended = study.end() or self.ended_early(study.result)
        if ended is not None:
            return ended.reason
        if len(study.records) < self._budget:
            exhaustive = study.exhaustive(self._budget)
            return "every point of the space was tried" if exhaustive else "nothing new is left to try"
        return "the budget is spent"

    def _keep(self, study: Study, attempt: Attempt, record: TrialRecord) -> None:
        """Store the record, hand it to the sinks, tell the listener."""
        self.on_stage("store")
        before = study.result
        if attempt.number is None:
            record = study.tell(attempt.proposal, record)
        else:
            record = study.replace(attempt.number, record)
        self._new.append(record)
        self._result = study.result
        now = self._clock()
        if self._first_trial_s is None:
            self._first_trial_s = now - self._began
        self._ends_at = now + self.estimate_s(study.records)
        self._tell_sinks(record, study, before)
        self._listener(Progress("store", self._budget, study.result, record, self._seconds_left()))

    def _recheck(self, study: Study) -> None:
        """Measure contested trials side by side, for a share of the time that measuring took."""
        measured_s = sum(record.seconds.get("measure", 0.0) for record in self._new)
        share, began = self._rules.recheck_share, self._clock()
        most_s = share / (1 - share) * measured_s
        while self._clock() - began < most_s and not self._out_of_time(whole=True):
            records = contested(study.result)[:AT_ONCE]
            if not records:
                return
            try:
                found = self._runner.compare(records)
            except TrialError as error:
                for record in records:
                    self._add(study, record, note=f"could not be measured again: {error.message}")
                return
            for record, more in zip(records, found, strict=True):
                self._add(study, record, more=more)

    def _confirm(self, study: Study) -> None:
        """Score the reference and the front on test, each once."""
        for record in study.result.unconfirmed:
            try:
                self._add(study, record, test=self._runner.confirm(record))
            except TrialError as error:
                self._add(study, record, note=f"could not be confirmed on test: {error.message}")

    def _add(
        self,
        study: Study,
        record: TrialRecord,
        *,
        more: Measurement | None = None,
        test: Quality | None = None,
        note: str = "",
    ) -> None:
        before, added = study.result, study.add(record.number, more=more, test=test, note=note)
        self._result = study.result
        self._tell_sinks(added, study, before)

    def _tell_sinks(self, record: TrialRecord, study: Study, before: StudyResult) -> None:
        """Hand a record to the sinks; where it moved the latencies of all others since `before`, those too."""
        moved = before.reference_latency_s not in (None, study.result.reference_latency_s)
        for sink in self._sinks:
            sink.trial(record, study.result)
            if moved:
                sink.changed(study.result)

    def _finish(self, study: Study, stopped: str) -> SearchResult:
        for sink in self._sinks:
            sink.changed(study.result)
        spent = [*self._spent, self._runner.later_s]  # also of tries that were put off
        kinds = {kind: sum(seconds.get(kind, 0.0) for seconds in spent) for kind in ("make", "measure", "score")}
        total = self._clock() - self._began
        return SearchResult(
            study.result,
            stopped,
            study.exhaustive(self._budget),
            self._runner.made,
            self._runner.reused,
            # Where one trial is made while another is measured, the kinds are more than the whole in sum.
            {**kinds, "rest": max(0.0, total - sum(kinds.values())), "total": total},
            self._first_trial_s,
        )

    def _out_of_time(self, *, whole: bool = False) -> bool:
        """Whether the time for new trials is over, or (`whole`) all of it: a share is kept for the contested ones."""
        share = 1.0 if whole else 1.0 - self._rules.recheck_share
        return self._time_s is not None and self._clock() - self._began >= self._time_s * share

    def _seconds_left(self) -> float | None:
        if self._ends_at is None:
            return None
        end = self._ends_at if self._time_s is None else min(self._ends_at, self._began + self._time_s)
        return max(0.0, end - self._clock())


def _seeds_first(record: TrialRecord) -> tuple[bool, int]:
    return record.origin != SEED, record.number
