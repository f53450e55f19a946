"""Trials that run side by side: each in a thread, as many as the runner has room for, and seeds before all others."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Protocol, Self

from autoopt.core.records import TrialRecord
from autoopt.study.attempts import Attempt
from autoopt.study.proposals import SEED
from autoopt.study.result import StudyResult

Run = Callable[[Attempt, StudyResult], TrialRecord]
"""Runs a trial in a study that stands at a result."""


class Lanes(Protocol):
    """Room for some trials at once, for the length of a `with` block; only one thread begins and ends them."""

    def __enter__(self) -> Self:
        """Get ready."""
        ...

    def __exit__(self, *exc_info: object) -> None:
        """Wait for what runs."""
        ...

    @property
    def free(self) -> int:
        """How many more may be begun."""
        ...

    @property
    def running(self) -> int:
        """How many were begun and not asked for again."""
        ...

    @property
    def attempt(self) -> Attempt | None:
        """The trial that the calling thread runs, None where it runs none."""
        ...

    def may_begin(self, attempt: Attempt) -> bool:
        """Whether it need not wait for what runs."""
        ...

    def begin(self, attempt: Attempt, study: StudyResult) -> None:
        """Let it run."""
        ...

    def next_ended(self) -> tuple[Attempt, TrialRecord]:
        """Wait for the next that ends. Raises what running it raised."""
        ...


def lanes_for(count: int, run: Run) -> Lanes:
    """Room for `count` trials at once, each run by `run`."""
    return OneLane(run) if count == 1 else ThreadLanes(run, count)


class OneLane:
    """One trial after the other, in the thread that asks."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._waiting: tuple[Attempt, StudyResult] | None = None
        self.attempt: Attempt | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.attempt = None

    @property
    def free(self) -> int:
        """See `Lanes`."""
        return int(self._waiting is None)

    @property
    def running(self) -> int:
        """See `Lanes`."""
        return int(self._waiting is not None)

    def may_begin(self, attempt: Attempt) -> bool:
        """See `Lanes`."""
        return True

    def begin(self, attempt: Attempt, study: StudyResult) -> None:
        """See `Lanes`; it runs when it is asked for."""
        self._waiting, self.attempt = (attempt, study), attempt

    def next_ended(self) -> tuple[Attempt, TrialRecord]:
        """See `Lanes`."""
        assert self._waiting is not None
        (attempt, study), self._waiting = self._waiting, None
        return attempt, self._run(attempt, study)


class ThreadLanes:
    """Each trial in one of `count` threads, which live as long as the block: child processes die with the thread that
    started them.

    A thread begins its next trial once its last one was asked for and the asker came back: then that one is stored.
    """

    def __init__(self, run: Run, count: int) -> None:
        self._run, self._count = run, count
        self._todo: queue.SimpleQueue[tuple[Attempt, StudyResult] | None] = queue.SimpleQueue()
        self._ended: queue.SimpleQueue[tuple[Attempt, TrialRecord | BaseException, threading.Event]]
        self._ended = queue.SimpleQueue()
        self._last: threading.Event | None = None
        self._threads: list[threading.Thread] = []
        self._own = threading.local()
        self._begun: list[Attempt] = []

    def __enter__(self) -> Self:
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(self._count)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._let_go()
        for _ in self._threads:
            self._todo.put(None)
        for thread in self._threads if exc_info[0] is None else ():  # after an error or Ctrl-C nobody waits
            thread.join()
        self._threads = []

    @property
    def free(self) -> int:
        """See `Lanes`."""
        return self._count - len(self._begun)

    @property
    def running(self) -> int:
        """See `Lanes`."""
        return len(self._begun)

    @property
    def attempt(self) -> Attempt | None:
        """See `Lanes`."""
        return getattr(self._own, "attempt", None)

    def may_begin(self, attempt: Attempt) -> bool:
        """See `Lanes`: all trials are compared with the seeds, so these are told first."""
        return attempt.proposal.origin == SEED or all(other.proposal.origin != SEED for other in self._begun)

    def begin(self, attempt: Attempt, study: StudyResult) -> None:
        """See `Lanes`."""
        self._let_go()
        self._begun.append(attempt)
        self._todo.put((attempt, study))

    def next_ended(self) -> tuple[Attempt, TrialRecord]:
        """See `Lanes`."""
        self._let_go()
        attempt, found, self._last = self._ended.get()
        self._begun.remove(attempt)
        if isinstance(found, BaseException):
            raise found
        return attempt, found

    def _let_go(self) -> None:
        """Let the thread whose trial was asked for last begin another one."""
        if self._last is not None:
            self._last.set()

    def _work(self) -> None:
        while (todo := self._todo.get()) is not None:
            attempt, study = todo
            self._own.attempt = attempt
            stored = threading.Event()
            try:
                self._ended.put((attempt, self._run(attempt, study), stored))
            except BaseException as error:  # raised where it is waited for
                self._ended.put((attempt, error, stored))
            self._own.attempt = None
            stored.wait()
