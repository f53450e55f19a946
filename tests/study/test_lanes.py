"""Trials that run side by side."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from autoopt.core.records import TrialRecord
from autoopt.errors import UsageError
from autoopt.study.attempts import Attempt
from autoopt.study.lanes import OneLane, ThreadLanes, lanes_for
from autoopt.study.loop import Loop
from autoopt.study.proposals import SEED, Proposal
from autoopt.study.result import StudyResult
from tests.worlds import World, point, space_of, study_of


@dataclass
class Meeting(World):
    """A world whose trials, but the seeds, wait until `together` of them run at once; the last ones do not wait."""

    together: int = 3
    most: int = 0
    alone: list[str] = field(default_factory=list)
    _now: set[str] = field(default_factory=set)
    _lock: Any = field(default_factory=threading.Lock)
    _met: threading.Event = field(default_factory=threading.Event)

    def run(self, proposal: Proposal, study: StudyResult) -> TrialRecord:
        name = proposal.configuration.digest
        with self._lock:
            self._now.add(name)
            self.most = max(self.most, len(self._now))
            if proposal.origin == SEED:
                self.alone.append(proposal.origin)
            elif len(self._now) >= self.together:
                self._met.set()
        if proposal.origin != SEED:
            assert self._met.wait(30), "the others never came"
        with self._lock:
            self._now.discard(name)
            return super().run(proposal, study)


@pytest.fixture
def world() -> Meeting:
    return Meeting(in_flight=3)


def test_as_many_trials_run_at_once_as_there_is_room_for(tmp_path: Path, world: Meeting) -> None:
    """Three trials meet, never four; every configuration is run once and stored once, with a number of its own."""
    study = study_of(space_of(tmp_path))
    found = Loop(world, (), budget=12, before=study.result).run(study)

    digests = [record.configuration.digest for record in found.study.records]
    assert world.most == 3
    assert len(digests) == len(set(digests)) == 12
    assert sorted(record.number for record in found.study.records) == list(range(12))
    assert found.stopped == "the budget is spent"
    assert found.seconds["rest"] == 0.0, "what overlaps is more than the whole, and nothing takes less than no time"


def test_seeds_are_told_before_anything_else_begins(tmp_path: Path, world: Meeting) -> None:
    """All others are compared with the seeds: none begins while one of them runs."""
    study = study_of(space_of(tmp_path))
    found = Loop(world, (), budget=8, before=study.result).run(study)

    origins = [record.origin for record in sorted(found.study.records, key=lambda record: record.number)]
    seeds = origins.count(SEED)
    assert seeds and set(origins[:seeds]) == {SEED}


def test_one_lane_runs_in_the_thread_that_asks() -> None:
    """With room for one trial no thread is started: it runs when its end is asked for."""
    threads: list[threading.Thread] = []

    def run(attempt: Attempt, result: StudyResult) -> Any:
        threads.append(threading.current_thread())

    lanes = lanes_for(1, run)
    with lanes:
        lanes.begin(Attempt(None), None)  # type: ignore[arg-type]
        assert (lanes.free, lanes.running, threads) == (0, 1, [])
        lanes.next_ended()
    assert isinstance(lanes, OneLane) and threads == [threading.current_thread()]


def test_an_error_of_a_trial_is_raised_where_it_is_waited_for() -> None:
    """What concerns all trials, such as a full disk, ends the search from any thread."""

    def run(attempt: Attempt, result: StudyResult) -> Any:
        raise UsageError("no room left")

    with ThreadLanes(run, 2) as lanes:
        lanes.begin(Attempt(None), None)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="no room left"):
            lanes.next_ended()


def test_a_trial_that_met_a_busy_host_is_run_again(tmp_path: Path) -> None:
    """What is put off while others run comes back, and is stored once."""
    study = study_of(space_of(tmp_path))
    first = World(in_flight=1)
    Loop(first, (), budget=10, before=study.result).run(study)
    busy = {record.configuration.digest: 1 for record in study.result.records if record.origin != SEED}
    (tmp_path / "again").mkdir()
    again = study_of(space_of(tmp_path / "again"))
    world = World(in_flight=4, busy=busy)

    found = Loop(world, (), budget=10, before=again.result).run(again)

    tries = [name for name in world.questions("run") if name in busy]
    assert len(found.study.records) == 10
    assert len(tries) > len(set(tries)), "some were busy at first"
    assert all(record.measurement and not record.measurement.contended for record in found.study.records)


def test_a_thread_begins_no_other_trial_before_its_last_one_is_stored() -> None:
    """Whoever measures elsewhere may forget what was measured there once its thread goes on: by then it is stored."""
    ran: list[tuple[str, int]] = []
    both, begun = threading.Barrier(2, timeout=30), threading.Event()

    def run(attempt: Attempt, result: StudyResult) -> Any:
        ran.append((attempt.proposal.label, threading.get_ident()))
        if attempt.proposal.label == "2":
            begun.set()
        else:
            both.wait()  # else one thread might run both
        return attempt.proposal.label

    first, second, third = (Attempt(Proposal(point(number=place), None, "random", str(place))) for place in range(3))
    with ThreadLanes(run, 2) as lanes:
        for attempt in (first, second):
            lanes.begin(attempt, None)  # type: ignore[arg-type]
        returned = lanes.next_ended()[0]
        lanes.begin(third, None)  # type: ignore[arg-type]
        assert begun.wait(30)
        for _ in range(2):
            lanes.next_ended()

    by_label = dict(ran)
    assert by_label["2"] == by_label[returned.proposal.label]
