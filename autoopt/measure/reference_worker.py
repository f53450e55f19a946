"""The process of the reference: it stays open for a whole study and takes turns with every candidate."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Sequence
from typing import Self

import numpy as np

from autoopt.core import stats
from autoopt.core.process import USUAL_TIMEOUT_S
from autoopt.errors import Crash, OutOfMemory, ReferenceDied, TrialError
from autoopt.measure.subject import Subject
from autoopt.measure.target import Target
from autoopt.measure.timing import MeasuringPlan, Turn
from autoopt.measure.workers import OpenWorker, Workers

SLOWED = 1.25
"""A reference that takes so many times its usual seconds shows that the host is busy."""
MUCH_MORE = 0.20
"""A trial is postponed when other programs take this much more CPU than usual (a fraction of the cores); load that
stays becomes the usual one."""
REMEMBERED = 8
"""Processes whose reference times tell what is usual."""


class ReferenceWorker:
    """The open process of the reference, measured beside every candidate on `target`; a context manager.

    `reference_latency_s` is what a call of the reference takes there: unless given, the 25th percentile beside the
    first process that was measured. Each of its answers may take `timeout_s`. `name` changes whenever the process had
    to be started again.
    """

    def __init__(
        self,
        subject: Subject,
        target: Target,
        plan: MeasuringPlan,
        *,
        reference_latency_s: float | None = None,
        timeout_s: float = USUAL_TIMEOUT_S,
    ) -> None:
        self.subject = subject
        self.reference_latency_s = reference_latency_s
        self.name = ""
        self._plan, self._timeout_s = plan, timeout_s
        self._workers = Workers(subject.runtime, target)
        self._worker: OpenWorker | None = None
        self._usual_s: deque[float] = deque(maxlen=REMEMBERED)
        self._usual_foreign: deque[float] = deque(maxlen=REMEMBERED)
        self._worked = False

    def __enter__(self) -> Self:
        self._workers.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._workers.__exit__()

    def begin(self) -> None:
        """Let it load while the parent goes on; does nothing when it is open."""
        if self._worker is None:
            self.name = secrets.token_hex(4)
            self._worker = self._workers.begin(self.subject, self._plan, stage="reference", timeout_s=self._timeout_s)

    def open(self) -> None:
        """Wait until it is ready; a process that died is started again once. Raises TrialError; ReferenceDied once it
        was open before."""
        try:
            try:
                self._opened()
            except (Crash, OutOfMemory):  # perhaps by chance, and nothing measured without it compares with the rest
                self._opened()
        except TrialError as error:
            raise self._died(error) from error
        self._worked = True

    def turn(self, plan: MeasuringPlan) -> Turn:
        """See `turns.Player`; a process that died is started again once. Raises ReferenceDied."""
        try:
            return self._turn(plan)
        except TrialError:
            self.kill()
        try:
            return self._turn(plan)
        except TrialError as error:
            self.kill()
            raise self._died(error) from error

    def kill(self) -> None:
        """End the process; the next turn starts another one."""
        if self._worker is not None:
            self._worker.close()
        self._worker = None

    @property
    def pid(self) -> int | None:
        """The process, None while there is none."""
        return None if self._worker is None else self._worker.pid

    def remember(self, turns: Sequence[Turn], foreign: float | None = None) -> str:
        """Note how fast the reference was beside one process; the answer says why the host was busy, else it is empty.

        `foreign` is the fraction of the cores that other programs took meanwhile. The host was busy when the reference
        was slower than usual, or others took much more than usual: a busy core does not slow everything alike, so the
        ratio to the reference would not be that of a quiet host.
        """
        seconds = stats.quantile([call for turn in turns for call in turn.calls_s], 0.25)
        if self.reference_latency_s is None:
            self.reference_latency_s = seconds
        usual_s = float(np.median(self._usual_s)) if self._usual_s else seconds
        self._usual_s.append(seconds)
        slower = seconds / usual_s
        said = [f"the reference ran {slower:.2f}x slower than usual: the host was busy"] if slower > SLOWED else []
        if foreign is not None:
            usual = stats.quantile(self._usual_foreign, 0.25) if self._usual_foreign else 0.0
            self._usual_foreign.append(foreign)
            if foreign > usual + MUCH_MORE:
                said.append(f"other programs took {foreign:.0%} of the cores, {usual:.0%} is usual")
        return "; ".join(said)

    def _died(self, error: TrialError) -> TrialError:
        """What a trial beside it is told: that it is not to blame where the reference has worked before."""
        if not self._worked or isinstance(error, ReferenceDied):
            return error
        message = f"the reference died beside this trial: {error.message}"
        return ReferenceDied(message, stage=error.stage, log_tail=error.log_tail, by_signal=error.by_signal)

    def _opened(self) -> None:
        self.begin()
        assert self._worker is not None
        try:
            self._worker.opened()
        except TrialError:
            self.kill()
            raise

    def _turn(self, plan: MeasuringPlan) -> Turn:
        self.open()
        assert self._worker is not None
        return self._worker.turn(plan)
