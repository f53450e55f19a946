"""The processes that are timed, seen from the parent: started, one artifact opened in each, ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np

from autoopt.core import memory
from autoopt.core.configuration import RuntimeSettings, Scalar
from autoopt.core.process import USUAL_TIMEOUT_S, Child
from autoopt.errors import Timeout
from autoopt.measure.files import array_name, case_ids
from autoopt.measure.subject import Subject
from autoopt.measure.target import STAGE, Exchange, Target
from autoopt.measure.timing import MeasuringPlan, Turn

WORKER = "autoopt.measure.worker"


class Workers:
    """Fresh worker processes on `target` for the canonical `runtime` section; a context manager that ends them all.

    The first one starts at once and imports its runtime, while the artifact is still being made.
    """

    def __init__(self, runtime: RuntimeSettings, target: Target) -> None:
        self.target = target
        self._runtime = runtime
        self._started_ones: list[Child] = []
        self._waiting: Child | None = None

    def __enter__(self) -> Self:
        self.prepare()
        return self

    def __exit__(self, *exc_info: object) -> None:
        for child in self._started_ones:
            child.close(now=True)  # it has nothing to tidy up: leaving by itself takes a runtime up to a second

    def prepare(self) -> None:
        """Let the next one start and import its runtime while the parent goes on."""
        self._waiting = self._waiting or self._started()

    def begin(
        self,
        subject: Subject,
        plan: MeasuringPlan,
        *,
        stage: str = STAGE,
        timeout_s: float = USUAL_TIMEOUT_S,
        memory_bytes: int | None = None,
    ) -> OpenWorker:
        """Let a fresh worker load `subject` and warm up while the parent goes on.

        `timeout_s` bounds each answer, `memory_bytes` what it may hold (None: a share of the target's memory); `stage`
        names the work in errors. Raises TrialError.
        """
        child, self._waiting = self._waiting or self._started(), None
        if memory_bytes is None:
            memory_bytes = memory.limit_bytes(self.target.host.memory_bytes)
        worker = OpenWorker(child, subject, self.target, stage, timeout_s, memory_bytes)
        worker.begin(subject.opening(self.target, plan))
        return worker

    def _started(self) -> Child:
        child = self.target.worker(WORKER, threads=int(self._runtime.threads))
        self._started_ones.append(child)
        child.send("import", {"runtime": self._runtime.name}, stage=STAGE)
        return child


class OpenWorker:
    """One worker process with one artifact open: it takes turns with others, see `turns.Player`.

    `joules` are what the processor consumed per call in each turn, where that can be read. Made by `Workers.begin`.
    """

    def __init__(
        self, child: Child, subject: Subject, target: Target, stage: str, timeout_s: float, memory_bytes: int | None
    ) -> None:
        self._child, self._subject, self._target, self._stage = child, subject, target, stage
        self._timeout_s, self._memory_bytes = timeout_s, memory_bytes
        self._opened: dict[str, Any] | None = None
        self.joules: list[float] = []

    @property
    def pid(self) -> int | None:
        """The process, None when it ended."""
        return self._child.pid

    def begin(self, opening: Mapping[str, Any]) -> None:
        """Wait until the runtime is imported, and let the worker open what `Subject.opening` says."""
        self._answer()
        self._child.send("open", opening, stage=self._stage)

    def opened(self) -> dict[str, Any]:
        """What loading and warming up gave, waited for once. Raises TrialError."""
        if self._opened is None:
            self._opened = self._answer()
        return self._opened

    def turn(self, plan: MeasuringPlan) -> Turn:
        """See `turns.Player`."""
        self.opened()
        joules = self._target.joules_from_now()
        self._child.send("turn", {"plan": plan.to_json()}, stage=self._stage, continues=True)
        turn = Turn.from_json(self._answer())
        used = joules()
        if used is not None:
            self.joules.append(used / (len(turn.calls_s) + len(turn.dropped_s)))
        return turn

    def predictions(
        self, cases: Sequence[int], exchange: Exchange, meanwhile: Callable[[], None] = lambda: None
    ) -> Iterator[np.ndarray]:
        """The predictions of the cases with these indices, one after the other; the limit of time is that of each case.

        `meanwhile` is called once, while the first is computed. Raises TrialError; a case that takes too long is named.
        """
        todo = deque(cases)
        if todo:
            self._ask(todo[0], exchange)
        meanwhile()
        while todo:
            index = todo.popleft()
            try:
                self._answer()
            except Timeout as error:
                name = case_ids(self._subject.cases.path)[index]
                raise Timeout(f"case {name!r}: {error.message}", stage=error.stage, log_tail=error.log_tail) from error
            if todo:
                self._ask(todo[0], exchange)  # it computes the next one while this one is read
            yield exchange.read(array_name(index))

    def effective(self) -> dict[str, Scalar]:
        """The settings that really ran; nothing more can be asked of the worker then. Raises TrialError."""
        self._child.send("end", stage=self._stage, continues=True)
        effective: dict[str, Scalar] = self._answer()["effective"]
        return effective

    def close(self) -> None:
        """End the process."""
        self._child.close(now=True)

    def _ask(self, case: int, exchange: Exchange) -> None:
        self._child.send("predict", {"case": case, "folder": exchange.path}, stage=self._stage, continues=True)

    def _answer(self) -> dict[str, Any]:
        timeout_s = max(1.0, self._timeout_s)
        return self._child.receive(stage=self._stage, timeout_s=timeout_s, memory_bytes=self._memory_bytes)
