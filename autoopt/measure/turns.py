"""Who takes a turn when: candidates and the reference side by side, in random order, until the ratio is known.

Pure of processes and clocks: a player is whatever can take a turn, such as a worker process or a simulation.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from autoopt import stats
from autoopt.measure.timing import Plan, Turn


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
    clock: Callable[[], float] = time.monotonic,
) -> list[list[Turn]]:
    """The turns of each player, one a round, the first player being the reference of the others.

    It ends when the ratio of every other player to the reference is known to `plan.narrow`, at the earliest after
    `plan.rounds` rounds, or at a limit of the plan.
    """
    began = clock()
    taken: list[list[Turn]] = [[] for _ in players]
    done = 0
    while not _enough(taken, done, clock() - began, plan):
        for index in order.sample(range(len(players)), len(players)):
            taken[index].append(players[index].turn(plan))
        done += 1
    return taken


def _enough(taken: Sequence[Sequence[Turn]], rounds: int, elapsed_s: float, plan: Plan) -> bool:
    if rounds < plan.least_rounds:
        return False
    if rounds >= plan.most_rounds or elapsed_s >= plan.max_s:
        return True
    return rounds >= plan.rounds and all(error_of(turns, taken[0]) <= plan.narrow for turns in taken[1:])


def error_of(turns: Sequence[Turn], others: Sequence[Turn]) -> float:
    """The standard error of the log ratio of two players of one process each; infinite for a single round."""
    if len(turns) < 2:
        return math.inf
    calls, reference = [turn.calls_s for turn in turns], [turn.calls_s for turn in others]
    return stats.paired_ratio([calls], [reference], resamples=100).error
