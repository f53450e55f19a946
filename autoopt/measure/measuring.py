"""The measurement of one trial: fresh worker processes, one after the other, that take turns with the reference.

What happens where it is timed is in taking.py, the order of turns in turns.py, what a turn is in timing.py, what all
turns together say in merging.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from autoopt.core.configuration import Scalar
from autoopt.core.measurement import Measurement
from autoopt.core.process import USUAL_TIMEOUT_S
from autoopt.measure.concurrency import Concurrency
from autoopt.measure.files import case_ids
from autoopt.measure.merging import Taken, merge
from autoopt.measure.reference_worker import ReferenceWorker
from autoopt.measure.subject import Subject
from autoopt.measure.taking import Answered, LocalTaking, Taking
from autoopt.measure.target import Target
from autoopt.measure.timing import MeasuringPlan
from autoopt.measure.workers import Workers

CAP = "the cap is reached"
"""Why a measurement stopped that could not decide on which side of the front the trial lies."""

Verdict = Callable[[Measurement], str]
"""Why the measurement so far is enough, "" while it is not."""


class Measuring:
    """The measurement of one trial: a first process that also predicts, then as many further ones as it takes.

    `taking` measures them. With `throughput` one more process answers many calls at once. All methods raise TrialError,
    or BusyError where another measurement does not end.
    """

    def __init__(self, taking: Taking, *, throughput: bool = False) -> None:
        self._taking, self._plan, self._throughput = taking, taking.plan, throughput
        self._concurrency: Concurrency | None = None
        self._taken: list[Taken] = []
        self._effective: Mapping[str, Scalar] | None = None
        self._predictions: dict[int, np.ndarray] = {}

    def first(self, cases: Sequence[int] = (), *, predict: bool = True) -> list[np.ndarray]:
        """Measure one process and let it predict all cases, or only `cases` if there are some; none without `predict`.

        The predictions are in the order of the indices. After some cases the process waits, so that `others` can ask
        for the rest; whoever scores those cases does not hold the target meanwhile.
        """
        wanted = () if not predict else cases or None
        taken, answered = self._taking.first(wanted)
        self._taken.append(taken)
        self._keep(answered)
        return self._in_order(cases if predict and cases else self._all_cases(predict))

    def others(self) -> list[np.ndarray]:
        """The predictions of all cases, when `first` gave only some of them."""
        every = self._all_cases()
        self._keep(self._taking.others([index for index in every if index not in self._predictions]))
        return self._in_order(every)

    def finish(self, until: Verdict | int | None = None) -> Measurement:
        """Measure further processes: a number in all, by default the plan's, or until a verdict gives a reason to stop.

        The verdict is asked after every process, `plan.most_processes` times at most.
        """
        if self._taken and self._effective is None:
            self._keep(self._taking.others(()))
        if self._throughput and self._concurrency is None:  # before any verdict, which may hang on it
            self._concurrency = self._taking.concurrency()
        verdict = until if callable(until) else None
        most = self._plan.most_processes if callable(until) else until or self._plan.processes
        while True:
            measured = self.so_far()
            stopped = "" if verdict is None else verdict(measured)
            if stopped or measured.processes >= most:
                return replace(measured, stopped=stopped or ("" if verdict is None else CAP))
            self._taken.append(self._taking.another())

    def so_far(self) -> Measurement:
        """What was measured until now."""
        latency_s, effective = self._taking.reference_latency_s, self._effective or {}
        merged = merge(self._taken, effective, self._taking.subject, self._taking.host, latency_s)
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

    def _keep(self, answered: Answered) -> None:
        self._predictions |= answered.predictions
        self._effective = answered.effective

    def _all_cases(self, predict: bool = True) -> range:
        return range(len(case_ids(self._taking.subject.cases.path)) if predict else 0)

    def _in_order(self, cases: Sequence[int]) -> list[np.ndarray]:
        """The predictions of the cases; whole ones are given away, and not kept in memory twice."""
        if self._effective is None:
            return [self._predictions[index] for index in cases]
        return [self._predictions.pop(index) for index in cases]


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
    plan = plan or MeasuringPlan()
    with Workers(subject.runtime, target) as workers:
        taking = LocalTaking(subject, workers, plan=plan, reference_worker=reference_worker, timeout_s=timeout_s)
        measuring = Measuring(taking)
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
