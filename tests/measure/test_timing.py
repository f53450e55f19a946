"""Settling and turns on a fake clock: what is warmed up, what is dropped, what is counted, when a turn ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.measure.timing import LONG_TURN, Clocks, MeasuringPlan, Turn, settle, take_concurrent_turn, take_turn


class Machine:
    """A clock that only calls move; call number i takes `duration(i)` seconds."""

    def __init__(self, duration: Callable[[int], float], cpu_share: float = 1.0) -> None:
        self.duration = duration
        self.cpu_share = cpu_share
        self.wall_s = 0.0
        self.cpu_s = 0.0
        self.calls: list[float] = []
        self.clocks = Clocks(lambda: self.wall_s, lambda: self.cpu_s)

    def call(self) -> None:
        seconds = self.duration(len(self.calls))
        self.calls.append(seconds)
        self.wall_s += seconds
        self.cpu_s += seconds * self.cpu_share

    def settle(self, plan: MeasuringPlan | None = None) -> tuple[tuple[float, ...], bool]:
        return settle(self.call, plan or MeasuringPlan(), self.clocks)

    def turn(self, call_s: float, plan: MeasuringPlan | None = None) -> Turn:
        return take_turn(self.call, plan or MeasuringPlan(), call_s, self.clocks)


def test_a_steady_net_settles_at_once() -> None:
    """A steady 20 ms net is warm after the least time."""
    warmups, steady = Machine(lambda index: 0.02).settle()
    assert steady
    assert MeasuringPlan().warmup_min_s <= sum(warmups) <= MeasuringPlan().warmup_min_s + 0.03


def test_slow_beginnings_are_warm_up() -> None:
    """Calls that still get faster are warmed through: the next one is within a tenth of the last."""
    machine = Machine(lambda index: 0.02 + 0.2 * 0.5**index)
    warmups, steady = machine.settle()
    assert steady
    assert max(warmups) > 0.1
    assert machine.duration(len(warmups)) < 0.022


def test_never_steady() -> None:
    """A net that slows down all the time ends its warm-up at the limit, and says that it is not steady."""
    warmups, steady = Machine(lambda index: 0.01 * 1.1**index).settle()
    assert not steady
    assert sum(warmups[:-1]) < MeasuringPlan().warmup_max_s


def test_a_very_slow_net_has_one_warm_up_call() -> None:
    """However slow, one warm-up call is made, and no second one beyond the limit."""
    assert Machine(lambda index: 60.0).settle() == ((60.0,), False)


def test_the_first_calls_of_a_turn_are_dropped() -> None:
    """The calls that find cold caches are kept apart from those that count."""
    plan = MeasuringPlan(dropped_calls=2, turn_s=0.12)
    turn = Machine(lambda index: 0.05 if index < 2 else 0.01, cpu_share=2.0).turn(0.01, plan)
    assert turn.dropped_s == pytest.approx((0.05, 0.05))
    assert turn.calls_s == pytest.approx([0.01] * 12)
    assert turn.cpu_s == pytest.approx(0.24)


def test_a_slow_net_takes_short_turns() -> None:
    """A net of 0.3 s a call drops one call and counts one; of 3 s a call it counts one and drops none."""
    assert [len(part) for part in _parts(Machine(lambda index: 0.3).turn(0.3))] == [1, 1]
    assert [len(part) for part in _parts(Machine(lambda index: 3.0).turn(3.0))] == [1, 0]


@given(seconds=st.lists(st.floats(1e-5, 3.0), min_size=1, max_size=20), least=st.integers(1, 10))
def test_every_call_is_kept_and_turns_end(seconds: list[float], least: int) -> None:
    """Whatever the call times: each call is counted or dropped, and a turn is longer than planned by one call only."""
    machine = Machine(lambda index: seconds[index % len(seconds)])
    plan = MeasuringPlan(turn_min_calls=least)
    turn = machine.turn(min(seconds), plan)
    assert [*turn.dropped_s, *turn.calls_s] == pytest.approx(machine.calls)
    assert 1 <= len(turn.calls_s) <= max(plan.turn_max_calls, least)
    longest = max(plan.turn_s, least * max(seconds)) + max(seconds)
    assert sum(turn.calls_s) <= longest
    assert len(turn.dropped_s) <= LONG_TURN * plan.turn_s / min(seconds)


def test_plans_and_turns_survive_json() -> None:
    """A plan and a turn cross the process border unchanged."""
    plan, turn = MeasuringPlan(processes=3, steady=0.1), Turn((0.1, 0.2), (0.3,), 0.25)
    assert MeasuringPlan.from_json(plan.to_json()) == plan
    assert Turn.from_json(turn.to_json()) == turn


def _parts(turn: Turn) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return turn.calls_s, turn.dropped_s


@pytest.mark.parametrize(("call_s", "calls"), [(0.01, 50), (10.0, 12)])
def test_a_turn_under_concurrency_counts_what_runs_at_once(call_s: float, calls: int) -> None:
    """Two requests of 10 ms answer 200 calls a second, also where starting takes as long as ten calls and the last call
    runs alone for as long: neither counts. A slow model is still asked for some waves."""
    now, asked = [0.0], []

    def run(calls: int, done: Callable[[], object]) -> None:
        asked.append(calls)
        now[0] += 10 * call_s
        for index in range(calls):
            now[0] += 10 * call_s if index == calls - 1 else 0.0 if index % 2 else call_s
            done()

    clocks = Clocks(wall=lambda: now[0], cpu=lambda: 2.0 * len(asked))
    turn = take_concurrent_turn(run, 2, MeasuringPlan(concurrent_turn_s=0.25), call_s / 2, clocks)
    assert asked == [calls]
    assert turn.calls_s == pytest.approx((call_s / 2,)) and turn.dropped_s == ()
    assert turn.cpu_s == pytest.approx(2.0 / calls)
