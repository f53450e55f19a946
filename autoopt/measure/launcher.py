"""The parent's side of a measurement: fresh worker processes that take turns with the resident reference.

    Workers -> Seat (one process with one artifact open) -> Measuring (the processes of one trial)
    Resident (the reference's process, open for a whole study)

The order of turns is decided in turns.py, what a turn is in timing.py.
"""

from __future__ import annotations

import os
import random
import secrets
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from autoopt.core import memory, stats
from autoopt.core.configuration import RuntimeSettings, Scalar
from autoopt.core.host import Host
from autoopt.core.measurement import Measurement
from autoopt.core.process import Child
from autoopt.errors import Crash, OutOfMemory, TrialError
from autoopt.measure import energy, host_load
from autoopt.measure.files import array_name, case_ids
from autoopt.measure.host import current_host
from autoopt.measure.lock import host_lock
from autoopt.measure.merging import Taken, merge
from autoopt.measure.subject import Subject
from autoopt.measure.timing import Plan, Turn
from autoopt.measure.turns import Clear, never, play, ratio_of

WORKER = "autoopt.measure.worker"
LOCK = "measure"
LOCK_WAIT_S = 3600.0
"""How long another measurement on this host may keep this one waiting."""
SLOWED = 1.25
"""A reference that takes so many times its usual seconds shows a busy host."""
MUCH_MORE = 0.20
"""A share of the cores: others that take so much more than usual put a trial off. If they stay that is no use."""
LONG_ENOUGH_S = 0.5
"""The kernel counts in hundredths of a second: over less than this a share of the cores says little."""
REMEMBERED = 8
"""Processes whose reference times tell what is usual."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
CAP = "the cap is reached"
"""Why a measurement stopped that could not decide on which side of the front the trial lies."""

Verdict = Callable[[Measurement], str]
"""Why what was measured is enough, empty when it is not."""


class Workers:
    """Fresh worker processes for the canonical `runtime` section; a context manager.

    The first one starts at once and imports its runtime, while the artifact is still being made.
    """

    def __init__(self, runtime: RuntimeSettings) -> None:
        self._name = runtime.name
        self._environment = dict.fromkeys(THREAD_VARIABLES, str(runtime.threads))
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

    def take(self) -> Child:
        """A worker that nobody used yet; its first answer, to the import, is still to be received."""
        child, self._waiting = self._waiting or self._started(), None
        return child

    def _started(self) -> Child:
        child = Child(WORKER, environment=self._environment)
        self._started_ones.append(child)
        child.send({"do": "import", "runtime": self._name}, stage="measure")
        return child


class Seat:
    """One worker process with one artifact open: a player that takes turns.

    `timeout_s` and `memory_bytes` bound each answer; `joules` are what the processor used per call in each turn, where
    it tells.
    """

    def __init__(self, child: Child, subject: Subject, plan: Plan, *, stage: str = "measure") -> None:
        self._child = child
        self._subject = subject
        self._plan = plan
        self._stage = stage
        self._opened: dict[str, Any] | None = None
        self.timeout_s = 300.0
        self.memory_bytes = memory.limit_bytes(current_host().memory_bytes)
        self.joules: list[float] = []

    def begin(self) -> Self:
        """Let it load and warm up while the parent goes on."""
        self._answer()
        artifact = self._subject.artifact
        vanished = [name for name in artifact.files if not (artifact.path / name).is_file()]
        if vanished:  # a runtime would refuse the model and be blamed for it
            raise Crash(f"{artifact.path / vanished[0]} vanished after it was made", stage=self._stage)
        self._child.send(self._subject.opening(self._plan), stage=self._stage)
        return self

    def opened(self) -> dict[str, Any]:
        """What loading gave, waited for once. Raises TrialError."""
        if self._opened is None:
            self._opened = self._answer()
        return self._opened

    def turn(self, plan: Plan) -> Turn:
        """See `turns.Player`."""
        self.opened()
        before = energy.read()
        self._child.send({"do": "turn", "plan": plan.to_json()}, stage=self._stage, continues=True)
        turn = Turn.from_json(self._answer())
        used = energy.between(before, energy.read()).packages_j
        if used is not None:
            self.joules.append(used / (len(turn.calls_s) + len(turn.dropped_s)))
        return turn

    @property
    def pid(self) -> int | None:
        """The process, None when it ended."""
        return self._child.pid

    def predict(self, cases: Sequence[int], folder: Path) -> None:
        """Begin to write the predictions of the cases with these indices to `folder`."""
        job = {"do": "predict", "cases": list(cases), "folder": str(folder)}
        self._child.send(job, stage=self._stage, continues=True)

    def predicted(self) -> None:
        """Wait until the predictions are written."""
        self._answer()

    def effective(self) -> dict[str, Scalar]:
        """What really ran; nothing more can be asked of it then."""
        self._child.send({"do": "end"}, stage=self._stage, continues=True)
        effective: dict[str, Scalar] = self._answer()["effective"]
        return effective

    def close(self) -> None:
        """End the process."""
        self._child.close(now=True)

    def _answer(self) -> dict[str, Any]:
        timeout_s = max(1.0, self.timeout_s)
        return self._child.receive(stage=self._stage, timeout_s=timeout_s, memory_bytes=self.memory_bytes)


class ReferenceWorker:
    """The process of the reference, which stays open and takes turns with every candidate; a context manager.

    `reference_latency_s` is what the reference takes on this host: the 25th percentile of the first process that was
    measured beside it, unless given. `name` changes when the process had to be started again.
    """

    def __init__(self, subject: Subject, plan: Plan, *, reference_latency_s: float | None = None) -> None:
        self.subject = subject
        self.reference_latency_s = reference_latency_s
        self.name = ""
        self._plan = plan
        self._workers = Workers(subject.runtime)
        self._seat: Seat | None = None
        self._usual_s: deque[float] = deque(maxlen=REMEMBERED)
        self._usual_foreign: deque[float] = deque(maxlen=REMEMBERED)

    def __enter__(self) -> Self:
        self._workers.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._workers.__exit__()

    def begin(self) -> None:
        """Let it load while the parent goes on; does nothing when it is open."""
        if self._seat is None:
            self.name = secrets.token_hex(4)
            self._seat = Seat(self._workers.take(), self.subject, self._plan, stage="reference").begin()

    def open(self) -> None:
        """Wait until it is ready; a process that died is started again once. Raises TrialError."""
        try:
            self._opened()
        except (Crash, OutOfMemory):  # perhaps by chance, and nothing measured without it compares with the rest
            self._opened()

    def turn(self, plan: Plan) -> Turn:
        """See `turns.Player`; a process that died is started again once."""
        try:
            return self._turn(plan)
        except TrialError:
            self.kill()
            return self._turn(plan)

    def kill(self) -> None:
        """End the process; the next turn starts another one."""
        if self._seat is not None:
            self._seat.close()
        self._seat = None

    @property
    def pid(self) -> int | None:
        """The process, None while there is none."""
        return None if self._seat is None else self._seat.pid

    def remember(self, turns: Sequence[Turn], foreign: float | None = None) -> str:
        """Note how long the reference took beside one process, and the share of the cores that others took meanwhile.

        Says so where it was slowed down or others took much more than they usually do, else nothing: a busy core does
        not slow everything alike, so the ratio to the reference would not be what it is on a quiet host.
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

    def _opened(self) -> None:
        self.begin()
        assert self._seat is not None
        try:
            self._seat.opened()
        except TrialError:
            self.kill()
            raise

    def _turn(self, plan: Plan) -> Turn:
        self.open()
        assert self._seat is not None
        return self._seat.turn(plan)


