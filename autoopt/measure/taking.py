"""One process after the other of one trial, each measured beside the reference: what happens where it is timed.

`LocalTaking` does it on the machine of its workers; what is found are plain data, from which measuring.py makes one
measurement, on this machine or on another one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from autoopt.core.configuration import Scalar
from autoopt.core.host import Host
from autoopt.core.process import USUAL_TIMEOUT_S
from autoopt.measure.concurrency import Concurrency, measure_concurrency
from autoopt.measure.files import case_ids
from autoopt.measure.merging import Taken
from autoopt.measure.reference_worker import ReferenceWorker
from autoopt.measure.subject import Subject
from autoopt.measure.timing import MeasuringPlan
from autoopt.measure.turns import Clear, never, play, ratio_of
from autoopt.measure.workers import OpenWorker, Workers

LONG_ENOUGH_S = 0.5
"""The kernel counts CPU time in hundredths of a second: of less than this the share of others says little."""


@dataclass(frozen=True)
class Answered:
    """What the first process of a trial predicted, by index of the case; `effective` are the settings that really ran,
    None while the process waits for further cases."""

    predictions: Mapping[int, np.ndarray] = field(default_factory=dict)
    effective: Mapping[str, Scalar] | None = None


class Taking(Protocol):
    """Measures the processes of one trial. Its methods raise TrialError, or BusyError where another measurement does
    not end."""

    subject: Subject
    plan: MeasuringPlan

    @property
    def host(self) -> Host:
        """The machine that measures."""
        ...

    @property
    def reference_latency_s(self) -> float | None:
        """What a call of the reference takes on the machine that measures; None without a reference."""
        ...

    def first(self, cases: Sequence[int] | None) -> tuple[Taken, Answered]:
        """Measure the first process and let it predict: all cases for None, else those with these indices.

        After some cases it waits for `others`; after none it ends.
        """
        ...

    def others(self, cases: Sequence[int]) -> Answered:
        """Let the process that waits predict these cases, and end it."""
        ...

    def another(self) -> Taken:
        """Measure one more process."""
        ...

    def concurrency(self) -> Concurrency:
        """Measure a process that answers many calls at once."""
        ...


class LocalTaking:
    """See `Taking`: in processes of `workers`, beside `reference_worker` if there is one.

    `timeout_s` bounds each answer of a worker, as that for a case, not the waiting for another search; `memory_bytes`
    is what a worker may hold (None: a share of the target's memory). `clear` says of a ratio to the reference that
    knowing it better would change nothing.
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
    ) -> None:
        self.subject = subject
        self.plan = plan
        self._workers, self._target = workers, workers.target
        self._reference_worker, self._clear, self._timeout_s = reference_worker, clear, timeout_s
        self._memory_bytes = memory_bytes
        self._order = random.Random(subject.artifact.key)  # noqa: S311 - an order, not a secret
        self._waiting: OpenWorker | None = None
        self._prepares = False
        """Whether another process will be needed, as far as the first one tells."""

    @property
    def host(self) -> Host:
        """See `Taking`."""
        return self._target.host

    @property
    def reference_latency_s(self) -> float | None:
        """See `Taking`."""
        return None if self._reference_worker is None else self._reference_worker.reference_latency_s

    def first(self, cases: Sequence[int] | None) -> tuple[Taken, Answered]:
        """See `Taking`."""
        with self._target.exclusive():
            worker = self._begin()
            taken = self._measured(worker)
            self._prepares = self.plan.processes > 1 and not self._is_clear(taken)
            if cases:
                self._waiting = worker
                return taken, Answered(self._predicted(worker, cases))
            wanted = range(len(case_ids(self.subject.cases.path))) if cases is None else ()
            return taken, self._last(worker, wanted)

    def others(self, cases: Sequence[int]) -> Answered:
        """See `Taking`."""
        if self._waiting is None:
            raise ValueError("`others` follows a call of `first` with some cases")
        worker, self._waiting = self._waiting, None
        with self._target.exclusive():
            return self._last(worker, cases)

    def another(self) -> Taken:
        """See `Taking`."""
        with self._target.exclusive():
            worker = self._begin()
            taken = self._measured(worker)
            worker.close()
            return taken

    def concurrency(self) -> Concurrency:
        """See `Taking`."""
        with self._target.exclusive():
            return measure_concurrency(self._begin, self.subject, self._reference_worker, self.plan, self._order)

    def _last(self, worker: OpenWorker, cases: Sequence[int]) -> Answered:
        """What the process predicts for these cases; it ends.

        Where another one will be needed, it starts meanwhile. It only imports: two runtimes that compute slow each
        other down tenfold.
        """
        found = self._predicted(worker, cases, self._workers.prepare if self._prepares else lambda: None)
        effective = worker.effective()
        worker.close()
        return Answered(found, effective)

    def _predicted(
        self, worker: OpenWorker, cases: Sequence[int], meanwhile: Callable[[], None] = lambda: None
    ) -> dict[int, np.ndarray]:
        with self._target.exchange() as exchange:
            return dict(zip(cases, worker.predictions(cases, exchange, meanwhile), strict=True))

    def _is_clear(self, taken: Taken) -> bool:
        """Whether nothing depends on measuring another process."""
        return bool(taken.others) and self._clear(ratio_of(taken.turns, taken.others, self.plan.quantile))

    def _begin(self, subject: Subject | None = None) -> OpenWorker:
        return self._workers.begin(
            subject or self.subject, self.plan, timeout_s=self._timeout_s, memory_bytes=self._memory_bytes
        )

    def _measured(self, worker: OpenWorker) -> Taken:
        reference = self._reference_worker
        if reference is not None:
            reference.open()
        opened = worker.opened()
        pids = [player.pid for player in (reference, worker) if player is not None and player.pid is not None]
        load_so_far = self._target.load_from_now(pids)
        if reference is None:
            others, turns = [], [worker.turn(self.plan) for _ in range(self.plan.rounds)]
        else:
            others, turns = play([reference, worker], self.plan, order=self._order, clear=self._clear)
        load = load_so_far()
        foreign = load.foreign_share if load.wall_s >= LONG_ENOUGH_S else None
        contended = "" if reference is None else reference.remember(others, foreign)
        name = "" if reference is None else reference.name
        return Taken(opened, turns, others, name, contended, load, tuple(worker.joules))
