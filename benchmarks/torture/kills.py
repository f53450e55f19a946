"""kill -9 at random moments, of the search, the maker, a worker, the reference: the same command goes on."""

from __future__ import annotations

import contextlib
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil

from autoopt.core.records import TrialRecord
from autoopt.measure.workers import WORKER
from benchmarks.torture.commands import BUDGET, arguments
from benchmarks.torture.judging import broken, ended_badly, look, lost
from benchmarks.torture.searching import MAKER, DidNotHold, Search, children, records
from benchmarks.torture.table import Setting, Tried

PARENT, MAKING, MEASURING, REFERENCE = "parent", "maker", "worker", "reference"
VICTIMS = (PARENT, MAKING, MEASURING, REFERENCE)
STARTING_S, MOMENT_S = 20.0, 2.0
"""The longest time from the start of a search, or from the moment that a victim is there, to the kill."""
UNTIL_MAKING_S = 20.0
"""How long a maker is watched until it writes an artifact; then it is killed at whatever it does."""
MOST_IN_ONE = 14
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
            try:
                tries = _killed(search, home, order[:MOST_IN_ONE], chance)
                tries = _judged(search, home, tries)
            except DidNotHold as error:
                tries = [Tried(victim, (str(error),)) for victim in order[:1]]
            finally:
                search.close()
            order = order[len(tries) :]
            yield from tries


def _killed(search: Search, home: Path, order: list[str], chance: random.Random) -> list[Tried]:
    """Kill one after the other until the search ends by itself; what was lost at once is said of each."""
    tries: list[Tried] = []
    known: list[TrialRecord] = []
    for victim in order:
        search.go_on()
        if not _kill(search, home, victim, chance):
            break  # it came to its end: the others are for the next search
        now = records(home)
        tries.append(Tried(victim, tuple(lost(known, now))))
        known = now
    return tries


def _judged(search: Search, home: Path, tries: list[Tried]) -> list[Tried]:
    """Let the search come to its end; what does not hold then is said of its last kill."""
    if not tries:
        raise DidNotHold("the search came to its end before anything could be killed")
    before = records(home)
    problems = list(ended_badly(search.end(), codes=(0,)))
    count = Counter(item.name for item in tries)
    most_failed = (count[MAKING] + count[MEASURING]) // 2  # what was killed once is tried again
    try:
        seen = look(search, home)
    except Exception as error:
        problems.append(f"the study cannot be read: {type(error).__name__}: {error}")
    else:
        problems += broken(seen, before, budget=BUDGET, most_failed=most_failed, words=KILLED)
    return [*tries[:-1], replace(tries[-1], problems=(*tries[-1].problems, *problems))]


def _kill(search: Search, home: Path, victim: str, chance: random.Random) -> bool:
    """Kill one process of the search at a random moment; False where the search came to its end before."""
    share = chance.random()
    starting = chance.random() < 0.5
    with contextlib.suppress(DidNotHold):
        if victim == PARENT:
            if not starting:
                search.wait_for_worker()
            time.sleep(share * (STARTING_S if starting else MOMENT_S))
            if search.runs:
                search.kill()
                return True
        while search.runs:
            if victim == MAKING:
                _wait_for_making(search, home)
            else:
                search.wait_for(lambda: search.trials_told > 0, "no trial ends")
            time.sleep(share * (1.0 if victim == MAKING else MOMENT_S))
            with contextlib.suppress(psutil.NoSuchProcess, IndexError):  # it ended just before
                _chosen(search, victim, chance).kill()
                return True
    if search.runs:
        raise DidNotHold(f"no {victim} could be killed: {search.said[-1000:]}")
    return False


def _chosen(search: Search, victim: str, chance: random.Random) -> psutil.Process:
    """The process to kill. After the first trial of a command its oldest worker is the reference. Raises IndexError."""
    pid = search.go_on()
    if victim == MAKING:
        return children(pid, MAKER)[0]
    workers = children(pid, WORKER)
    return workers[0] if victim == REFERENCE else chance.choice(workers[1:])


def _wait_for_making(search: Search, home: Path) -> None:
    """Wait until there is a maker that writes an artifact; not for ever, since all may be made."""
    pid = search.go_on()
    search.wait_for(lambda: bool(children(pid, MAKER)), "nothing makes artifacts")
    deadline = time.monotonic() + UNTIL_MAKING_S
    while search.runs and time.monotonic() < deadline and not any(home.glob("store/*/.autoopt-*")):
        time.sleep(0.05)
