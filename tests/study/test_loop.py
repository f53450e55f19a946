"""The rules of a search, each in an invented world: when it stops, what it tries again, what it looks at twice."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autoopt.core.configuration import Scalar
from autoopt.core.records import Failure, Status, TrialRecord
from autoopt.core.store import Store
from autoopt.errors import BusyError, Crash, NoStudy, TrackingError, UsageError, WeightsError
from autoopt.report.front_json import front_json
from autoopt.study.events import Progress, SearchResult
from autoopt.study.loop import Loop, Rules, search
from autoopt.study.proposals import Proposal
from autoopt.study.request import SearchRequest
from autoopt.study.result import StudyResult
from autoopt.study.samplers import SAMPLERS
from autoopt.study.sink import opened
from autoopt.study.space import Space
from autoopt.study.storage import read_study
from autoopt.study.study import Study
from autoopt.study.trial.confirm import AT_ONCE
from autoopt.testing import ListSink
from tests import tiny
from tests.worlds import InMemory, World, card_of, settings_of, space_of, study_of


class Refusing(ListSink):
    """A sink that cannot be used."""

    def check(self) -> None:
        raise TrackingError("nobody answers")


@pytest.fixture
def space(tmp_path: Path) -> Space:
    return space_of(tmp_path)


def run(
    study: Study, world: World, *, budget: int, sinks: Sequence[ListSink] = (), rules: Rules | None = None, **named: Any
) -> SearchResult:
    loop = Loop(
        world,
        sinks,
        budget=budget,
        before=study.result,
        clock=world.clock,
        rules=rules or Rules(recheck_share=0.0),
        **named,
    )
    return loop.run(study)


def test_the_budget_is_spent_exactly(space: Space) -> None:
    """A search ends when the study has as many trials as the budget says, each run once."""
    study, world = study_of(space), World()
    result = run(study, world, budget=15)
    assert len(world.questions("run")) == len(result.records) == 15
    assert result.stopped == "the budget is spent"
    assert not result.exhaustive


def test_a_small_space_is_tried_whole(tmp_path: Path) -> None:
    """Where the space is not larger than the budget every point is tried, and that is why the search ends."""
    study = study_of(space_of(tmp_path, SPACE_OF_THREE))
    result = run(study, World(), budget=50)
    assert (len(result.records), result.exhaustive) == (3, True)
    assert result.stopped == "every point of the space was tried"


SPACE_OF_THREE = "runtime: {name: fake, precision: f32, threads: 1, latency_ms: [10, 20, 30], error: 0.0}"


def test_seeds_come_first(space: Space) -> None:
    """The seeds of the space are run before anything else, the reference first of all."""
    world = World()
    result = run(study_of(space), world, budget=4)
    assert world.questions("run")[0] == "fake f32"
    assert [record.origin == "seed" for record in result.records] == [True, False, False, False]


def test_time_ends_a_search_and_a_share_of_it_is_kept(space: Space) -> None:
    """No trial begins after 80 % of the time: the rest is kept for contested trials. The last one is finished."""
    world = World(trial_s=10.0)
    result = run(study_of(space), world, budget=48, time_s=100.0, rules=Rules(recheck_share=0.2))
    assert result.stopped == "the time is up"
    assert len(world.questions("run")) == 8  # they begin at 0, 10, ... 70


def test_without_a_limit_of_time_none_ends_a_search(space: Space) -> None:
    """However long trials take, without --time the budget alone counts."""
    assert len(run(study_of(space), World(trial_s=1e6), budget=5).records) == 5


def test_ten_failures_in_a_row_end_a_search(space: Space) -> None:
    """When ten trials in a row fail something is wrong with the host: nothing more is tried, all are recorded."""
    study, world = study_of(space), World(fails=lambda proposal: proposal.origin != "seed")
    result = run(study, world, budget=30)
    assert result.stopped == "10 trials in a row failed"
    assert [record.status for record in result.records] == [Status.COMPLETE, *[Status.FAILED] * 10]


def test_a_search_ends_where_nothing_more_is_to_be_expected(space: Space) -> None:
    """When the model expects less than noise of all that is left, the search says so and what goes on; the same command
    again stays with it, a larger budget or the option goes on."""
    stored = InMemory(card_of(space))
    ended = run(Study(stored, space), World(), budget=40, early_stop=True)
    count, early = len(ended.records), ended.study.early_stop
    assert early is not None and (early.trials, early.left) == (count, 40 - count) and 10 < count < 40
    assert ended.stopped == early.reason and ended.stopped.startswith("nothing more is to be expected")
    assert ended.front[0].measured.latency_p25_s == min(r.measured.latency_p25_s for r in ended.records)
    assert front_json(ended.study)["early_stop"]["trials_left"] == 40 - count
    again = World()
    assert run(Study(stored, space), again, budget=40, early_stop=True).stopped == ended.stopped
    assert again.questions("run") == []
    larger = World()
    grown = run(Study(stored, space), larger, budget=45, early_stop=True)
    assert larger.questions("run") and front_json(grown.study)["early_stop"] != front_json(ended.study)["early_stop"]
    whole = run(Study(stored, space), World(), budget=45)
    assert (whole.stopped, len(whole.records), whole.study.early_stop) == ("the budget is spent", 45, None)


def test_nine_failures_in_a_row_do_not(space: Space) -> None:
    """A trial that works begins the count anew."""
    turns = iter([False, *[True] * 9, False, *[True] * 9, False, *[True] * 9])
    result = run(study_of(space), World(fails=lambda proposal: next(turns)), budget=30)
    assert result.stopped == "the budget is spent"


def test_failures_of_an_earlier_command_do_not_count(space: Space) -> None:
    """The rule looks at the trials of this command: whoever starts again has looked at the host."""
    study = study_of(space, limits={})
    for _ in range(2):
        world = World(fails=lambda proposal: True)
        stopped = run(study, world, budget=48).stopped
        assert (stopped, len(world.questions("run"))) == ("10 trials in a row failed", 10)


def second_of(space: Space) -> str:
    """The digest of the configuration that comes second in a search of the space."""
    return run(study_of(space), World(), budget=2).records[1].configuration.digest


def dying(digest: str, tries: int, **failure: Any) -> World:
    """A world in which the first tries of a configuration are ended by a signal."""
    planted = Failure(
        **{"cause": "out-of-memory", "stage": "measure", "message": "killed", "by_signal": True, **failure}
    )
    return World(dies={digest: (tries, planted)})


def test_a_death_by_signal_is_tried_once_more_at_the_end(space: Space) -> None:
    """What a signal ended runs again after all others, counts once, and says what came before."""
    second = second_of(space)
    world = dying(second, 1)
    result = run(study_of(space), world, budget=6)
    asked = world.questions("run")
    assert [index for index, name in enumerate(asked) if name == second] == [1, 6]
    assert len(result.records) == 6
    last = result.records[-1]
    assert (last.configuration.digest, last.failure) == (second, None)
    assert last.notes == ("tried 2 times: before, killed",)


def test_a_second_death_is_believed(space: Space) -> None:
    """A configuration that a signal ends twice has failed, with the cause and the number of tries."""
    second = second_of(space)
    world = dying(second, 9)
    record = run(study_of(space), world, budget=6).records[-1]
    assert world.questions("run").count(second) == 2
    assert record.status is Status.FAILED and record.failure is not None
    assert (record.failure.cause, record.notes) == ("out-of-memory", ("tried 2 times: before, killed",))


def test_the_death_of_the_reference_is_no_trials_failure(space: Space) -> None:
    """A trial beside which the reference died is tried as often as one that met a busy host."""
    second = second_of(space)
    world = dying(second, 2, cause="reference", by_signal=False)
    result = run(study_of(space), world, budget=6)
    assert world.questions("run").count(second) == 3
    assert all(record.status is not Status.FAILED for record in result.records)


def test_a_seed_that_died_is_tried_again_at_once(space: Space) -> None:
    """All others are compared with the reference: it does not wait for them, and keeps its number."""
    world = World(dies={"fake f32": (1, Failure("out-of-memory", "measure", "killed", by_signal=True))})
    result = run(study_of(space), world, budget=4)
    assert world.questions("run")[:2] == ["fake f32"] * 2
    assert result.study.reference is not None and result.study.reference.number == 0


def test_without_a_reference_a_search_with_a_drop_limit_ends(space: Space) -> None:
    """Nothing can be compared: no trial is spent, and none is complete."""
    world = World(fails=lambda proposal: proposal.origin == "seed")
    result = run(study_of(space), world, budget=6)
    assert result.stopped == "no reference could be measured, so no drop is known"
    assert [record.status for record in result.records] == [Status.FAILED]
    assert result.study.lacks_reference and not result.front


def test_a_seed_that_failed_is_tried_again_by_the_next_command(space: Space) -> None:
    """The trial gets its record under its old number, first of all; the others are judged by it."""
    study = study_of(space)
    run(study, World(fails=lambda proposal: proposal.origin == "seed"), budget=6)
    world, notes = World(), ListSink()
    result = run(study, world, budget=6, sinks=[notes])
    assert world.questions("run")[0] == "fake f32" and len(world.questions("run")) == 6
    assert [record.number for record in result.records] == [*range(6)]
    assert result.study.reference is not None and result.study.reference.number == 0
    assert result.front and notes.told[0] == (0, 1)


def test_failures_are_tried_again_when_asked(space: Space) -> None:
    """With retry_failed every failed trial runs once more, seeds first; without it what failed for good stays."""
    study, second = study_of(space), second_of(space)
    run(study, World(fails=lambda proposal: proposal.configuration.digest == second), budget=4)
    world = World()
    assert len(run(study, world, budget=4).records) == 4 and not world.questions("run")
    result = run(study, world, budget=4, retry_failed=True)
    assert world.questions("run") == [second]
    assert all(record.status is not Status.FAILED for record in result.records) and len(result.records) == 4


def test_what_waits_for_another_try_is_kept_when_the_time_is_up(space: Space) -> None:
    """A death that could not be tried again is recorded with its cause, and says so."""
    second = second_of(space)
    result = run(study_of(space), dying(second, 1), budget=40, time_s=40.0)
    record = result.records[-1]
    assert (record.configuration.digest, record.status) == (second, Status.FAILED)
    assert record.notes == ("not tried again: the search ended before",)


def busy_second(space: Space, tries: int) -> tuple[SearchResult, World, str]:
    """A search whose second trial meets a busy host so many times; the result, its world, the digest of that trial."""
    second = run(study_of(space), World(), budget=2).records[1].configuration.digest
    world = World(busy={second: tries})
    return run(study_of(space), world, budget=6), world, second


def test_a_contended_trial_is_put_off_and_taken_up_again(space: Space) -> None:
    """The numbers of a busy host are dropped; the trial is run again later and counts once."""
    result, world, second = busy_second(space, 1)
    asked = world.questions("run")
    assert [index for index, name in enumerate(asked) if name == second] == [1, 3]
    assert len(asked) == 7 and len(result.records) == 6
    (record,) = [record for record in result.records if record.configuration.digest == second]
    assert record.measurement is not None and record.measurement.contended == ""
    assert not record.notes
    assert result.seconds["measure"] == pytest.approx(7 * 8.0)  # the dropped try took time as well


def test_a_host_that_stays_busy_is_said(space: Space) -> None:
    """After three tries the numbers are kept, with a note that they are noisy and why."""
    result, world, second = busy_second(space, 99)
    assert world.questions("run").count(second) == 3
    (record,) = [record for record in result.records if record.configuration.digest == second]
    assert record.notes == ("noisy: 3 times others computed",)
    assert len(result.records) == 6


CONTESTED = "runtime: {name: fake, precision: f32, threads: 1, latency_ms: [100, 30, 30.2, 30.4, 30.6], error: 0.0}"
"""Four points whose latencies no measurement of one process tells apart, and a slow one."""


def contested(tmp_path: Path, world: World, **named: Any) -> SearchResult:
    study = study_of(space_of(tmp_path, CONTESTED))
    return run(study, world, budget=5, rules=Rules(recheck_share=0.2), **named)


def test_contested_trials_are_measured_side_by_side(tmp_path: Path) -> None:
    """Trials that the noise does not tell apart get further processes, a few at a time; these join their samples."""
    world = World()
    result = contested(tmp_path, world)
    compared = world.questions("compare")
    assert compared and all(1 <= len(numbers) <= AT_ONCE for numbers in compared)
    slow = next(record for record in result.records if settings_of(record)["latency_ms"] == 100)
    for record in result.records:
        again = sum(record.number in numbers for numbers in compared)
        assert record.measurement is not None and record.measurement.processes == 1 + again
        assert record.number == slow.number or again >= 1
    assert not any(slow.number in numbers for numbers in compared[1:])  # the reference had one process only


def test_rechecks_keep_to_their_share_of_the_time(tmp_path: Path) -> None:
    """Of all time that measuring takes, a fifth goes to contested trials, and the last comparison is finished."""
    world = World(compare_s=4.0)
    contested(tmp_path, world)  # five trials that were measured for 8 s each: 10 s are a fifth of the whole
    assert len(world.questions("compare")) == 3


def test_rechecks_end_with_the_time_of_the_search(tmp_path: Path) -> None:
    """The kept share of --time is not exceeded by a new comparison."""
    world = World(compare_s=4.0)
    contested(tmp_path, world, time_s=62.6)  # trials end at 50 s, comparisons may begin until 62.6 s
    assert len(world.questions("compare")) == 3
    world = World(compare_s=4.0)
    contested(tmp_path, world, time_s=57.0)
    assert len(world.questions("compare")) == 2


def test_without_contested_trials_nothing_is_measured_again(tmp_path: Path) -> None:
    """Trials that were measured often enough, or are told apart, are left alone; time is not spent for its own sake."""
    study, world = study_of(space_of(tmp_path, SPACE_OF_THREE)), World()
    run(study, world, budget=3, rules=Rules(recheck_share=0.9))
    before = len(world.questions("compare"))
    assert before >= 1  # a front measured in one process each
    run(study, world, budget=3, rules=Rules(recheck_share=0.9))
    assert len(world.questions("compare")) == before


def test_a_comparison_that_fails_is_noted(tmp_path: Path) -> None:
    """When trials cannot be measured again each says so, and the search goes on to confirm."""
    world = World(compare_error=Crash("it died", stage="measure"))
    result = contested(tmp_path, world)
    (numbers,) = world.questions("compare")
    noted = {record.number for record in result.records if "could not be measured again: it died" in record.notes}
    assert noted == set(numbers)
    assert world.questions("confirm")


def test_the_front_is_confirmed_on_test_exactly_once(space: Space) -> None:
    """The reference and every member of the front are scored on test, each once, also over two commands."""
    study, world = study_of(space), World()
    first = run(study, world, budget=12)
    members = {record.number for record in first.front} | {0}
    assert sorted(world.questions("confirm")) == sorted(members)
    for record in first.records:
        assert (record.test is not None) == (record.number in members)
    assert first.study.reference is not None and first.study.reference.test is not None
    assert first.study.reference.test.value == pytest.approx(0.88)

    again = run(study, world, budget=20)
    asked = world.questions("confirm")
    assert len(asked) == len(set(asked))
    assert {record.number for record in again.front} <= set(asked)


def test_a_confirmation_that_fails_is_noted(space: Space) -> None:
    """What cannot be scored on test says why, keeps what it had, and is tried again by the next command."""
    study = study_of(space)
    result = run(study, World(confirm_error=Crash("it died", stage="score")), budget=6)
    note = "could not be confirmed on test: it died"
    assert all(note in record.notes and record.test is None for record in result.front)
    assert all(record.test is not None for record in run(study, World(), budget=6).front)


def test_a_second_command_goes_on(space: Space) -> None:
    """A search that is continued keeps the trials it has, repeats none, and runs what is missing of the budget."""
    study = study_of(space)
    first = run(study, World(), budget=5)
    world = World()
    second = run(study, world, budget=9)
    assert len(world.questions("run")) == 4
    assert [record.configuration for record in second.records[:5]] == [r.configuration for r in first.records]
    assert len({record.configuration.digest for record in second.records}) == 9


def test_every_trial_sees_the_study_before_it(space: Space) -> None:
    """A trial is run knowing all trials that were told before, and no other."""
    world = World()
    run(study_of(space), world, budget=5)
    assert [len(study.records) for study in world.studies] == [0, 1, 2, 3, 4]


def test_sinks_hear_of_everything(space: Space) -> None:
    """Each sink gets every trial as it ends, again when it was confirmed, and the front at the end."""
    study, notes = study_of(space), ListSink()
    result = run(study, World(), budget=6, sinks=[notes])
    assert notes.told[:6] == [(number, number + 1) for number in range(6)]
    assert sorted(number for number, _ in notes.told[6:]) == sorted({0, *(r.number for r in result.front)})
    assert notes.fronts == [[record.number for record in result.front]]


def test_a_sink_gets_what_it_misses(space: Space) -> None:
    """A sink that lost trials when a search was killed gets those, and only those, when the next one begins."""
    study, notes = study_of(space), ListSink(has={0, 2})
    run(study, World(), budget=4)
    with opened([notes], study.result):
        assert notes.states == ["open"]
    assert notes.told == [(1, 4), (3, 4)]
    assert notes.states == ["open", "finished"]


def test_sinks_know_how_a_search_ended(space: Space) -> None:
    """An error inside, and Ctrl-C, close every sink as interrupted and pass on."""
    notes, others = ListSink(), ListSink()
    with pytest.raises(KeyboardInterrupt), opened([notes, others], study_of(space).result):
        raise KeyboardInterrupt
    assert notes.states == others.states == ["open", "interrupted"]


class Pupil:
    """A sampler that proposes nothing and remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[list[float], dict[str, float]]] = []

    def tell(self, raw: Mapping[str, Scalar], values: Sequence[float] | None, excess: Mapping[str, float]) -> None:
        if values is not None:
            self.told.append((list(values), dict(excess)))

    def ask(self, seen: object, pending: object = ()) -> None:
        return None