class Measuring:
    """The measurement of one trial: a first process that also predicts, then as many as it takes.

    One process at a time is measured on a host, beside `reference_worker` if there is one; `timeout_s` bounds each
    answer of a worker, not the waiting for another search, and `memory_bytes` what it may hold (None: a share of the
    host's). `workers` were started before. `clear` says of a ratio to the reference that knowing it better would
    change nothing. All methods raise a TrialError, or BusyError after `LOCK_WAIT_S`.
    """

    def __init__(
        self,
        subject: Subject,
        workers: Workers,
        *,
        host: Host,
        plan: Plan,
        reference_worker: ReferenceWorker | None = None,
        clear: Clear = never,
        timeout_s: float = 300.0,
        memory_bytes: int | None = None,
    ) -> None:
        self._subject, self._workers, self._host, self._plan = subject, workers, host, plan
        self._reference_worker, self._clear, self._timeout_s = reference_worker, clear, timeout_s
        self._memory_bytes = memory_bytes
        self._order = random.Random(subject.artifact.key)  # noqa: S311 - an order, not a secret
        self._taken: list[Taken] = []
        self._effective: dict[str, Scalar] = {}
        self._first: Seat | None = None
        """The first process, while more may be asked of it."""
        self._predictions: dict[int, np.ndarray] = {}

    def first(self, cases: Sequence[int] = (), *, predict: bool = True) -> list[np.ndarray]:
        """Measure one process and let it predict all cases, or only `cases` if there are some; none without `predict`.

        The predictions are in the order of the indices. After some cases the process waits, so that `others` can ask
        for the rest; whoever scores those cases does not hold the host meanwhile.
        """
        with host_lock(LOCK, timeout_s=LOCK_WAIT_S):
            self._first = self._seat()
            self._measure(self._first)
            if cases and predict:
                self._predictions = self._predicted(self._first, cases)
                return [self._predictions[index] for index in cases]
            return self._all_predicted(self._first, predict=predict)

    def others(self) -> list[np.ndarray]:
        """The predictions of all cases, when `first` gave only some of them."""
        if self._first is None:
            raise ValueError("`others` follows a call of `first` with some cases")
        with host_lock(LOCK, timeout_s=LOCK_WAIT_S):
            return self._all_predicted(self._first)

    def finish(self, until: Verdict | int | None = None) -> Measurement:
        """Measure further processes: a number in all, by default the plan's, or until a verdict has something to say.

        The verdict is asked after every process, `plan.most_processes` times at most.
        """
        if self._first is not None:
            with host_lock(LOCK, timeout_s=LOCK_WAIT_S):
                self._end_first(self._first)
        verdict = until if callable(until) else None
        most = self._plan.most_processes if callable(until) else until or self._plan.processes
        while True:
            measured = self.so_far()
            stopped = "" if verdict is None else verdict(measured)
            if stopped or measured.processes >= most:
                return replace(measured, stopped=stopped or ("" if verdict is None else CAP))
            with host_lock(LOCK, timeout_s=LOCK_WAIT_S):
                seat = self._seat()
                self._measure(seat)
                seat.close()

    def so_far(self) -> Measurement:
        """What was measured until now."""
        reference_latency_s = None if self._reference_worker is None else self._reference_worker.reference_latency_s
        merged = merge(self._taken, self._effective, self._subject, self._host, reference_latency_s)
        return replace(merged, quantile=self._plan.quantile)

    def _all_predicted(self, seat: Seat, *, predict: bool = True) -> list[np.ndarray]:
        """The predictions of all cases in their order; nothing more is asked of the process afterwards."""
        wanted = range(len(case_ids(self._subject.cases.path)) if predict else 0)
        missing = [index for index in wanted if index not in self._predictions]
        self._predictions |= self._predicted(seat, missing, meanwhile=self._prepare_next)
        self._end_first(seat)
        return [self._predictions.pop(index) for index in wanted]

    def _prepare_next(self) -> None:
        """Start the next process, unless it will not be needed.

        It only imports: two runtimes that compute slow each other down tenfold.
        """
        if self._plan.processes > 1 and not self._is_clear():
            self._workers.prepare()

    def _predicted(
        self, seat: Seat, cases: Sequence[int], meanwhile: Callable[[], None] = lambda: None
    ) -> dict[int, np.ndarray]:
        with tempfile.TemporaryDirectory(prefix="autoopt-") as folder:
            seat.predict(cases, Path(folder))
            meanwhile()
            seat.predicted()
            return dict(zip(cases, _loaded(Path(folder), cases), strict=True))

    def _end_first(self, seat: Seat) -> None:
        self._effective = seat.effective()
        seat.close()
        self._first = None

    def _is_clear(self) -> bool:
        """Whether nothing hangs on measuring another process."""
        taken = self._taken[-1]
        return bool(taken.others) and self._clear(ratio_of(taken.turns, taken.others, self._plan.quantile))

    def _seat(self) -> Seat:
        seat = Seat(self._workers.take(), self._subject, self._plan)
        seat.timeout_s = self._timeout_s
        if self._memory_bytes is not None:
            seat.memory_bytes = self._memory_bytes
        return seat.begin()

    def _measure(self, seat: Seat) -> None:
        if self._reference_worker is not None:
            self._reference_worker.open()
        opened = seat.opened()
        with _watched([self._reference_worker, seat]) as load:
            if self._reference_worker is None:
                others, turns = [], [seat.turn(self._plan) for _ in range(self._plan.rounds)]
            else:
                others, turns = play([self._reference_worker, seat], self._plan, order=self._order, clear=self._clear)
        foreign = load.get("foreign") if load["seconds"] >= LONG_ENOUGH_S else None
        contended = "" if self._reference_worker is None else self._reference_worker.remember(others, foreign)
        name = "" if self._reference_worker is None else self._reference_worker.name
        self._taken.append(Taken(opened, turns, others, name, contended, load, tuple(seat.joules)))


