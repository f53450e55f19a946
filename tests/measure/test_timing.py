"""The timing protocol on a fake clock: what is warmed up, what is counted, when it stops, what it doubts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.measure.timing import Clocks, Plan, Timing, time_calls


class Machine:
    """A clock that only calls and pauses move; call number i takes `duration(i)` seconds."""

    def __init__(self, duration: Callable[[int], float], cpu_share: float = 1.0) -> None:
        self.duration = duration
        self.cpu_share = cpu_share
        self.wall_s = 0.0
        self.cpu_s = 0.0
        self.slept: list[float] = []
        self.calls: list[float] = []

    def call(self) -> None:
        seconds = self.duration(len(self.calls))
        self.calls.append(seconds)
        self.wall_s += seconds
        self.cpu_s += seconds * self.cpu_share

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.wall_s += seconds

    def time(self, plan: Plan | None = None) -> Timing:
        return time_calls(self.call, plan or Plan(), Clocks(lambda: self.wall_s, lambda: self.cpu_s, self.sleep))


def test_a_steady_net() -> None:
    """A steady 20 ms net is timed without doubts, in three rounds of 0.4 s, in under 2.5 s."""
    machine = Machine(lambda index: 0.02)
    timing = machine.time()
    assert timing.doubts == ()
    assert timing.calls_s == pytest.approx([0.02] * len(timing.calls_s))
    assert 27 <= len(timing.calls_s) <= 36
    assert timing.cpu_s == pytest.approx(0.02)
    assert machine.slept == [0.05, 0.05]
    assert machine.wall_s < 2.5


def test_every_call_is_kept() -> None:
    """Each call is either a warm-up or counted, none is lost."""
    machine = Machine(lambda index: 0.01 + 0.001 * (index % 7))
    timing = machine.time()
    assert sorted([*timing.warmups_s, *timing.calls_s]) == pytest.approx(sorted(machine.calls))


def test_slow_beginnings_are_warm_up() -> None:
    """Calls that still get faster are not counted."""
    timing = Machine(lambda index: 0.02 + 0.2 * 0.5**index).time()
    assert max(timing.calls_s) < 0.0225
    assert max(timing.warmups_s) > 0.1
    assert timing.doubts == ()


def test_never_steady() -> None:
    """A net that slows down all the time is measured after the longest warm-up, with a doubt."""
    timing = Machine(lambda index: 0.01 * 1.1**index).time(Plan(max_calls=20))
    assert any("steady" in doubt for doubt in timing.doubts)


def test_the_first_call_after_a_pause_is_not_counted() -> None:
    """The call that finds cold caches after a pause is a warm-up."""
    machine = Machine(lambda index: 0.01)
    seen = 0

    def duration(index: int) -> float:
        nonlocal seen
        cold = len(machine.slept) > seen
        seen = len(machine.slept)
        return 0.05 if cold else 0.01

    machine.duration = duration
    timing = machine.time()
    assert max(timing.calls_s) == pytest.approx(0.01)
    assert timing.warmups_s.count(pytest.approx(0.05)) == 2


def test_a_slow_net_is_bounded() -> None:
    """A net of 2 s a call gets at least five calls in two processes, in 10 s each, and says that they are few."""
    machine = Machine(lambda index: 2.0)
    timing = machine.time()
    assert len(timing.calls_s) * Plan().processes >= 5
    assert machine.wall_s <= 10.0
    assert any("only" in doubt for doubt in timing.doubts)


def test_a_very_slow_net_still_has_calls() -> None:
    """However slow, one warm-up and the least number of calls are made."""
    machine = Machine(lambda index: 60.0)
    assert len(machine.time().calls_s) == Plan().least_calls
    assert len(machine.calls) == Plan().least_calls + 1


def test_a_fast_net_stops_at_the_most_calls() -> None:
    """A net of 0.1 ms stops at the most calls, not at the clock."""
    timing = Machine(lambda index: 1e-4).time()
    assert Plan().max_calls * 0.99 <= len(timing.calls_s) <= Plan().max_calls + Plan().rounds


def test_a_busy_host_is_doubted() -> None:
    """Where calls take much more wall time than they compute, the host was busy."""
    assert any("busy" in doubt for doubt in Machine(lambda index: 0.02, cpu_share=0.5).time().doubts)
    assert Machine(lambda index: 0.02, cpu_share=1.9).time().doubts == ()


def test_a_wide_spread_is_doubted() -> None:
    """Bimodal call times are doubted."""
    timing = Machine(lambda index: 0.01 if index % 2 else 0.03).time()
    assert any("spread" in doubt for doubt in timing.doubts)


@given(
    seconds=st.lists(st.floats(1e-4, 3.0), min_size=1, max_size=40),
    rounds=st.integers(1, 5),
    min_calls=st.integers(1, 30),
)
def test_it_always_ends(seconds: list[float], rounds: int, min_calls: int) -> None:
    """Whatever the call times: bounded time, at least the least calls, no more than the most by a round."""
    machine = Machine(lambda index: seconds[index % len(seconds)])
    plan = Plan(rounds=rounds, min_calls=min_calls)
    timing = machine.time(plan)
    assert plan.least_calls <= len(timing.calls_s) <= plan.max_calls + plan.max_calls // rounds
    slowest = max(seconds)
    assert machine.wall_s <= plan.max_s + plan.warmup_max_s + (plan.least_calls + 3) * slowest + 1.0


def test_a_plan_survives_json() -> None:
    """A plan crosses the process border unchanged."""
    plan = Plan(processes=3, steady=0.1)
    assert Plan.from_json(plan.to_json()) == plan
