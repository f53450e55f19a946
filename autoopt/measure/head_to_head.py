"""Several trials measured at the same time: one process of each, all open, that take turns with each other."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from autoopt.core.measurement import Measurement
from autoopt.measure.merging import Taken, merge
from autoopt.measure.reference_worker import ReferenceWorker
from autoopt.measure.subject import Subject
from autoopt.measure.target import Target
from autoopt.measure.timing import MeasuringPlan
from autoopt.measure.turns import play
from autoopt.measure.workers import Workers


def measure_together(
    subjects: Sequence[Subject], target: Target, *, plan: MeasuringPlan, reference_worker: ReferenceWorker | None
) -> list[Measurement]:
    """One fresh process of each subject, all open at once, taking turns with the reference and each other.

    The settings that really ran are not read back again. Raises TrialError when one of the processes fails, and
    BusyError where another measurement on the target does not end.
    """
    order = random.Random(str([subject.artifact.key for subject in subjects]))  # noqa: S311 - an order, not a secret
    with ExitStack() as held:
        held.enter_context(target.exclusive())
        workers = [held.enter_context(Workers(subject.runtime, target)) for subject in subjects]
        begun = [one.begin(subject, plan) for one, subject in zip(workers, subjects, strict=True)]
        opened = [worker.opened() for worker in begun]
        if reference_worker is None:
            rounds = play(begun, replace(plan, least_rounds=plan.rounds), order=order)
            taken = [Taken(one, turns) for one, turns in zip(opened, rounds, strict=True)]
        else:
            reference_worker.open()
            others, *rounds = play([reference_worker, *begun], plan, order=order)
            contended = reference_worker.remember(others)
            taken = [
                Taken(one, turns, others, reference_worker.name, contended)
                for one, turns in zip(opened, rounds, strict=True)
            ]
    reference_latency_s = None if reference_worker is None else reference_worker.reference_latency_s
    merged = [
        merge([item], {}, subject, target.host, reference_latency_s)
        for item, subject in zip(taken, subjects, strict=True)
    ]
    return [replace(item, quantile=plan.quantile) for item in merged]
