"""The throughput of one trial: a process of its own that answers many calls at once, in turns with the reference.

The turn that the worker takes is in timing.py.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from autoopt.core.measurement import Calls
from autoopt.measure.reference_worker import ReferenceWorker
from autoopt.measure.subject import Subject
from autoopt.measure.timing import CONCURRENT, MeasuringPlan
from autoopt.measure.turns import play
from autoopt.measure.workers import OpenWorker


@dataclass(frozen=True)
class Concurrency:
    """What one process gave: seconds per call of each turn while `requests` calls run at once, and the reference's
    calls beside them; the latter are empty where it was measured alone."""

    turns_s: Calls
    reference_s: Calls
    requests: int


def measure_concurrency(
    begin: Callable[[Subject], OpenWorker],
    subject: Subject,
    reference: ReferenceWorker | None,
    plan: MeasuringPlan,
    order: random.Random,
) -> Concurrency:
    """Let a fresh worker, opened by `begin`, answer many calls at once, and end it. Raises TrialError."""
    worker = begin(replace(subject, latency=CONCURRENT))
    plan = replace(plan, rounds=plan.concurrent_rounds, most_rounds=plan.concurrent_rounds)
    if reference is None:
        others, turns = [], [worker.turn(plan) for _ in range(plan.rounds)]
    else:
        reference.open()
        worker.opened()
        others, turns = play([reference, worker], plan, order=order)
    requests = int(worker.effective()["requests"] or 0)
    worker.close()
    beside = (tuple(turn.calls_s for turn in others),) if others else ()
    return Concurrency((tuple(turn.calls_s for turn in turns),), beside, requests)
