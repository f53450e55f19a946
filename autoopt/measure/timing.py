"""The timing protocol inside one process: warm up until the calls are steady, then turns of a few calls.

The parent decides on the order of turns (turns.py); a measurement is several fresh processes (measuring.py).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from autoopt.core import stats

CONCURRENT: Literal["concurrent"] = "concurrent"
"""What is timed in a process that answers many calls at once, instead of one call after the other."""
LEAST_WAVES = 6
"""Calls of every request in such a turn, at least: the first and the last of them do not count."""
LONG_TURN = 8.0
"""A turn of a slow model may take so many times as long as planned; then fewer calls are dropped and timed."""

Clock = Callable[[], float]


@dataclass(frozen=True)
class MeasuringPlan:
    """How long to measure, in seconds and calls.

    A process warms up until the quartile of the last `window` calls is within `steady` (a fraction) of the `window`
    calls before, at least `warmup_min_calls` and `warmup_min_s`, at most `warmup_max_s`. A turn drops its first
    `dropped_calls`, then times calls for `turn_s`, at least `turn_min_calls`, at most `turn_max_calls`; of a model so
    slow that dropping or the least number would take longer than `LONG_TURN` times `turn_s`, fewer, down to one timed
    call. In every process the candidate and the reference take turns, in random order, for `rounds` rounds; then on
    until the error of their ratio is below `narrow` (a fraction), at most `most_rounds`; only `clear_rounds` where
    nothing depends on the ratio; after `max_s` seconds no more than `least_rounds`. A trial is `processes` fresh
    processes; up to `most_processes` while it is not clear on which side of the front it lies; `noise_processes` where
    the reference itself is the candidate, which shows how processes of one model differ. Ratios are those of the
    `quantile` of the calls. Where throughput is asked for, one more process answers calls side by side, in
    `concurrent_rounds` turns of about `concurrent_turn_s`.
    """

    processes: int = 2
    most_processes: int = 2
    noise_processes: int = 5
    warmup_min_calls: int = 3
    warmup_min_s: float = 0.2
    warmup_max_s: float = 0.8
    window: int = 4
    steady: float = 0.05
    dropped_calls: int = 1
    turn_s: float = 0.05
    turn_min_calls: int = 2
    turn_max_calls: int = 100
    rounds: int = 4
    most_rounds: int = 6
    clear_rounds: int = 3
    least_rounds: int = 2
    narrow: float = 0.03
    max_s: float = 6.0
    quantile: float = 0.25
    concurrent_turn_s: float = 0.5
    concurrent_rounds: int = 4

    def thorough(self) -> MeasuringPlan:
        """The plan of a comparison that decides: twice the rounds, in the same processes."""
        return replace(self, rounds=2 * self.rounds, most_rounds=2 * self.most_rounds, narrow=self.narrow / 2)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> MeasuringPlan:
        """The plan that `to_json` wrote."""
        return cls(**value)


@dataclass(frozen=True)
class Clocks:
    """Wall and CPU seconds; tests pass fakes."""

    wall: Clock = time.perf_counter
    cpu: Clock = time.process_time


@dataclass(frozen=True)
class Turn:
    """The calls of one turn: wall seconds of each, of the dropped ones before them, CPU-seconds of all counted ones."""

    calls_s: tuple[float, ...]
    dropped_s: tuple[float, ...]
    cpu_s: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Turn:
        """The turn that `to_json` wrote."""
        return cls(tuple(value["calls_s"]), tuple(value["dropped_s"]), float(value["cpu_s"]))


def settle(
    call: Callable[[], object], plan: MeasuringPlan, clocks: Clocks | None = None
) -> tuple[tuple[float, ...], bool]:
    """The seconds of each warm-up call, at least one, and whether they became steady."""
    clocks = clocks or Clocks()
    warmups: list[float] = []
    spent = 0.0
    while not warmups or spent < plan.warmup_max_s:
        warmups.append(_timed(call, clocks))
        spent += warmups[-1]
        if len(warmups) >= plan.warmup_min_calls and spent >= plan.warmup_min_s and is_steady(warmups, plan):
            break
    return tuple(warmups), is_steady(warmups, plan)


def take_turn(call: Callable[[], object], plan: MeasuringPlan, call_s: float, clocks: Clocks | None = None) -> Turn:
    """One turn of `call`, which takes about `call_s`. The CPU-seconds are those of all threads in the counted calls."""
    clocks = clocks or Clocks()
    most = int(LONG_TURN * plan.turn_s / max(call_s, 1e-9))
    # The first calls find caches that another process filled, which matters little to a call of half a second.
    dropped = [_timed(call, clocks) for _ in range(min(plan.dropped_calls, most))]
    least = max(1, min(plan.turn_min_calls, most))
    calls: list[float] = []
    cpu_before, began = clocks.cpu(), clocks.wall()
    while len(calls) < least or (len(calls) < plan.turn_max_calls and clocks.wall() - began < plan.turn_s):
        calls.append(_timed(call, clocks))
    return Turn(tuple(calls), tuple(dropped), clocks.cpu() - cpu_before)


def take_concurrent_turn(
    run: Callable[[int, Callable[[], object]], object],
    requests: int,
    plan: MeasuringPlan,
    call_s: float,
    clocks: Clocks | None = None,
) -> Turn:
    """One turn of `run`, which makes so many calls, `requests` at a time, and tells when each is answered.

    The seconds between answers count, from the end of the first wave of calls to where fewer than `requests` are left:
    all run at once meanwhile. `call_s` is about what a call takes, counted like that.
    """
    clocks = clocks or Clocks()
    waves = max(LEAST_WAVES, math.ceil(plan.concurrent_turn_s / max(call_s * requests, 1e-9)))
    calls = waves * requests
    answered_s: list[float] = []
    cpu_before = clocks.cpu()
    run(calls, lambda: answered_s.append(clocks.wall()))
    cpu_s = (clocks.cpu() - cpu_before) / calls
    first, last = requests - 1, calls - requests - 1
    return Turn(((answered_s[last] - answered_s[first]) / (last - first),), (), cpu_s)


def is_steady(times: list[float], plan: MeasuringPlan) -> bool:
    """Whether the lower quartile of the last `window` times is within `steady` of the window before."""
    if len(times) < 2 * plan.window:
        return False
    last = stats.quantile(times[-plan.window :], 0.25)
    previous = stats.quantile(times[-2 * plan.window : -plan.window], 0.25)
    return abs(last - previous) <= plan.steady * previous


def _timed(call: Callable[[], object], clocks: Clocks) -> float:
    began = clocks.wall()
    call()
    return clocks.wall() - began
