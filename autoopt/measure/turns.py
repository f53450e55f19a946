"""The order of turns: candidates and the reference take turns at random until the ratio of their latencies is known.

Nothing here knows of processes: a player is anything that can take a turn, in tests a simulated one.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from autoopt.core import stats
from autoopt.measure.timing import MeasuringPlan, Turn

Clear = Callable[[stats.LogRatio], bool]
"""Says of a ratio to the reference, with its error, that knowing it better would change nothing."""


@dataclass(frozen=True)
class FarFrom:
    """A `Clear` as plain data: the ratio is so far from each of `ratios` that more samples would not change an order.

    `sigma` is the standard deviation of log latency between processes of one thing.
    """

    ratios: tuple[stats.LogRatio, ...]
    sigma: float

    def __call__(self, ratio: stats.LogRatio) -> bool:
        """See `Clear`."""
        return all(stats.far_apart(ratio, other, self.sigma) for other in self.ratios)

    def to_json(self) -> dict[str, Any]:
        """It as plain data."""
        return {"sigma": self.sigma, "ratios": [[one.value, one.error, list(one.values)] for one in self.ratios]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> FarFrom:
        """What `to_json` wrote."""
        ratios = (stats.LogRatio(mean, error, tuple(values)) for mean, error, values in value["ratios"])
        return cls(tuple(ratios), value["sigma"])


def never(ratio: stats.LogRatio) -> bool:
    """Never stop early."""
    return False


class Player(Protocol):
    """One process with one model open."""

    def turn(self, plan: MeasuringPlan) -> Turn:
        """Call the model for one turn while all others wait. Raises TrialError."""
        ...


def play(
    players: Sequence[Player],
    plan: MeasuringPlan,
    *,
    order: random.Random,
    clear: Clear = never,
    clock: Callable[[], float] = time.monotonic,
) -> list[list[Turn]]:
    """The turns of each player, one in each round; the first player is the reference.

    After `plan.rounds` rounds it ends when the error of the ratio of every other player to the reference is at most
    `plan.narrow`; after `plan.clear_rounds` when every ratio is `clear`; at last at a limit of the plan.
    """
    began = clock()
    taken: list[list[Turn]] = [[] for _ in players]
    done = 0
    while not _enough(taken, done, clock() - began, plan, clear):
        for index in order.sample(range(len(players)), len(players)):
            taken[index].append(players[index].turn(plan))
        done += 1
    return taken


def _enough(taken: Sequence[Sequence[Turn]], rounds: int, elapsed_s: float, plan: MeasuringPlan, clear: Clear) -> bool:
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
    """The log ratio of the latencies of two players of one process each; its error is infinite for a single round."""
    calls, reference = [turn.calls_s for turn in turns], [turn.calls_s for turn in others]
    ratio = stats.paired_ratio([calls], [reference], q=q, resamples=100)
    return ratio if len(turns) > 1 else replace(ratio, error=math.inf)
