"""Several trials measured at the same time: one process of each, all open, that take turns with each other."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from autoopt.core.host import Host
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
    taken = take_together(subjects, target, plan=plan, reference_worker=reference_worker)
    latency_s = None if reference_worker is None else reference_worker.reference_latency_s
    return merged(subjects, taken, target.host, plan, latency_s)


def take_together(
    subjects: Sequence[Subject], target: Target, *, plan: MeasuringPlan, reference_worker: ReferenceWorker | None
) -> list[Taken]:
    """What each process of `measure_together` gave, as plain data."""
    order = random.Random(str([subject.artifact.key for subject in subjects]))  # noqa: S311 - an order, not a secret
    with ExitStack() as held:
        held.enter_context(target.exclusive())
        workers = [held.enter_context(Workers(subject.runtime, target)) for subject in subjects]
        begun = [one.begin(subject, plan) for one, subject in zip(workers, subjects, strict=True)]
        opened = [worker.opened() for worker in begun]
        if reference_worker is None:
            rounds = play(begun, replace(plan, least_rounds=plan.rounds), order=order)
            return [Taken(one, turns) for one, turns in zip(opened, rounds, strict=True)]
        reference_worker.open()
        others, *rounds = play([reference_worker, *begun], plan, order=order)
        contended = reference_worker.remember(others)
        return [
            Taken(one, turns, others, reference_worker.name, contended)
            for one, turns in zip(opened, rounds, strict=True)
        ]


def merged(
    subjects: Sequence[Subject],
    taken: Sequence[Taken],
    host: Host,
    plan: MeasuringPlan,
    reference_latency_s: float | None,
) -> list[Measurement]:
    """The measurement of each subject, of what its process gave on `host`."""
    found = [
        merge([item], {}, subject, host, reference_latency_s) for item, subject in zip(taken, subjects, strict=True)
    ]
    return [replace(item, quantile=plan.quantile) for item in found]