def measure(
    subject: Subject,
    *,
    host: Host,
    plan: Plan | None = None,
    reference_worker: ReferenceWorker | None = None,
    timeout_s: float = 300.0,
    predict: bool = True,
) -> tuple[Measurement, list[np.ndarray]]:
    """`Measuring` from begin to end, without a verdict: the measurement, and the predictions of all cases."""
    with Workers(subject.runtime) as workers:
        measuring = Measuring(
            subject, workers, host=host, plan=plan or Plan(), reference_worker=reference_worker, timeout_s=timeout_s
        )
        predictions = measuring.first(predict=predict)
        return measuring.finish(), predictions


def together(
    subjects: Sequence[Subject], *, host: Host, plan: Plan, reference_worker: ReferenceWorker | None
) -> list[Measurement]:
    """One fresh process of each subject, all open at once, taking turns with the reference and each other.

    What really ran is not read back again. Raises TrialError when one of them fails.
    """
    order = random.Random(str([subject.artifact.key for subject in subjects]))  # noqa: S311 - an order, not a secret
    with ExitStack() as held:
        held.enter_context(host_lock(LOCK, timeout_s=LOCK_WAIT_S))
        workers = [held.enter_context(Workers(subject.runtime)) for subject in subjects]
        seats = [Seat(w.take(), subject, plan).begin() for w, subject in zip(workers, subjects, strict=True)]
        opened = [seat.opened() for seat in seats]
        if reference_worker is None:
            rounds = play(seats, replace(plan, least_rounds=plan.rounds), order=order)
            taken = [Taken(one, turns) for one, turns in zip(opened, rounds, strict=True)]
        else:
            reference_worker.open()
            others, *rounds = play([reference_worker, *seats], plan, order=order)
            contended = reference_worker.remember(others)
            taken = [
                Taken(one, turns, others, reference_worker.name, contended)
                for one, turns in zip(opened, rounds, strict=True)
            ]
    reference_latency_s = None if reference_worker is None else reference_worker.reference_latency_s
    merged = [
        merge([item], {}, subject, host, reference_latency_s) for item, subject in zip(taken, subjects, strict=True)
    ]
    return [replace(item, quantile=plan.quantile) for item in merged]


