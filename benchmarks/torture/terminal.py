"""A terminal that goes away: closed or full standard output, and the signals that end a command, at random moments."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator

from benchmarks.torture.commands import BEGUN, BUDGET, begun
from benchmarks.torture.judging import broken, ended_badly
from benchmarks.torture.searching import DidNotHold
from benchmarks.torture.table import Setting, Tried

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STARTED_S, MEASURING_S = (2.0, 12.0), (0.0, 5.0)
"""The first and the last moment of a signal, from the start and from the first worker that is seen."""
KEPT = "all finished trials are stored"
OUTPUTS = {"closed": (">&-", (0,), ()), "full": (">/dev/full", (2,), ("no room left",))}
"""What a shell makes of standard output, the exit codes that are right, and what must be said."""


def terminal(setting: Setting) -> Iterator[Tried]:
    """Each signal twice, while the search starts and while it measures, then the same command to its end."""
    chance = random.Random(setting.seed)  # noqa: S311 - the same moments every time
    with begun(setting, budget=BUDGET) as found:
        tries = []
        for number in SIGNALS:
            for name, moments in (("starting", STARTED_S), ("measuring", MEASURING_S)):
                found.search.go_on()
                if name == "measuring":
                    found.search.wait_for_worker()
                time.sleep(chance.uniform(*moments))
                ended = found.search.end(send=number)
                wrong = ended_badly(ended, codes=(128 + number,), words=(KEPT,), lines=1)
                tries.append(Tried(f"{number.name} while {name}", tuple(wrong)))
        tries.append(Tried("the same command after the signals", tuple(found.goes_on())))
        yield from tries
    for name, (shell, codes, words) in OUTPUTS.items():
        with begun(setting) as found:
            try:
                found.search.go_on(shell=shell)
                problems = list(ended_badly(found.search.end(), codes=codes, words=words, lines=1))
                problems += broken(found.look(), found.before, budget=BEGUN + 1)
            except DidNotHold as error:
                problems = [str(error)]
            yield Tried(f"standard output {name}", tuple(problems))
