"""The measurement of one trial: fresh worker processes, one after the other, that take turns with the reference.

The order of turns is decided in turns.py, what a turn is in timing.py, what all turns together say in merging.py.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from autoopt.core.configuration import Scalar
from autoopt.core.measurement import Measurement
from autoopt.core.process import USUAL_TIMEOUT_S
from autoopt.measure.concurrency import Concurrency, measure_concurrency
from autoopt.measure.files import case_ids
from autoopt.measure.merging import Taken, merge
from autoopt.measure.reference_worker import ReferenceWorker
from autoopt.measure.subject import Subject
from autoopt.measure.target import Target
from autoopt.measure.timing import MeasuringPlan
from autoopt.measure.turns import Clear, never, play, ratio_of
from autoopt.measure.workers import OpenWorker, Workers

LONG_ENOUGH_S = 0.5
"""The kernel counts CPU time in hundredths of a second: of less than this the share of others says little."""
CAP = "the cap is reached"
"""Why a measurement stopped that could not decide on which side of the front the trial lies."""

Verdict = Callable[[Measurement], str]
"""Why the measurement so far is enough, "" while it is not."""


class Measuring:
    """The measurement of one trial: a first process that also predicts, then as many further ones as it takes.

    `workers` were started before; their target measures one process at a time, beside `reference_worker` if there is
    one. `timeout_s` bounds each answer of a worker, as that for a case, not the waiting for another search;
    `memory_bytes` is what a worker may hold (None: a share of the target's memory). `clear` says of a ratio to the
    reference that knowing it better would change nothing. With `throughput` one more process answers many calls at
    once. All methods raise TrialError, or BusyError where another measurement does not end.
    """

    def __init__(
        self,
        subject: Subject,
        workers: Workers,
        *,
        plan: MeasuringPlan,
        reference_worker: ReferenceWorker | None = None,
        clear: Clear = never,
        timeout_s: float = USUAL_TIMEOUT_S,
        memory_bytes: int | None = None,
        throughput: bool = False,
    ) -> None:
        self._subject, self._workers, self._target, self._plan = subject, workers, workers.target, plan
        self._reference_worker, self._clear, self._timeout_s = reference_worker, clear, timeout_s
        self._memory_bytes, self._throughput = memory_bytes, throughput
        self._concurrency: Concurrency | None = None
        self._order = random.Random(subject.artifact.key)  # noqa: S311 - an order, not a secret
        self._taken: list[Taken] = []
        self._effective: dict[str, Scalar] = {}
        self._first: OpenWorker | None = None
        """The first process, while more may be asked of it."""
        self._predictions: dict[int, np.ndarray] = {}

    def first(self, cases: Sequence[int] = (), *, predict: bool = True) -> list[np.ndarray]:
        """Measure one process and let it predict all cases, or only `cases` if there are some; none without `predict`.

        The predictions are in the order of the indices. After some cases the process waits, so that `others` can ask
        for the rest; whoever scores those cases does not hold the target meanwhile.
        """
        with self._target.exclusive():
            self._first = self._begin()
            self._measure(self._first)
            if cases and predict:
                self._predictions = self._predicted(self._first, cases)
                return [self._predictions[index] for index in cases]
            return self._all_predicted(self._first, predict=predict)

    def others(self) -> list[np.ndarray]:
        """The predictions of all cases, when `first` gave only some of them."""
        if self._first is None:
            raise ValueError("`others` follows a call of `first` with some cases")
        with self._target.exclusive():
            return self._all_predicted(self._first)

    def finish(self, until: Verdict | int | None = None) -> Measurement:
        """Measure further processes: a number in all, by default the plan's, or until a verdict gives a reason to stop.

        The verdict is asked after every process, `plan.most_processes` times at most.
        """
        if self._first is not None:
            with self._target.exclusive():
                self._end_first(self._first)
        if self._throughput and self._concurrency is None:  # before any verdict, which may hang on it
            with self._target.exclusive():
                self._concurrency = measure_concurrency(
                    self._begin, self._subject, self._reference_worker, self._plan, self._order
                )
        verdict = until if callable(until) else None
        most = self._plan.most_processes if callable(until) else until or self._plan.processes
        while True:
            measured = self.so_far()
            stopped = "" if verdict is None else verdict(measured)
            if stopped or measured.processes >= most:
                return replace(measured, stopped=stopped or ("" if verdict is None else CAP))
            with self._target.exclusive():
                worker = self._begin()
                self._measure(worker)
                worker.close()

    def so_far(self) -> Measurement:
        """What was measured until now."""
        reference_latency_s = None if self._reference_worker is None else self._reference_worker.reference_latency_s
        merged = merge(self._taken, self._effective, self._subject, self._target.host, reference_latency_s)
        measured = replace(merged, quantile=self._plan.quantile)
        found = self._concurrency
        if found is None:
            return measured
        return replace(
            measured,
            concurrent_s=found.turns_s,
            concurrent_reference_s=found.reference_s,
            concurrent_requests=found.requests,
        )

    def _all_predicted(self, worker: OpenWorker, *, predict: bool = True) -> list[np.ndarray]:
        """The predictions of all cases in their order; nothing more is asked of the process afterwards."""
        wanted = range(len(case_ids(self._subject.cases.path)) if predict else 0)
        missing = [index for index in wanted if index not in self._predictions]
        self._predictions |= self._predicted(worker, missing, meanwhile=self._prepare_next)
        self._end_first(worker)
        return [self._predictions.pop(index) for index in wanted]

    def _prepare_next(self) -> None:
        """Start the next process, unless it will not be needed.

        It only imports: two runtimes that compute slow each other down tenfold.
        """
        if self._plan.processes > 1 and not self._is_clear():
            self._workers.prepare()

    def _predicted(
        self, worker: OpenWorker, cases: Sequence[int], meanwhile: Callable[[], None] = lambda: None
    ) -> dict[int, np.ndarray]:
        with self._target.exchange() as exchange:
            return dict(zip(cases, worker.predictions(cases, exchange, meanwhile), strict=True))

    def _end_first(self, worker: OpenWorker) -> None:
        self._effective = worker.effective()
        worker.close()
        self._first = None

    def _is_clear(self) -> bool:
        """Whether nothing depends on measuring another process."""
        taken = self._taken[-1]
        return bool(taken.others) and self._clear(ratio_of(taken.turns, taken.others, self._plan.quantile))

    def _begin(self, subject: Subject | None = None) -> OpenWorker:
        return self._workers.begin(
            subject or self._subject, self._plan, timeout_s=self._timeout_s, memory_bytes=self._memory_bytes
        )

    def _measure(self, worker: OpenWorker) -> None:
        reference = self._reference_worker
        if reference is not None:
            reference.open()
        opened = worker.opened()
        pids = [player.pid for player in (reference, worker) if player is not None and player.pid is not None]
        load_so_far = self._target.load_from_now(pids)
        if reference is None:
            others, turns = [], [worker.turn(self._plan) for _ in range(self._plan.rounds)]
        else:
            others, turns = play([reference, worker], self._plan, order=self._order, clear=self._clear)
        load = load_so_far()
        foreign = load.foreign_share if load.wall_s >= LONG_ENOUGH_S else None
        contended = "" if reference is None else reference.remember(others, foreign)
        name = "" if reference is None else reference.name
        self._taken.append(Taken(opened, turns, others, name, contended, load, tuple(worker.joules)))


def measure(
    subject: Subject,
    target: Target,
    *,
    plan: MeasuringPlan | None = None,
    reference_worker: ReferenceWorker | None = None,
    timeout_s: float = USUAL_TIMEOUT_S,
    predict: bool = True,
) -> tuple[Measurement, list[np.ndarray]]:
    """`Measuring` from begin to end, without a verdict: the measurement, and the predictions of all cases."""
    with Workers(subject.runtime, target) as workers:
        measuring = Measuring(
            subject, workers, plan=plan or MeasuringPlan(), reference_worker=reference_worker, timeout_s=timeout_s
        )
        predictions = measuring.first(predict=predict)
        return measuring.finish(), predictions


def predictions(
    subject: Subject, target: Target, *, timeout_s: float = USUAL_TIMEOUT_S, only: Sequence[int] | None = None
) -> list[np.ndarray]:
    """The predictions of all cases of `subject`, in their order, without timing anything. Raises TrialError.

    `only` are the indices of the cases that are wanted, where not all are.
    """
    hasty = MeasuringPlan(warmup_max_s=0.0)
    with Workers(subject.runtime, target) as workers, target.exchange() as exchange:
        worker = workers.begin(subject, hasty, timeout_s=timeout_s)
        worker.opened()
        wanted = range(len(case_ids(subject.cases.path))) if only is None else only
        return list(worker.predictions(wanted, exchange))