def predictions(subject: Subject, *, timeout_s: float = 300.0) -> list[np.ndarray]:
    """The predictions of all cases of `subject`, in their order, without timing anything. Raises TrialError."""
    hasty = Plan(warmup_max_s=0.0)
    with Workers(subject.runtime) as workers, tempfile.TemporaryDirectory(prefix="autoopt-") as folder:
        seat = Seat(workers.take(), subject, hasty)
        seat.timeout_s = timeout_s
        seat.begin().opened()
        wanted = range(len(case_ids(subject.cases.path)))
        seat.predict(wanted, Path(folder))
        seat.predicted()
        return _loaded(Path(folder), wanted)


def _loaded(folder: Path, cases: Sequence[int]) -> list[np.ndarray]:
    return [np.load(folder / array_name(index), allow_pickle=False) for index in cases]


@contextmanager
def _watched(players: Sequence[Seat | ReferenceWorker | None]) -> Iterator[dict[str, float]]:
    """What else the host did in the `seconds` that the block ran, filled in at its end: shares of the cores."""
    pids = [os.getpid(), *(player.pid for player in players if player is not None and player.pid is not None)]
    load: dict[str, float] = {}
    before = host_load.snapshot(pids)
    yield load
    found = host_load.between(before, host_load.snapshot(pids))
    for name, value in (("foreign", found.foreign_share), ("steal", found.steal_share), ("throttles", found.throttles)):
        if value is not None:
            load[name] = float(value)
    load["seconds"] = found.wall_s
