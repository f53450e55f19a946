"""Who takes a turn when: candidates and the reference side by side, in random order, until the ratio is known.

Pure of processes and clocks: a player is whatever can take a turn, such as a worker process or a simulation.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from autoopt.core import stats
from autoopt.measure.timing import Plan, Turn

Clear = Callable[[stats.LogRatio], bool]
"""Whether a ratio to the reference, as far as it is known, is known well enough whatever its error."""


def never(ratio: stats.LogRatio) -> bool:
    """No ratio is."""
    return False


class Player(Protocol):
    """One process with one model open."""

    def turn(self, plan: Plan) -> Turn:
        """Call the model for one turn while all others wait. Raises TrialError."""
        ...


def play(
    players: Sequence[Player],
    plan: Plan,
    *,
    order: random.Random,
    clear: Clear = never,
    clock: Callable[[], float] = time.monotonic,
) -> list[list[Turn]]:
    """The turns of each player, one a round, the first player being the reference of the others.

    It ends when the ratio of every other player to the reference is known to `plan.narrow`, at the earliest after
    `plan.rounds` rounds, or is `clear` after `plan.clear_rounds`, or at a limit of the plan.
    """
    began = clock()
    taken: list[list[Turn]] = [[] for _ in players]
    done = 0
    while not _enough(taken, done, clock() - began, plan, clear):
        for index in order.sample(range(len(players)), len(players)):
            taken[index].append(players[index].turn(plan))
        done += 1
    return taken


def _enough(taken: Sequence[Sequence[Turn]], rounds: int, elapsed_s: float, plan: Plan, clear: Clear) -> bool:
    if rounds < plan.least_rounds:
        return False
    if rounds >= plan.most_rounds or elapsed_s >= plan.max_s:
        return True
    if rounds < min(plan.rounds, plan.clear_rounds):
        return False
    ratios = [ratio_of(turns, taken[0], plan.quantile) for turns in taken[1:]]
    if rounds >= plan.rounds and all(ratio.error <= plan.narrow for ratio in ratios):
        return True
    return rounds >= plan.clear_rounds and bool(ratios) and all(clear(ratio) for ratio in ratios)


def ratio_of(turns: Sequence[Turn], others: Sequence[Turn], q: float) -> stats.LogRatio:
    """The log ratio of two players of one process each; its error is infinite for a single round."""
    calls, reference = [turn.calls_s for turn in turns], [turn.calls_s for turn in others]
    ratio = stats.paired_ratio([calls], [reference], q=q, resamples=100)
    return ratio if len(turns) > 1 else replace(ratio, error=math.inf)
