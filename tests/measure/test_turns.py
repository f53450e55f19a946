"""Who takes a turn when, with players that are simulations: order, end, and what a busy host does to the ratio."""

from __future__ import annotations

import random

import numpy as np
import pytest

from autoopt.core import stats
from autoopt.measure.timing import MeasuringPlan, Turn
from autoopt.measure.turns import play, ratio_of


class Host:
    """A host whose speed drifts and which is sometimes busy, and the log of who ran when."""

    def __init__(self, seed: int, *, busy: float = 0.0) -> None:
        self.rng = np.random.default_rng(seed)
        self.busy = busy
        self.now_s = 0.0
        self.log: list[str] = []

    def slowdown(self) -> float:
        drift = 1.0 + 0.3 * np.sin(self.now_s / 3.0)
        return float(drift * (1.5 if self.rng.random() < self.busy else 1.0))


class Simulated:
    """A player whose calls take `call_s`, times what the host does, with a little noise of their own."""

    def __init__(self, name: str, call_s: float, host: Host, noise: float = 0.02) -> None:
        self.name, self.call_s, self.host, self.noise = name, call_s, host, noise

    def turn(self, plan: MeasuringPlan) -> Turn:
        self.host.log.append(self.name)
        calls = []
        for _ in range(6):
            seconds = self.call_s * self.host.slowdown() * (1 + self.noise * float(self.host.rng.exponential()))
            self.host.now_s += seconds
            calls.append(seconds)
        return Turn(tuple(calls), (), sum(calls))


def _ratio(turns: list[Turn], others: list[Turn]) -> stats.LogRatio:
    return stats.paired_ratio([[turn.calls_s for turn in turns]], [[turn.calls_s for turn in others]])


def test_every_round_has_a_turn_of_each_in_random_order() -> None:
    """Each player has one turn in each round, and not always in the same order."""
    host = Host(0)
    players = [Simulated(name, 0.01, host, noise=0.5) for name in ("reference", "a", "b")]
    taken = play(players, MeasuringPlan(rounds=8, most_rounds=8), order=random.Random(1))
    assert [len(turns) for turns in taken] == [8, 8, 8]
    rounds = [tuple(host.log[start : start + 3]) for start in range(0, 24, 3)]
    assert all(sorted(names) == ["a", "b", "reference"] for names in rounds)
    assert len(set(rounds)) > 1


def test_it_goes_on_until_the_ratio_is_known() -> None:
    """Quiet players stop after the least rounds, noisy ones go on to the most."""
    quiet, noisy = Host(0), Host(0, busy=0.3)
    plan = MeasuringPlan(rounds=4, most_rounds=9)
    calm = play([Simulated("r", 0.01, quiet, 0.001)] * 2, plan, order=random.Random(0))
    wild = play([Simulated("r", 0.01, noisy, 0.9)] * 2, plan, order=random.Random(0))
    assert (len(calm[0]), len(wild[0])) == (4, 9)
    assert ratio_of(calm[1], calm[0], 0.25).error <= plan.narrow < ratio_of(wild[1], wild[0], 0.25).error


def test_a_clear_ratio_needs_few_rounds() -> None:
    """Where nothing hangs on the ratio, fewer rounds than otherwise are enough, but never fewer than those."""
    host, asked = Host(0), []

    def clear(ratio: stats.LogRatio) -> bool:
        asked.append(ratio)
        return ratio.ratio > 1.5

    players = [Simulated("r", 0.01, host), Simulated("a", 0.02, host)]
    plan = MeasuringPlan(rounds=6, clear_rounds=3)
    assert len(play(players, plan, order=random.Random(0), clear=clear)[0]) == 3
    assert len(asked) == 1
    assert len(play(players[:1] * 2, plan, order=random.Random(0), clear=clear)[0]) >= 6


def test_a_slow_pair_keeps_to_the_least_rounds() -> None:
    """When the time is over, the least rounds are played and no more."""
    host = Host(0)
    taken = play(
        [Simulated("r", 5.0, host), Simulated("a", 5.0, host)],
        MeasuringPlan(max_s=10.0, least_rounds=2),
        order=random.Random(0),
        clock=lambda: host.now_s,
    )
    assert len(taken[0]) == 2


def test_drift_cancels_and_the_stated_error_is_true() -> None:
    """On a host that drifts by 30 % a ratio of 1.25 comes out right, as often within its interval as it says."""
    errors, inside = [], 0
    for seed in range(60):
        host = Host(seed, busy=0.1)
        reference, candidate = Simulated("r", 0.01, host), Simulated("a", 0.0125, host)
        others, turns = play([reference, candidate], MeasuringPlan(rounds=6, most_rounds=6), order=random.Random(seed))
        found = _ratio(turns, others)
        errors.append(found.value - np.log(1.25))
        low, high = found.interval()
        inside += low <= 1.25 <= high
    assert abs(float(np.mean(errors))) < 0.02
    assert float(np.std(errors)) < 0.08
    assert inside >= 0.8 * 60  # a bootstrap of six rounds is somewhat too narrow: the noise of processes comes on top


def test_one_round_has_no_error() -> None:
    """From a single round nothing is known of how rounds differ."""
    assert ratio_of([Turn((0.1,), (), 0.1)], [Turn((0.1,), (), 0.1)], 0.25).error == np.inf
    with pytest.raises(ValueError, match="turn beside each turn"):
        stats.paired_ratio([[[0.1]]], [[]])
