"""Running trials: a small search with the fake runtime, made on this host and measured on another one."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autoopt.core.configuration import Configuration
from autoopt.core.records import Failure, Status, TrialRecord
from autoopt.measure.target import MEASURING, LocalTarget
from autoopt.study.loop import search
from autoopt.study.prepare import prepare
from autoopt.study.proposals import Proposal
from autoopt.study.request import SearchRequest
from autoopt.study.result import StudyResult
from autoopt.study.runner import LocalRunner
from autoopt.study.space import seeds
from autoopt.study.trial.bench import FIRST_TIMEOUT_S, Bench
from tests import tiny
from tests.e2e.quick import LEAST
from tests.study.test_result import REFERENCE
from tests.targets import HOST, RecordingTarget

SPACE = "runtime: {name: fake, precision: f32, threads: [1, 64], latency_ms: 1, error: 0.0}"
"""Sixty-four threads are as many as the host that measures has cores."""


@pytest.fixture
def request_(tmp_path: Path) -> SearchRequest:
    pytest.importorskip("torch")
    space = tmp_path / "space.yaml"
    space.write_text(SPACE)
    weights = tiny.weights(tmp_path / "tiny.safetensors")
    return SearchRequest(workload=tiny.SOURCE, weights=weights, space=str(space), home=tmp_path / "home", budget=2)


def test_a_search_measures_on_its_target(tmp_path: Path, request_: SearchRequest) -> None:
    """Study, canonical forms and measurements are of the host that measures; everything timed goes through it."""
    target = RecordingTarget(tmp_path / "target")
    result = search(request_, plan=LEAST, target=target)
    assert [record.status for record in result.records] == [Status.COMPLETE] * 2
    assert result.study.card.host == HOST != LocalTarget().host
    assert {record.measurement.host for record in result.records if record.measurement} == {HOST.fingerprint}
    assert sorted(record.configuration.runtime.threads for record in result.records) == [1, HOST.cores]
    assert all(record.measurement and record.measurement.energy_j for record in result.records)
    assert target.asked[0].startswith("lock study-") and target.asked[-1] == target.asked[0].replace("lock", "free")
    counts = Counter(item.split()[0] for item in target.asked)
    assert counts["lock"] == counts["free"] > 3
    held = False
    for item in target.asked:
        held = item == f"lock {MEASURING}" or (held and item != f"free {MEASURING}")
        assert held or item.split()[0] not in ("load", "joules")


def test_a_request_names_the_two_hosts(tmp_path: Path, request_: SearchRequest) -> None:
    """Builder and target are two values; where no target is given they are equal."""
    prepared = prepare(request_, RecordingTarget(tmp_path / "target"))
    assert (prepared.builder, prepared.host) == (LocalTarget().host, HOST)
    assert prepared.card.host is prepared.space.host is HOST
    here = prepare(request_)
    assert here.builder == here.host == here.card.host


def test_trials_are_run_by_the_function_that_is_given(request_: SearchRequest) -> None:
    """Without a runner of its own a search runs its `evaluate`, with its measuring plan on the bench."""
    benches: list[Bench] = []

    def planted(configuration: Configuration, bench: Bench, **named: Any) -> TrialRecord:
        benches.append(bench)
        crash = Failure("crash", "make", "planted")
        return TrialRecord(configuration, Status.FAILED, origin=named["origin"], label=named["label"], failure=crash)

    result = search(request_, evaluate=planted, plan=LEAST)
    assert [record.failure and record.failure.message for record in result.records] == ["planted"]
    assert result.study.lacks_reference
    assert {bench.plan for bench in benches} == {LEAST}


def test_the_time_of_an_answer_is_that_of_the_study_or_of_the_user(request_: SearchRequest) -> None:
    """Before a reference there is an hour, then what follows from it; what the user said holds in any case."""
    limits_s: list[float] = []

    def seen(configuration: Configuration, bench: Bench, **named: Any) -> TrialRecord:
        limits_s.append(bench.measure_timeout_s)
        return TrialRecord(configuration, Status.FAILED, failure=Failure("crash", "make", "planted"))

    for asked in (request_, replace(request_, stage_timeouts={"measure": 7.0})):
        prepared = prepare(asked)
        empty = StudyResult(prepared.card, ())
        slow = replace(empty, records=(replace(REFERENCE, seconds={"measure": 100.0}),))
        first = seeds(prepared.space)[0]
        proposal = Proposal(first.configuration, first.raw, "seed", first.label)
        with LocalRunner(LocalTarget().host, seen, LEAST) as runner:
            runner.open(prepared, empty, lambda stage: None)
            runner.run(proposal, empty)
            runner.run(proposal, slow)
    assert limits_s == [FIRST_TIMEOUT_S, 2000.0, 7.0, 7.0]


def test_the_steps_of_trainings_follow_the_time_of_a_search(request_: SearchRequest) -> None:
    """The space that is searched has what fits: a millisecond leaves an eighth of the steps, a day all of them."""
    found = []
    for time_s in (1e-3, 86_400.0):
        prepared = prepare(replace(request_, space="default", time_s=time_s))
        with LocalRunner(LocalTarget().host, plan=LEAST) as runner:
            runner.open(prepared, StudyResult(prepared.card, ()), lambda stage: None)
            steps = runner.check().dimension("prune.steps")
            found.append(None if steps is None else steps.choices)
    assert found == [(15,), (120,)]


def test_a_runner_that_was_not_opened_runs_nothing() -> None:
    """Without a prepared request there is nothing to make or measure with."""
    with pytest.raises(ValueError, match="must be opened"):
        LocalRunner(HOST).check()