def test_a_host_that_was_busy_at_first_gives_one_latency_everywhere(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After ten trials on a slow host and five on a quiet one, front, sinks, limits and sampler have the quiet times.

    Every line of a trial says what its study says at that moment, and a study that is read again says the same.
    """
    pupils: list[Pupil] = []

    def pupil(space: Space, objectives: int, seed: int) -> Pupil:
        pupils.append(Pupil())
        return pupils[-1]

    monkeypatch.setitem(SAMPLERS, "pupil", pupil)
    stored, notes, lines = InMemory(card_of(space, limits={"latency_s": 0.0605})), ListSink(), list[Progress]()
    study, world = Study(stored, space, "pupil"), World(slower=lambda place: 1.75 if place < 10 else 1.0)
    run(study, world, budget=15, sinks=[notes], listener=lines.append)
    planted = {record.number: float(settings_of(record)["latency_ms"] or 0) / 1e3 for record in study.records}
    found = {record.number: record.measured.latency_p25_s for record in study.result.judged}
    assert found == pytest.approx(planted, rel=0.01)
    assert {record.status for record in study.result.judged} == {Status.COMPLETE}
    assert {number: record.measured.latency_p25_s for number, record in notes.trials.items()} == found
    assert len(pupils) == 2, "the level moved once"
    assert sorted(math.exp(values[0]) for values, _ in pupils[-1].told) == pytest.approx(sorted(found.values()))
    assert all(excess["latency_s"] <= 0 for _, excess in pupils[-1].told)
    for line in lines:
        if line.record is not None:
            assert line.record == line.result.by_number(line.record.number)
    assert Study(stored, space, "pupil").result.judged == study.result.judged


def test_the_listener_is_told_stage_record_and_time_left(space: Space) -> None:
    """Every trial is told once with the study that has it; the time left counts down between two estimates."""
    told: list[Progress] = []
    study = study_of(space)
    run(study, World(), budget=4, listener=told.append, estimate_s=lambda records: 10.0 * (4 - len(records)))
    ended = [progress for progress in told if progress.record is not None]
    assert [progress.record.number for progress in ended if progress.record] == [0, 1, 2, 3]
    assert [len(progress.result.records) for progress in ended] == [1, 2, 3, 4]
    assert [progress.seconds_left for progress in ended] == [30.0, 20.0, 10.0, 0.0]
    assert told[0].seconds_left is None and told[0].stage == "store"
    assert told[2].seconds_left == 20.0  # the second trial took ten of the thirty seconds
    assert told[-1].stage == "report"
    assert {progress.budget for progress in told} == {4}


def test_the_time_left_is_at_most_the_time_of_the_search(space: Space) -> None:
    """With --time nobody waits longer than that, whatever is estimated; and never less than nothing."""
    told: list[Progress] = []
    run(study_of(space), World(), budget=3, listener=told.append, time_s=100.0, estimate_s=lambda records: 1e6)
    assert [progress.seconds_left for progress in told if progress.record is not None] == [90.0, 80.0, 70.0]
    told.clear()
    run(study_of(space), World(), budget=2, listener=told.append, estimate_s=lambda records: 1.0)
    assert min(left for progress in told if (left := progress.seconds_left) is not None) == 0.0


def test_what_a_search_cost_is_told(space: Space) -> None:
    """Seconds by kind, and what they leave of the whole; artifacts are the runner's; the first trial has its time."""
    world = World(later_s={"measure": 5.0, "score": 2.0})
    result = run(study_of(space), world, budget=3, began=world.clock() - 4.0)
    assert result.seconds == {"make": 3.0, "measure": 29.0, "score": 5.0, "rest": 0.0, "total": 34.0}
    assert result.first_trial_s == 14.0
    assert (result.made, result.reused) == ({"export": 1}, {"export": 3})


# The whole of `search`: what is loaded and checked around the loop, in which order.


@pytest.fixture
def request_of(tmp_path: Path) -> Callable[..., SearchRequest]:
    weights = tiny.weights(tmp_path / "tiny.safetensors")
    space = tmp_path / "space.yaml"
    space.write_text(SPACE_OF_THREE)

    def made(**named: Any) -> SearchRequest:
        usual = {"budget": 3, "space": str(space), "weights": weights, "home": tmp_path / "home"}
        return SearchRequest(workload=tiny.SOURCE, **{**usual, **named})

    return made


def storage(request: SearchRequest) -> str:
    return f"sqlite:///{request.home / 'study.db'}"


def test_a_search_begins_with_the_front_of_an_earlier_one(
    request_of: Callable[..., SearchRequest], tmp_path: Path
) -> None:
    """What the fastest trial of an earlier study did is tried right after the seed; without such a study nothing is."""
    space = tmp_path / "five.yaml"
    space.write_text(SPACE_OF_THREE.replace("[10, 20, 30]", "[50, 40, 30, 0.1, 1.5]"))
    world = World()
    first = search(request_of(space=str(space), study="first", budget=9), runner=world, clock=world.clock)
    world = World()
    asked = request_of(space=str(space), study="second", warm_start=["first"], budget=2)
    second = search(asked, runner=world, clock=world.clock)
    assert [record.origin for record in second.records] == ["seed", "warm-start"]
    assert second.records[1].configuration == first.front[0].configuration
    world = World()
    with pytest.raises(UsageError, match="--warm-start must name a stored study"):
        search(request_of(study="third", warm_start=["frist"]), runner=world)
    assert not world.questions("run")


def test_a_search_opens_runs_and_closes(request_of: Callable[..., SearchRequest]) -> None:
    """The runner is opened before sinks and study, checked, asked, and left at the end; the study is stored."""
    world, notes = World(), ListSink()
    result = search(request_of(), sinks=[notes], runner=world, clock=world.clock)
    assert [kind for kind, _ in world.asked[:4]] == ["enter", "open", "check", "run"]
    assert world.asked[-1] == ("exit", None)
    assert notes.states[-1] == "finished"
    assert read_study(storage(request_of()), None).records == result.study.records


def test_the_world_of_a_search_is_what_it_is_given(request_of: Callable[..., SearchRequest]) -> None:
    """Time, clock, rules, listener and limits of a search are its arguments; the study so far is the stored one."""
    world, told = World(trial_s=10.0), list[Progress]()
    request = request_of(time_s=20.0)
    result = search(request, runner=world, clock=world.clock, listener=told.append, rules=Rules(recheck_share=0.5))
    assert (result.stopped, len(result.records)) == ("the time is up", 1)
    assert (result.first_trial_s, result.seconds["total"]) == (10.0, 11.0)  # the reference was measured once more
    assert told[0].stage == "load" and replace(told[0].result.card, id=result.study.card.id) == result.study.card
    left = [progress.seconds_left for progress in told if progress.record is not None]
    assert left == [10.0]  # two trials to come are more than the time that is left
    world, told = World(trial_s=1.0), []
    search(request_of(), runner=world, clock=world.clock, listener=told.append)
    assert told[0].result.records == result.study.records
    [first, last] = [progress.seconds_left for progress in told if progress.record is not None]
    assert first is not None and first > 0 and last is not None


def test_one_study_is_searched_by_one_process(request_of: Callable[..., SearchRequest], tmp_path: Path) -> None:
    """While a search runs a second one of its study is refused at once; another study is not."""

    class Nested(World):
        def check(self) -> Space:
            with pytest.raises(BusyError):
                search(request_of(), runner=World())
            search(request_of(study="another"), runner=World())
            self.asked.append(("nested", None))
            return super().check()

    request, world = request_of(), Nested()
    search(request, runner=world)
    assert world.questions("nested") == [None]


def test_a_spent_budget_opens_nothing(request_of: Callable[..., SearchRequest]) -> None:
    """Where nothing is left to run or to confirm the runner is not opened, and the front is brought up to date."""
    search(request_of(), runner=World())
    world, notes = World(), ListSink(has={0, 1, 2})
    result = search(request_of(), sinks=[notes], runner=world)
    assert [kind for kind, _ in world.asked] == ["enter", "exit"]
    assert result.stopped == "the budget was already spent"
    assert len(result.records) == 3 and result.front
    assert len(notes.fronts) == 1 and notes.told == []


def test_what_was_not_confirmed_is_confirmed_later(request_of: Callable[..., SearchRequest]) -> None:
    """A budget that is spent does not keep a front from being confirmed when that failed before."""
    search(request_of(), runner=World(confirm_error=Crash("it died", stage="score")))
    world = World()
    result = search(request_of(), runner=world)
    assert world.questions("run") == [] and world.questions("confirm")
    assert all(record.test is not None for record in result.front)


@pytest.mark.parametrize(
    ("world", "sink", "error"),
    [
        (World(check_error=WeightsError("they do not fit")), ListSink(), WeightsError),
        (World(), Refusing(), TrackingError),
    ],
    ids=["weights", "sink"],
)
def test_what_does_not_fit_leaves_no_study_behind(
    request_of: Callable[..., SearchRequest], world: World, sink: ListSink, error: type[Exception]
) -> None:
    """Weights that do not fit and a sink that cannot be used are found before anything is stored."""
    with pytest.raises(error):
        search(request_of(), sinks=[sink], runner=world)
    assert world.asked[-1] == ("exit", None)
    assert sink.states == []
    with pytest.raises(NoStudy):
        read_study(storage(request_of()), None)


def test_a_guard_that_stored_trials_tell_nothing_of_is_refused(request_of: Callable[..., SearchRequest]) -> None:
    """A later command cannot ask for a guard that was not scored: its trials would pass it unseen."""
    search(request_of(), runner=World())
    with pytest.raises(UsageError, match="without the guard disagreement"):
        search(request_of(guards={"disagreement": 0.1}), runner=World())
    search(request_of(guards={"worst_decile": 0.1}), runner=World())
    with pytest.raises(UsageError, match="without --min-throughput, and its trials tell nothing of it"):
        search(request_of(min_throughput=1.0), runner=World())


def test_the_card_of_a_search_is_that_of_its_study(space: Space) -> None:
    """A loop that never ran a trial still says how the study stands."""
    study = study_of(space)
    told: list[Progress] = []
    loop = Loop(World(), [], budget=3, before=StudyResult(card_of(space), ()), listener=told.append)
    assert loop.rest(study).stopped == "the budget was already spent"
    loop.on_stage("load")
    assert told[0].stage == "load" and told[0].result.card.name == "s"


def test_a_store_does_not_grow_for_ever(request_of: Callable[..., SearchRequest]) -> None:
    """Beyond the limit what no stored trial measured goes, unless it was used within a day; what one measured stays."""
    store = Store(request_of().home / "store")

    def kept(rules: Rules) -> set[str]:
        for key in ("measured", "leftover", "recent"):
            store.put("model", key, {}, lambda folder: {"size": (folder / "file").write_bytes(b"x" * 100)})
        for key in ("measured", "leftover"):
            os.utime(store.root / "model" / key, (0, 0))
        search(request_of(), runner=World(artifacts=("measured",)), rules=rules)
        return {artifact.key for artifact in store.artifacts() if artifact.kind == "model"}

    assert kept(Rules(store_bytes=10**9)) == {"measured", "leftover", "recent"}
    assert kept(Rules(store_bytes=0)) == {"measured", "recent"}


def test_what_a_process_left_that_died_meanwhile_is_gone_in_the_end(request_of: Callable[..., SearchRequest]) -> None:
    """A maker that was killed during the last command leaves nothing half-made in the store."""
    store = request_of().home / "store" / "model"
    store.mkdir(parents=True)
    code = (
        f"from pathlib import Path\nfrom autoopt.core.scratch import hidden_folder\nhidden_folder(Path({str(store)!r}))"
    )

    class Killing(World):
        def run(self, proposal: Proposal, study: StudyResult) -> TrialRecord:
            subprocess.run([sys.executable, "-c", code, str(store)], check=True)
            return super().run(proposal, study)

    search(request_of(budget=1), runner=Killing())
    assert list(store.iterdir()) == []
