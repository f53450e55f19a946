"""kill -9 at random moments, of the search, the maker, a worker, the reference: the same command goes on."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil

from autoopt.core.records import TrialRecord
from autoopt.errors import AutooptError, NothingFits
from autoopt.measure.workers import WORKER
from benchmarks.torture.commands import BUDGET, arguments
from benchmarks.torture.judging import broken, ended_badly, look, lost
from benchmarks.torture.searching import MAKER, PATIENCE_S, DidNotHold, Search, children, records
from benchmarks.torture.table import Setting, Tried

PARENT, MAKING, MEASURING, REFERENCE = "parent", "maker", "worker", "reference"
VICTIMS = (PARENT, MAKING, MEASURING, REFERENCE)
STARTING_S, MOMENT_S = 20.0, 10.0
"""The longest time from the start of a search, or from the moment that a victim is there, to the kill."""
UNTIL_MAKING_S = 20.0
"""How long a maker is watched until it writes an artifact; then it is killed at whatever it does."""
MOST_IN_ONE = 20
"""Kills of one search; then it is let to its end and judged, and the next one begins with an empty study."""
KILLED = ("was killed",)


def kills(setting: Setting) -> Iterator[Tried]:
    """As many kills as the setting has moments, an equal part of each victim; each search is judged at its end."""
    chance = random.Random(setting.seed)  # noqa: S311 - the same moments every time
    order = [VICTIMS[index % len(VICTIMS)] for index in range(setting.moments)]
    chance.shuffle(order)
    while order:
        with setting.folder() as folder:
            home = folder / "home"
            search = Search(folder, arguments(setting.data, home))
            done: list[str] = []
            try:
                for tried in _killed(search, home, order[:MOST_IN_ONE], chance):
                    done.append(tried.name)
                    yield tried
                if not done:
                    raise DidNotHold("the search came to its end before anything could be killed")
                yield Tried(f"the same command after {len(done)} kills", tuple(_at_the_end(search, home, done)))
            finally:
                search.close()
            order = order[len(done) :]


def _killed(search: Search, home: Path, order: Sequence[str], chance: random.Random) -> Iterator[Tried]:
    """Kill one after the other until the search ends by itself; what was lost at once is said of each."""
    known: list[TrialRecord] = []
    victims = _Victims(search, home, chance)
    for victim in order:
        search.go_on()
        if not victims.kill(victim):
            return  # it came to its end: the others are for the next search
        now = records(home)
        yield Tried(victim, tuple(lost(known, now)))
        known = now


def _at_the_end(search: Search, home: Path, done: Sequence[str]) -> Iterator[str]:
    """Run the same command until it is done; what does not hold then."""
    before = records(home)
    ended = search.end()
    yield from ended_badly(ended, codes=(0, NothingFits.exit_code))
    if (
        ended.code != 0
    ):  # the reference was killed twice: without it nothing is known, and the next start tries it again
        yield from ended_badly(search.end(), codes=(0,))
    most_failed = sum(victim in (MAKING, MEASURING) for victim in done) // 2  # what was killed once is tried again
    try:
        seen = look(search, home)
    except AutooptError as error:
        yield f"the study cannot be read: {error}"
    else:
        yield from broken(seen, before, budget=BUDGET, most_failed=most_failed, words=KILLED)


class _Victims:
    """The processes of one search, and which of them is to be killed.

    A command starts the reference as its second worker, and keeps it while all others come and go; so its first worker
    is looked for from its start.
    """

    def __init__(self, search: Search, home: Path, chance: random.Random) -> None:
        self._search, self._home, self._chance = search, home, chance
        self._first: dict[int, int] = {}

    def kill(self, victim: str) -> bool:
        """Kill one process of the search at a random moment; False where the search came to its end before."""
        search, share = self._search, self._chance.random()
        if victim == PARENT:
            starting = self._chance.random() < 0.5
            if not starting:
                self._wait(lambda: len(self._workers()) >= 1, PATIENCE_S)
            time.sleep(share * (STARTING_S if starting else MOMENT_S))
            if search.runs:
                search.kill()
                return True
        while search.runs:
            if victim == MAKING:
                self._wait(lambda: any(self._home.glob("store/*/.autoopt-*")), UNTIL_MAKING_S)
            else:
                self._wait(lambda: len(self._workers()) >= 2, PATIENCE_S)
            time.sleep(share * (1.0 if victim == MAKING else MOMENT_S))
            with contextlib.suppress(psutil.NoSuchProcess, IndexError):  # it ended just before
                self._chosen(victim).kill()
                return True
        return False

    def _chosen(self, victim: str) -> psutil.Process:
        """The process to kill. Raises IndexError where there is none."""
        pid = self._search.go_on()
        if victim == MAKING:
            return children(pid, MAKER)[0]
        workers = self._workers()
        reference = workers[1 if workers[0].pid == self._first[pid] else 0]
        if victim == REFERENCE:
            return reference
        return self._chance.choice([worker for worker in workers if worker.pid != reference.pid])

    def _workers(self) -> list[psutil.Process]:
        pid = self._search.go_on()
        found = children(pid, WORKER)
        if found:
            self._first.setdefault(pid, found[0].pid)
        return found

    def _wait(self, there: Callable[[], bool], longest_s: float) -> None:
        """Wait until something is there, the search is at its end, or it has been looked for long enough."""
        deadline = time.monotonic() + longest_s
        while self._search.runs and time.monotonic() < deadline and not there():
            self._workers()
            time.sleep(0.05)
