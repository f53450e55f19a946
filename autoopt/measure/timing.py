"""The timing protocol: settle, a few rounds with pauses between, raw samples and doubts. The clocks are arguments.

A measurement is several fresh processes (launcher.py), each of which does this once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from autoopt import stats

BUSY_CPU_SHARE = 0.85
"""A call that computes uses at least its wall time in CPU time; below this share it was kept waiting."""
WIDE_SPREAD = 0.25
"""Interquartile range over median beyond which single numbers mean little."""

Clock = Callable[[], float]


@dataclass(frozen=True)
class Plan:
    """How long to measure.

    Each of `processes` fresh processes warms up until the quartile of the last `window` calls is within
    `steady` (a fraction) of the `window` calls before, at least `warmup_min_calls` and `warmup_min_s`, at
    most `warmup_max_s`; then come `rounds` of `round_s` seconds each with `pause_s` between. It goes on to
    `min_calls`, stops at `max_calls`, and after `max_s` seconds keeps to `least_calls`: a slow net is
    measured with few calls, and says so. One warm-up call is always made.
    """

    processes: int = 2
    warmup_min_calls: int = 3
    warmup_min_s: float = 0.2
    warmup_max_s: float = 1.5
    window: int = 4
    steady: float = 0.05
    rounds: int = 3
    round_s: float = 0.2
    pause_s: float = 0.05
    min_calls: int = 15
    max_calls: int = 400
    least_calls: int = 3
    max_s: float = 8.0

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Plan:
        """The plan that `to_json` wrote."""
        return cls(**value)


@dataclass(frozen=True)
class Clocks:
    """Wall and CPU seconds, and how to wait; tests pass fakes."""

    wall: Clock = time.perf_counter
    cpu: Clock = time.process_time
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Timing:
    """What one process measured: raw wall seconds per call, CPU-seconds per call, doubts as sentences."""

    calls_s: tuple[float, ...]
    warmups_s: tuple[float, ...]
    cpu_s: float
    doubts: tuple[str, ...] = field(default=())


def time_calls(call: Callable[[], object], plan: Plan, clocks: Clocks | None = None) -> Timing:
    """Time `call` by `plan`. CPU-seconds are those of the whole process during the counted calls."""
    clocks = clocks or Clocks()
    began = clocks.wall()
    warmups, steady = _settle(call, plan, clocks)
    calls: list[float] = []
    cpu_s = 0.0
    done_rounds = 0
    while not _enough(calls, done_rounds, clocks.wall() - began, plan):
        if done_rounds and calls[-1] < plan.round_s / 4:
            clocks.sleep(plan.pause_s)
            warmups.append(_timed(call, clocks))  # the first call after a pause finds cold caches
        cpu_before = clocks.cpu()
        calls += _round(call, plan, clocks, began, len(calls))
        cpu_s += clocks.cpu() - cpu_before
        done_rounds += 1
    doubts = _doubts(calls, cpu_s, steady, plan)
    return Timing(tuple(calls), tuple(warmups), cpu_s / len(calls), doubts)


def _timed(call: Callable[[], object], clocks: Clocks) -> float:
    began = clocks.wall()
    call()
    return clocks.wall() - began


def _settle(call: Callable[[], object], plan: Plan, clocks: Clocks) -> tuple[list[float], bool]:
    """Warm-up calls and whether they became steady."""
    warmups: list[float] = []
    spent = 0.0
    while not warmups or spent < plan.warmup_max_s:
        warmups.append(_timed(call, clocks))
        spent += warmups[-1]
        if len(warmups) >= plan.warmup_min_calls and spent >= plan.warmup_min_s and is_steady(warmups, plan):
            return warmups, True
    return warmups, is_steady(warmups, plan)


def is_steady(times: list[float], plan: Plan) -> bool:
    """Whether the lower quartile of the last `window` times is within `steady` of the window before."""
    if len(times) < 2 * plan.window:
        return False
    last = stats.quantile(times[-plan.window :], 0.25)
    previous = stats.quantile(times[-2 * plan.window : -plan.window], 0.25)
    return abs(last - previous) <= plan.steady * previous


def _round(call: Callable[[], object], plan: Plan, clocks: Clocks, began: float, before: int) -> list[float]:
    """The calls of one round: at least one, no more than its share of `max_calls`."""
    times: list[float] = []
    most = max(1, plan.max_calls // plan.rounds)
    round_began = clocks.wall()
    while True:
        times.append(_timed(call, clocks))
        now = clocks.wall()
        late = now - began >= plan.max_s and before + len(times) >= plan.least_calls
        if now - round_began >= plan.round_s or len(times) >= most or late:
            return times


def _enough(calls: list[float], rounds: int, elapsed_s: float, plan: Plan) -> bool:
    if len(calls) >= plan.max_calls:
        return True
    if elapsed_s >= plan.max_s:
        return len(calls) >= plan.least_calls
    return rounds >= plan.rounds and len(calls) >= max(plan.min_calls, plan.least_calls)


def _doubts(calls: list[float], cpu_s: float, steady: bool, plan: Plan) -> tuple[str, ...]:
    doubts = []
    if not steady:
        doubts.append(f"the calls did not become steady within a warm-up of {plan.warmup_max_s:g} s")
    if len(calls) < plan.min_calls:
        doubts.append(f"only {len(calls)} calls were timed in a process, {plan.min_calls} are wanted")
    share = cpu_s / sum(calls) if sum(calls) > 0 else 1.0
    if share < BUSY_CPU_SHARE:
        doubts.append(f"the calls computed for only {share:.0%} of their wall time: the host was busy")
    spread = stats.relative_spread(calls)
    if spread > WIDE_SPREAD:
        doubts.append(f"the call times spread widely: their interquartile range is {spread:.0%} of the median")
    return tuple(doubts)
